"""A user's own features: a function of bars to columns, held to the rules of the built-in ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from walkforge.base import BoolArray, FeatureError, FloatArray, utc_text
from walkforge.market import Bars

from ._build import FeatureTable
from ._build_all import FeatureTables

Make = Callable[[Bars], Any]
"""Takes bars without a hole, returns a column (n,) per name: a mapping, or a polars DataFrame."""


@dataclass(frozen=True, slots=True, eq=False)
class OwnColumns:
    """What a user's function made of bars: `values` (n, F) float64, NaN where not settled."""

    names: tuple[str, ...]
    values: FloatArray


def build_own(
    bars: Bars,
    make: Make,
    *,
    look_back_bars: int = 1,
    expected: tuple[str, ...] | None = None,
) -> FeatureTable:
    """Return the features that `make` computes of every bar, segment by segment.

    A row is valid where no value is NaN and its segment has `look_back_bars` bars up to it.
    Raises FeatureError where `make` fails, gives an infinite value, other columns than `expected`,
    or not one value per bar.
    """
    if not len(bars):
        raise FeatureError(f"{bars.name}: no bars to make features of")
    made = [own_columns(make, bars.take(rows)) for rows in bars.segments]
    names = expected or made[0].names
    for one in made:
        _refuse_other_columns(make, bars, one.names, names)
    values = np.zeros((len(bars), len(names)), dtype=np.float32)
    valid = np.zeros(len(bars), dtype=np.bool_)
    for rows, one in zip(bars.segments, made, strict=True):
        known = np.asarray(~np.isnan(one.values).any(axis=1))
        known[: look_back_bars - 1] = False
        _refuse_too_large(make, bars, one)
        valid[rows] = known
        values[rows][known] = one.values[known]
    return FeatureTable(names, values, valid, _dropped(bars, valid))


def build_own_all(bars: Mapping[str, Bars], make: Make) -> FeatureTables:
    """Return what `build_own` gives for the bars of every symbol, as one table.

    Nothing is kept for the next run: what the function reads besides bars, nobody knows.
    """
    by_symbol: dict[str, FeatureTable] = {}
    names: tuple[str, ...] | None = None
    for symbol, one in bars.items():
        by_symbol[symbol] = build_own(one, make, expected=names)
        names = by_symbol[symbol].columns
    values = np.concatenate([table.values for table in by_symbol.values()])
    starts = np.cumsum([0, *map(len, bars.values())])
    first_row = {symbol: int(start) for symbol, start in zip(bars, starts, strict=False)}
    views = {
        symbol: FeatureTable(
            table.columns,
            values[first_row[symbol] : first_row[symbol] + len(table.values)],
            table.valid,
            table.dropped,
        )
        for symbol, table in by_symbol.items()
    }
    return FeatureTables(names or (), values, first_row, views)


def own_columns(make: Make, bars: Bars) -> OwnColumns:
    """Return what `make` gives for bars without a hole.

    Raises FeatureError for what is no column (n,) of numbers, and for an infinite value.
    """
    try:
        made = make(_read_only(bars))
    except FeatureError as error:
        raise FeatureError(f"{error} (asked for {len(bars)} bars of {bars.name})") from error
    columns = _as_mapping(make, made)
    values = np.empty((len(bars), len(columns)))
    for place, (name, column) in enumerate(columns.items()):
        values[:, place] = _numbers(make, name, column, len(bars))
    infinite = np.isinf(values)
    if infinite.any():
        row, place = (int(found[0]) for found in np.nonzero(infinite))
        raise FeatureError(
            f"{title_of(make)}: {list(columns)[place]} of {bars.name} is {values[row, place]} at "
            f"{utc_text(int(bars.timestamp[row]))}; expected a number, or NaN where it is not known"
        )
    return OwnColumns(tuple(columns), values)


def title_of(make: Make) -> str:
    """Return how messages name a function."""
    return str(getattr(make, "title", getattr(make, "__name__", "the function")))


def longest_segment(bars: Bars) -> slice:
    """Return the rows of the longest stretch without a hole, the newest of equals."""
    if not len(bars):
        raise FeatureError(f"{bars.name}: no bars")
    return max(reversed(bars.segments), key=lambda rows: rows.stop - rows.start)


def _read_only(bars: Bars) -> Bars:
    """Return the same bars in arrays that cannot be written: others read them, too."""
    found = bars.take(slice(0, len(bars)))
    for name in ("timestamp", "open", "high", "low", "close", "volume", "segment"):
        getattr(found, name).setflags(write=False)
    return found


def _as_mapping(make: Make, made: Any) -> dict[str, Any]:
    import polars as pl

    if isinstance(made, pl.DataFrame):
        made = {column.name: column for column in made.iter_columns()}
    if not isinstance(made, Mapping) or not made:
        raise FeatureError(
            f"{title_of(make)}: returned {type(made).__name__}, expected a mapping of names to "
            "arrays with one value per bar, or a polars DataFrame"
        )
    strange = [name for name in made if not isinstance(name, str) or not name]
    if strange:
        raise FeatureError(f"{title_of(make)}: {strange[0]!r} is no name of a column")
    return dict(made)


def _numbers(make: Make, name: str, column: Any, n_bars: int) -> FloatArray:
    try:
        numbers = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        raise FeatureError(
            f"{title_of(make)}: {name} holds {type(column).__name__}, expected numbers"
        ) from None
    if numbers.shape != (n_bars,):
        raise FeatureError(
            f"{title_of(make)}: {name} has shape {numbers.shape} for {n_bars} bars; expected one "
            "value per bar, NaN where it is not known"
        )
    return numbers


def _refuse_other_columns(
    make: Make, bars: Bars, found: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    if found != expected:
        raise FeatureError(
            f"{title_of(make)}: returned the columns {', '.join(found)} for {bars.name}, expected "
            f"{', '.join(expected)}, the same for all bars"
        )


def _refuse_too_large(make: Make, bars: Bars, one: OwnColumns) -> None:
    largest = np.nanmax(np.abs(one.values), axis=0, initial=0.0)
    if (largest > np.finfo(np.float32).max).any():
        raise FeatureError(
            f"{title_of(make)}: {one.names[int(np.argmax(largest))]} of {bars.name} has values "
            "beyond 3e38, which a model cannot read; divide them"
        )


def _dropped(bars: Bars, valid: BoolArray) -> dict[str, int]:
    """Return how many rows are not valid: before a segment's first valid one, and later."""
    dropped = {"warm-up": 0, "value is NaN": 0}
    for rows in bars.segments:
        known = valid[rows]
        settled = int(np.argmax(known)) if known.any() else len(known)
        dropped["warm-up"] += settled
        dropped["value is NaN"] += int((~known[settled:]).sum())
    return dropped
