"""An account's equity as returns of days."""

from __future__ import annotations

import numpy as np

from walkforge.base import FloatArray, IntArray

DAY_MS = 86_400_000


def daily_returns(timestamp: IntArray, equity: FloatArray, capital: float) -> FloatArray:
    """Return one return per UTC day that has a bar: equity at its last bar's close over the day
    before, less 1; the first day starts from `capital`.

    Days without a trade are there with 0; days inside a hole of all symbols are not. A bar
    belongs to the day on which it opens. NaN from the day on which the equity is used up.
    """
    day = timestamp // DAY_MS
    ends = np.flatnonzero(np.append(np.diff(day) > 0, True)) if len(day) else day
    levels = np.concatenate([[capital], equity[ends]])
    ruined = np.maximum.accumulate(levels <= 0)
    levels = np.where(ruined, np.nan, levels)
    return levels[1:] / levels[:-1] - 1.0
