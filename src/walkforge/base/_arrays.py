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


def whole_windows(valid: BoolArray, window_bars: int) -> BoolArray:
    """Return True (n,) where the last `window_bars` rows, this one included, are all valid.

    The first rows of every segment are not valid, so that no window reaches across a hole.
    """
    whole = np.zeros(len(valid), dtype=np.bool_)
    if len(valid) >= window_bars:
        counts = np.cumsum(np.concatenate([[0], valid]))
        whole[window_bars - 1 :] = counts[window_bars:] - counts[:-window_bars] == window_bars
    return whole
