"""Joining bars of one series that came in several pieces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from walkforge.base import BarsError, FloatArray, IntArray, utc_text

from ._calendar import rises
from ._columns import VALUES, contradict
from ._tables import Table


def unite(tables: Sequence[Table]) -> tuple[IntArray, FloatArray]:
    """Return the stamps (n,) and values (n, 5) of all tables in time order, each bar once.

    Raises BarsError naming both places where two of them hold different bars for one time.
    """
    stamps = np.concatenate([table.timestamp for table in tables])
    values = np.concatenate([table.values for table in tables])
    if rises(stamps):
        return stamps, values
    order = np.argsort(stamps, kind="stable")
    stamps, values = stamps[order], values[order]
    is_first = np.concatenate([[True], np.diff(stamps) > 0])
    first = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
    differs = contradict(values[first], values)
    if differs.any():
        later = int(np.argmax(differs))
        raise _contradiction(tables, int(order[first[later]]), int(order[later]))
    return stamps[is_first], values[is_first]


def _contradiction(tables: Sequence[Table], first: int, later: int) -> BarsError:
    """Return the error for two rows, counted through all tables, that contradict each other."""
    (one, row), (other, other_row) = (_locate(tables, index) for index in (first, later))
    column = int(np.argmax(np.abs(one.values[row] - other.values[other_row])))
    return BarsError(
        f"{other.name}: {other.part.place(other_row)} "
        f"({utc_text(int(other.timestamp[other_row]))}) has {VALUES[column]} "
        f"{other.values[other_row, column]:.12g}, but {one.part.place(row)} of {one.name} has "
        f"{one.values[row, column]:.12g} for the same time. Nothing was changed; find out which "
        "is true, and take the other away or use another venue's name."
    )


def _locate(tables: Sequence[Table], index: int) -> tuple[Table, int]:
    ends = np.cumsum([len(table) for table in tables])
    number = int(np.searchsorted(ends, index, side="right"))
    return tables[number], index - int(ends[number] - len(tables[number]))
