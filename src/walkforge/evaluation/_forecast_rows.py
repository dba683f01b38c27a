"""A table of price forecasts as columns in one order, whatever order it came in.

Shapes: n rows, k keys (a time, series, fold and step; its rows are the seeds), T times
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from walkforge.base import (
    BoolArray,
    EvaluationError,
    FloatArray,
    IntArray,
    PredictionsError,
    nearest,
    utc_text,
)

from ._forecast_order import changes, sorting_order
from ._forecast_series import SeriesIndex

KEY = ("timestamp", "symbol", "timeframe", "fold", "step")
NEEDED = (*KEY, "seed", "last_close", "open", "high", "low", "close", "f_close")

BPS = 1e4
ROUNDING = 1e-9
"""Prices are products of floats: a relative difference as small as this is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """Rows sorted by time, series, fold, step and seed; their numbers are fetched one by one."""

    what: str
    """How messages call the table."""
    table: pl.DataFrame
    order: IntArray | None
    """Where in the table each sorted row stands; None where the table is sorted."""
    index: SeriesIndex
    time_ms: Int[np.ndarray, " n"]
    """Opening time of the bar that was decided on, ms UTC."""
    series: Int[np.ndarray, " n"]
    fold: Int[np.ndarray, " n"]
    step: Int[np.ndarray, " n"]
    seed: Int[np.ndarray, " n"]
    key_starts: Int[np.ndarray, " k"]
    """Where the rows of each key begin."""
    time_starts: Int[np.ndarray, " T"]
    """Where the keys of each time begin, among the keys."""

    def __len__(self) -> int:
        return len(self.time_ms)

    @property
    def row_starts(self) -> IntArray:
        """Return where the rows of each time begin (T,)."""
        return self.key_starts[self.time_starts]

    def column(self, name: str) -> Float[np.ndarray, " n"] | None:
        """Return the numbers of a column, NaN where a row has none; None where no row has one.

        Raises PredictionsError for NaN and infinity, and for a gap in a column that all need.
        """
        if name not in self.table.columns:
            return None
        found = self.table.get_column(name)
        may_lack = found.null_count() > 0 and name not in NEEDED
        if may_lack and found.null_count() == len(found):
            return None
        values = self._sorted(found.cast(pl.Float64).to_numpy())
        strange = ~np.isfinite(values)
        if may_lack:
            strange &= ~self._sorted(found.is_null().to_numpy())
        self.refuse(strange, lambda row: f"{name} is {values[row]}", "a finite number")
        return values

    def log_price(self, name: str) -> Float[np.ndarray, " n"] | None:
        """Return the logs of a column as `column` does; refuse numbers not above 0."""
        price = self.column(name)
        if price is None:
            return None
        self.refuse(price <= 0, lambda row: f"{name} is {price[row]:g}", "a number above 0")
        return np.log(price)

    def needed_log_price(self, name: str) -> Float[np.ndarray, " n"]:
        """Return the logs of a column that every table has."""
        found = self.log_price(name)
        assert found is not None, name
        return found

    def per_time(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " T"]:
        """Return the mean over each time's keys of the mean over each key's seeds."""
        return _means(_means(values, self.key_starts), self.time_starts)

    def refuse(self, bad: BoolArray, found: Callable[[int], str], expected: str) -> None:
        """Raise PredictionsError for the first of the bad rows (n,), if there is any."""
        if bad.any():
            row = int(np.argmax(bad))
            raise PredictionsError(
                f"{self.what}: {found(row)} for {self.place(row)}, expected {expected} "
                f"({int(bad.sum())} such rows)"
            )

    def refuse_price(self, bad: BoolArray, name: str, logs: FloatArray, expected: str) -> None:
        """Raise PredictionsError for the first of the bad rows (n,), showing its price."""
        self.refuse(bad, lambda row: f"{name} is {np.exp(logs[row]):.10g}", expected)

    def place(self, row: int) -> str:
        """Return the words that name a row in a message."""
        return (
            f"{self.index.names[self.series[row]]} at {utc_text(int(self.time_ms[row]))}, step "
            f"{self.step[row]} (fold {self.fold[row]}, seed {self.seed[row]})"
        )

    def _sorted(self, values: np.ndarray) -> np.ndarray:
        return values if self.order is None else values[self.order]


def forecasts_of(table: pl.DataFrame, index: SeriesIndex, *, what: str) -> Forecasts:
    """Return the rows of a table with one row per key and seed, whose series are in the index.

    Raises PredictionsError for duplicates. `require_columns` has looked at the columns.
    """
    columns = [
        table["timestamp"].dt.epoch("ms").to_numpy(),
        index.codes(table),
        *(table[name].cast(pl.Int64).to_numpy() for name in ("fold", "step", "seed")),
    ]
    order = sorting_order(columns)
    time_ms, series, fold, step, seed = (
        columns if order is None else [column[order] for column in columns]
    )
    new_time = changes(time_ms)
    new_key = changes(time_ms, series, fold, step)
    key_starts = np.flatnonzero(new_key)
    rows = Forecasts(
        what=what,
        table=table,
        order=order,
        index=index,
        time_ms=time_ms,
        series=series,
        fold=fold,
        step=step,
        seed=seed,
        key_starts=key_starts,
        time_starts=np.flatnonzero(new_time[key_starts]),
    )
    repeated = ~(new_key | changes(seed))
    rows.refuse(repeated, lambda _: "a duplicate", f"one row per {', '.join(KEY)} and seed")
    return rows


def require_columns(table: pl.DataFrame, what: str) -> None:
    """Raise PredictionsError for columns that are missing, of a wrong type, or keys with a gap.

    Raises EvaluationError for an empty table.
    """
    for name in NEEDED:
        if name not in table.columns:
            raise PredictionsError(
                f"{what}: no column {name!r}{nearest(name, table.columns)}; "
                f"found {', '.join(table.columns) or 'none'}"
            )
    if table.is_empty():
        raise EvaluationError(f"{what}: no rows, expected at least one forecast")
    for name in (*KEY, "seed"):
        if table[name].null_count():
            raise PredictionsError(f"{what}: {table[name].null_count()} rows have no {name}")
    for name in ("fold", "step", "seed"):
        if not table[name].dtype.is_integer():
            raise PredictionsError(
                f"{what}: {name} holds {table[name].dtype}, expected whole numbers"
            )
    if not isinstance(table["timestamp"].dtype, pl.Datetime):
        raise PredictionsError(
            f"{what}: timestamp holds {table['timestamp'].dtype}, expected date-times"
        )


def _means(values: FloatArray, starts: IntArray) -> FloatArray:
    """Return the mean of every run of values (n,) that begins at a start."""
    if len(starts) == len(values):
        return values
    return np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))
