"""Wilder's average true range, bar by bar, never across a hole."""

import numpy as np

from walkforge.base import FloatArray
from walkforge.market import Bars


def average_true_range(bars: Bars, n: int) -> FloatArray:
    """Return Wilder's ATR (n_bars,) in quote currency; look-back: the segment's start.

    True range of bar t = max(high, close[t-1]) - min(low, close[t-1]). Within a segment the
    first value stands at its bar `n` and is the mean of the true ranges 1..n; from there on
    ATR[t] = (ATR[t-1] * (n - 1) + TR[t]) / n (Wilder 1978, New Concepts in Technical Trading
    Systems). The first `n` bars of every segment are NaN: a first bar has no close before it.
    """
    import talib

    atr = np.full(len(bars), np.nan)
    high, low, close = (np.ascontiguousarray(p) for p in (bars.high, bars.low, bars.close))
    for rows in bars.segments:
        if rows.stop - rows.start > n:
            atr[rows] = talib.ATR(high[rows], low[rows], close[rows], timeperiod=n)
    return atr
