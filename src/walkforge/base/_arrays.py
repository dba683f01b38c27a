"""Array types that many doors share."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Int8Array = NDArray[np.int8]
BoolArray = NDArray[np.bool_]


def concatenate_ranges(starts: IntArray, lengths: IntArray) -> IntArray:
    """Return `start, start + 1, ... start + length - 1` of every pair, one after the other."""
    if lengths.sum() == 0:
        return np.zeros(0, dtype=np.int64)
    ends = np.cumsum(lengths)
    offsets = np.repeat(starts - (ends - lengths), lengths)
    return offsets + np.arange(ends[-1])
