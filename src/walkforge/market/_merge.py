"""Joining bars of one series that came in several pieces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from walkforge.base import BarsError, FloatArray, IntArray, utc_text

from ._calendar import rises
from ._columns import VALUES, contradict
from ._rows import BAR, Rows
from ._tables import Table


def unite(tables: Sequence[Table]) -> Rows:
    """Return the rows of all tables in time order, each bar once, with all of their columns.

    Raises BarsError naming both places where two of them hold different bars for one time.
    """
    columns = tuple(dict.fromkeys([*VALUES, *(name for table in tables for name in table.more)]))
    stamps = np.concatenate([table.timestamp for table in tables])
    values = np.concatenate([_rows(table).with_columns(columns).values for table in tables])
    if rises(stamps):
        return Rows(stamps, values, columns)
    order = np.argsort(stamps, kind="stable")
    stamps, values = stamps[order], values[order]
    is_first = np.concatenate([[True], np.diff(stamps) > 0])
    first = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
    differs = contradict(values[first][:, BAR], values[:, BAR])
    if differs.any():
        later = int(np.argmax(differs))
        raise _contradiction(tables, int(order[first[later]]), int(order[later]))
    for column in values.T[len(VALUES) :]:
        _fill(column, first, again=np.flatnonzero(~is_first))
    return Rows(stamps[is_first], values[is_first], columns)


def _fill(column: FloatArray, first: IntArray, *, again: IntArray) -> None:
    """Give the first of equal bars what it lacks and the next of them has; `first` (n,) is its row.

    `again` (k,) are the rows of the others.
    """
    having = again[~np.isnan(column[again])][::-1]  # of several, the one set last counts
    having = having[np.isnan(column[first[having]])]
    column[first[having]] = column[having]


def _rows(table: Table) -> Rows:
    values = np.column_stack([table.values, *table.more.values()]) if table.more else table.values
    return Rows(table.timestamp, values, (*VALUES, *table.more))


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
