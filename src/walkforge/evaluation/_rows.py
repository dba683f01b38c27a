"""A table of predictions as arrays, checked and in one order whatever order it came in.

Shapes: n rows, C classes
"""

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

from ._series import series_names

CLASSES = (("down", "hold", "up"), ("down", "up"))
"""The classes that a table may have, always in this order."""

SUM_TOLERANCE = 1e-3
"""Rows of a table written with four digits sum to 1 within 1.5e-4; a logit is far off."""

KEY = ("timestamp", "symbol", "fold", "seed")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows sorted by time, symbol, fold and seed; probabilities that are NaN stay in."""

    time_ms: Int[np.ndarray, " n"]
    """Opening time of the bar that was decided on, ms UTC."""
    span_ms: Int[np.ndarray, " n"]
    """From there to the resolution of the label; -1 where it is not known."""
    symbol: Int[np.ndarray, " n"]
    """Number of the series in `symbols`."""
    fold: Int[np.ndarray, " n"]
    seed: Int[np.ndarray, " n"]
    label: Int[np.ndarray, " n"]
    p: Float[np.ndarray, "n C"]
    symbols: tuple[str, ...]
    """The names of the series: symbols, with their timeframe where there are several."""
    prior_odds: Float[np.ndarray, " n"]
    """Log odds of up against down in the rows that the network was trained on; 0 if not known."""

    def __len__(self) -> int:
        return len(self.time_ms)

    @property
    def n_classes(self) -> int:
        return int(self.p.shape[1])

    @property
    def finite(self) -> BoolArray:
        """Tell which rows have finite probabilities (n,)."""
        return np.isfinite(self.p).all(axis=1)

    def take(self, chosen: BoolArray | IntArray) -> "Rows":
        """Return the rows of a mask (n,), or of row numbers in their order."""
        return Rows(
            time_ms=self.time_ms[chosen],
            span_ms=self.span_ms[chosen],
            symbol=self.symbol[chosen],
            fold=self.fold[chosen],
            seed=self.seed[chosen],
            label=self.label[chosen],
            p=self.p[chosen],
            symbols=self.symbols,
            prior_odds=self.prior_odds[chosen],
        )


def classes_of(predictions: pl.DataFrame) -> tuple[str, ...]:
    """Return the classes of a table, in order, from its `p_*` columns.

    Raises PredictionsError where they are not p_down, p_hold, p_up or p_down, p_up.
    """
    found = {name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")}
    for classes in CLASSES:
        if found == set(classes):
            return classes
    raise PredictionsError(
        f"columns of probabilities: found {', '.join(sorted(f'p_{c}' for c in found)) or 'none'}, "
        "expected p_down, p_hold, p_up or p_down, p_up; name them so"
    )


def rows_of(
    table: pl.DataFrame,
    classes: tuple[str, ...],
    *,
    what: str = "predictions",
    symbols: tuple[str, ...] | None = None,
) -> Rows:
    """Return the rows of a table with one row per timestamp, symbol, fold and seed.

    Columns `fold`, `seed` and `resolved_at` may be missing: then 0, 0 and not known. Raises
    PredictionsError for missing columns, impossible labels, probabilities outside 0 to 1 or not
    summing to 1, and duplicates; EvaluationError for an empty table.
    """
    require_columns(table, classes, what)
    if table.is_empty():
        raise EvaluationError(f"{what}: no rows, expected at least one out-of-sample row")
    for name in ("timestamp", "symbol"):
        if table[name].null_count():
            raise PredictionsError(f"{what}: {table[name].null_count()} rows have no {name}")
    series = series_names(table)
    known = tuple(sorted(series.unique())) if symbols is None else symbols
    rows = Rows(
        time_ms=_epoch_ms(table["timestamp"]),
        span_ms=_span_ms(table),
        symbol=series.cast(pl.Enum(known)).to_physical().to_numpy().astype(np.int64),
        fold=_whole_numbers(table, "fold"),
        seed=_whole_numbers(table, "seed"),
        label=table["label"].fill_null(-1).cast(pl.Int64).to_numpy(),
        p=np.column_stack([_float(table[f"p_{name}"]) for name in classes]),
        symbols=known,
        prior_odds=np.zeros(len(table)),
    )
    order = np.lexsort((rows.seed, rows.fold, rows.symbol, rows.time_ms))
    ordered = rows if np.all(np.diff(order) == 1) else rows.take(order)
    _refuse_nonsense(ordered, what)
    return ordered


def require_columns(table: pl.DataFrame, classes: tuple[str, ...], what: str) -> None:
    """Raise PredictionsError naming the first column that is missing, and the nearest there."""
    for name in ("timestamp", "symbol", "label", *(f"p_{c}" for c in classes)):
        if name not in table.columns:
            raise PredictionsError(
                f"{what}: no column {name!r}{nearest(name, table.columns)}; "
                f"found {', '.join(table.columns) or 'none'}"
            )


def place_of(rows: Rows, row: int) -> str:
    """Return the words that name a row in a message."""
    return (
        f"{rows.symbols[rows.symbol[row]]} at {utc_text(int(rows.time_ms[row]))} "
        f"(fold {rows.fold[row]}, seed {rows.seed[row]})"
    )


def new_keys(rows: Rows, *, with_seed: bool) -> BoolArray:
    """Tell which rows (n,) differ from the row before in time, symbol, fold (or seed)."""
    columns = [rows.time_ms, rows.symbol, rows.fold, *([rows.seed] if with_seed else [])]
    differs = np.zeros(len(rows), dtype=np.bool_)
    differs[:1] = True
    for column in columns:
        differs[1:] |= column[1:] != column[:-1]
    return differs


def _refuse_nonsense(rows: Rows, what: str) -> None:
    repeated = ~new_keys(rows, with_seed=True)
    if repeated.any():
        raise PredictionsError(
            f"{what}: {int(repeated.sum())} duplicate rows, the first for "
            f"{place_of(rows, int(np.argmax(repeated)))}; expected one row per {', '.join(KEY)}"
        )
    unknown = (rows.label < 0) | (rows.label >= rows.n_classes)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise PredictionsError(
            f"{what}: label {rows.label[row]} for {place_of(rows, row)}, expected 0 to "
            f"{rows.n_classes - 1}; leave out rows whose outcome is not known"
        )
    total = rows.p.sum(axis=1)
    # A comparison with NaN is false: rows that are not finite are counted elsewhere.
    with np.errstate(invalid="ignore"):
        off = (
            (np.abs(total - 1.0) > SUM_TOLERANCE)
            | (rows.p < -SUM_TOLERANCE).any(axis=1)
            | (rows.p > 1.0 + SUM_TOLERANCE).any(axis=1)
        ) & rows.finite
    if off.any():
        row = int(np.argmax(off))
        raise PredictionsError(
            f"{what}: probabilities {', '.join(f'{v:.4g}' for v in rows.p[row])} for "
            f"{place_of(rows, row)} sum to {total[row]:.4g}, expected numbers from 0 to 1 that "
            f"sum to 1 ({int(off.sum())} such rows); are these logits?"
        )


def _epoch_ms(column: pl.Series) -> IntArray:
    if isinstance(column.dtype, pl.Datetime):
        column = column.dt.epoch("ms")
    return column.cast(pl.Int64).to_numpy()


def _span_ms(table: pl.DataFrame) -> IntArray:
    if "resolved_at" not in table.columns:
        return np.full(len(table), -1, dtype=np.int64)
    unknown = table["resolved_at"].is_null().to_numpy()
    resolved = _epoch_ms(table["resolved_at"].fill_null(table["timestamp"]))
    return np.where(unknown, -1, resolved - _epoch_ms(table["timestamp"]))


def _whole_numbers(table: pl.DataFrame, name: str) -> IntArray:
    if name not in table.columns:
        return np.zeros(len(table), dtype=np.int64)
    return table[name].fill_null(0).cast(pl.Int64).to_numpy()


def _float(column: pl.Series) -> FloatArray:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
