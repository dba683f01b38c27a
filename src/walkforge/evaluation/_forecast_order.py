"""Sorting a long table by several whole numbers."""

import math

import numpy as np

from walkforge.base import BoolArray, IntArray


def sorting_order(columns: list[IntArray]) -> IntArray | None:
    """Return the rows (n,) sorted by the first column, then the next; None if they are so already.

    Columns (n,) side by side in one 63-bit number are sorted at once, ten times as fast as one
    after the other, which remains for numbers that do not fit.
    """
    packed = _packed(columns)
    if packed is None:
        return np.lexsort(columns[::-1])
    return None if (packed[1:] >= packed[:-1]).all() else np.argsort(packed)


def changes(*columns: IntArray) -> BoolArray:
    """Tell which rows (n,) differ from the row before in any column; the first one does."""
    differs = np.zeros(len(columns[0]), dtype=np.bool_)
    differs[:1] = True
    for column in columns:
        differs[1:] |= column[1:] != column[:-1]
    return differs


def _packed(columns: list[IntArray]) -> IntArray | None:
    lows = [int(column.min()) for column in columns]
    sizes = [int(column.max()) - low + 1 for column, low in zip(columns, lows, strict=True)]
    if math.prod(sizes) >= 2**63:
        return None
    packed = np.zeros(len(columns[0]), dtype=np.int64)
    for column, low, size in zip(columns, lows, sizes, strict=True):
        packed = packed * size + (column - low)
    return packed
