"""Bars to a table of features."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from walkforge.base import BoolArray, FeatureError, FloatArray, utc_text
from walkforge.market import Bars

from ._sets import FeatureSet, feature_set
from ._stretch import Stretch

# Columns are computed over stretches of this many rows (and the look-back before them), which
# keeps their intermediates in the processor's cache. A stretch begins where it does whatever
# comes after it, so that the same bars always give the same bits.
STRETCH_ROWS = 16_384

# Values beyond are held there: eight times the unit of a column is "very large" already, and
# below 8 two float32 neighbours lie less than 5e-7 apart.
LIMIT = 8.0

# Sixteen float32 fill a cache line, so that no line of the table is fetched more often.
_TURNED_COLUMNS = 16


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """Features of bars: `values` (n, F) float32, row t known at the close of bar t.

    `valid` (n,) is False for the rows of a segment that have too few bars before them; these rows
    are zero. Every value lies in [-8, 8]. `dropped` counts the rows that are not valid, by reason.
    """

    columns: tuple[str, ...]
    values: NDArray[np.float32]
    valid: BoolArray
    dropped: dict[str, int]


def build(bars: Bars, set_name: str) -> FeatureTable:
    """Return the features of every bar, computed within its segment and from earlier bars only.

    Raises UsageError for an unknown set and FeatureError for a value that is not finite.
    """
    wanted = feature_set(set_name)
    values = np.zeros((len(bars), len(wanted.columns)), dtype=np.float32)
    compute(values, bars, wanted)
    return table_of(values, bars, wanted)


def compute(values: NDArray[np.float32], bars: Bars, wanted: FeatureSet) -> None:
    """Write the features of `bars` into `values` (n, F), which holds zeros."""
    for segment in bars.segments:
        for rows in _stretches(segment, wanted.look_back_bars):
            _fill(values, bars, wanted, rows)


def table_of(values: NDArray[np.float32], bars: Bars, wanted: FeatureSet) -> FeatureTable:
    """Return computed `values` as a table, without a copy: which rows are valid, and why not."""
    look_back = wanted.look_back_bars
    valid = np.zeros(len(bars), dtype=np.bool_)
    dropped = {"warm-up": 0, "segment shorter than the look-back": 0}
    for segment in bars.segments:
        n_bars = segment.stop - segment.start
        if n_bars < look_back:
            dropped["segment shorter than the look-back"] += n_bars
            continue
        dropped["warm-up"] += look_back - 1
        valid[segment.start + look_back - 1 : segment.stop] = True
    return FeatureTable(columns=wanted.names, values=values, valid=valid, dropped=dropped)


def _stretches(segment: slice, look_back: int) -> Iterator[slice]:
    """Yield the valid rows of a segment, cut into stretches."""
    for start in range(segment.start + look_back - 1, segment.stop, STRETCH_ROWS):
        yield slice(start, min(start + STRETCH_ROWS, segment.stop))


def _fill(values: NDArray[np.float32], bars: Bars, wanted: FeatureSet, rows: slice) -> None:
    """Compute all columns of these rows from them and the look-back before them."""
    before = wanted.look_back_bars - 1
    stretch = Stretch(bars, slice(rows.start - before, rows.stop))
    # One row per column while they are computed: a table's rows lie too far apart to be filled
    # singly. A few columns are turned at a time, which is twice as fast as all of them.
    block = np.empty((_TURNED_COLUMNS, rows.stop - rows.start), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for first in range(0, len(wanted.columns), _TURNED_COLUMNS):
            columns = wanted.columns[first : first + _TURNED_COLUMNS]
            for place, column in zip(block, columns, strict=False):
                computed = column.compute(stretch)[before:]
                _refuse_what_is_not_finite(computed, bars, column.name, rows.start)
                np.clip(computed, -LIMIT, LIMIT, out=place, casting="same_kind")
            values[rows, first : first + len(columns)] = block[: len(columns)].T


def _refuse_what_is_not_finite(computed: FloatArray, bars: Bars, name: str, first: int) -> None:
    finite = np.isfinite(computed)
    if finite.all():
        return
    at = int(np.argmin(finite))
    row = first + at
    raise FeatureError(
        f"{bars.name}: bar {row} ({utc_text(int(bars.timestamp[row]))}) has {name} = "
        f"{computed[at]}, expected a finite number. Look for absurd prices or volumes with "
        "`walkforge data check`; where there are none, this is a fault of the column."
    )
