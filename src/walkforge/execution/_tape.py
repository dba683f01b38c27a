"""Bars made ready for the kernels once, to be filled against many times."""

from dataclasses import dataclass

import numpy as np

from walkforge.base import FloatArray, IntArray
from walkforge.market import Bars

from ._atr import average_true_range


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """Prices (n,), Wilder ATR (n,) with NaN in the warm-up, and where each segment ends (n,)."""

    bars: Bars
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    atr: FloatArray
    last_row: IntArray
    """Row of the last bar of each bar's segment."""

    def __len__(self) -> int:
        return len(self.close)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return what every kernel takes first, in its order."""
        return (self.open, self.high, self.low, self.close, self.atr, self.last_row)

    def enterable(self) -> IntArray:
        """Return the rows whose close a position can be decided at: an ATR, and a bar after it."""
        rows = np.arange(len(self))
        return rows[(rows < self.last_row) & np.isfinite(self.atr)]


def make_tape(bars: Bars, atr_bars: int) -> Tape:
    """Return the tape of `bars`; nothing is copied that already lies right."""
    ends = np.array([rows.stop - 1 for rows in bars.segments], dtype=np.int64)
    lengths = np.array([rows.stop - rows.start for rows in bars.segments], dtype=np.int64)
    return Tape(
        bars,
        open=np.ascontiguousarray(bars.open),
        high=np.ascontiguousarray(bars.high),
        low=np.ascontiguousarray(bars.low),
        close=np.ascontiguousarray(bars.close),
        atr=average_true_range(bars, atr_bars),
        last_row=np.repeat(ends, lengths),
    )
