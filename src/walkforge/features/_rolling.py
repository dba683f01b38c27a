"""Windows and exponential means whose every value depends on its own window and on nothing else.

A running sum (add the new bar, subtract the old one) drifts over a long series and leaves crumbs
behind where the market stood still. Here a window of 8 is two windows of 4, which are two of 2:
the same additions for every bar, wherever the series began, and zeros add up to exactly zero.

Everywhere: values (n,), NaN only at the start; results (n,), NaN until the window is full.
TA-Lib is imported on use: it brings pandas along where that is installed, a third of a second.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from walkforge.base import FloatArray

Window = TypeVar("Window", bound=tuple[Any, ...])

# An exponential mean never quite forgets. Here bars that together weigh less than this share
# are cut off, so that its window is finite and its look-back is exact, in any market.
FORGOTTEN_SHARE = 1e-5


def lag(values: FloatArray, bars: int) -> FloatArray:
    """Return the values of `bars` bars ago, bars >= 1."""
    earlier = np.empty(len(values))
    earlier[:bars] = np.nan
    earlier[bars:] = values[:-bars]
    return earlier


def ratio(above: FloatArray, below: FloatArray, nothing: FloatArray | float = 0.0) -> FloatArray:
    """Return above / below, and 0 where `below` is not more than `nothing`."""
    none = below <= nothing
    return above / (np.where(none, np.inf, below) if none.any() else below)


def balance(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return (left - right) / (left + right) of two amounts: −1 to 1, and 0 where both are 0."""
    return ratio(left - right, left + right)


def rolling_sum(values: FloatArray, bars: int) -> FloatArray:
    """Return the sum over the last `bars` bars, in O(n log bars)."""
    return WindowSums(values).over(bars)


class WindowSums:
    """The sums over windows of one series; all share those over 1, 2, 4, 8... bars."""

    def __init__(self, values: FloatArray) -> None:
        self._doubled = [values]

    def over(self, bars: int) -> FloatArray:
        """Return the sum over the last `bars` bars, bars >= 1, the same as `rolling_sum`."""
        total: FloatArray | None = None
        covered = 0
        for power in range(bars.bit_length()):
            if bars & (size := 1 << power):
                part = self._over_doubled(power)
                total = part if total is None else _plus(total, part, covered)
                covered += size
        assert total is not None
        return total

    def _over_doubled(self, power: int) -> FloatArray:
        while len(self._doubled) <= power:
            part = self._doubled[-1]
            self._doubled.append(_plus(part, part, 1 << (len(self._doubled) - 1)))
        return self._doubled[power]


def rolling_mean(values: FloatArray, bars: int) -> FloatArray:
    """Return the mean over the last `bars` bars."""
    return rolling_sum(values, bars) / bars


def rolling_moments(values: FloatArray, bars: int) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation (of the population) over the last `bars` bars.

    Windows are merged by mean and sum of squares (Chan, Golub and LeVeque 1979), which nowhere
    subtracts two large numbers: equal values have exactly that mean, and a deviation of 0.
    """
    _, mean, squares = _merged((1, values, np.zeros(len(values))), bars, _merge_moments)
    return mean, np.sqrt(squares / bars)


def rolling_center(values: FloatArray, bars: int) -> FloatArray:
    """Return the mean of `rolling_moments` alone, in half the time."""
    return _merged((1, values), bars, _merge_means)[1]


def mean_distance(values: FloatArray, bars: int) -> tuple[FloatArray, FloatArray]:
    """Return the mean over the last `bars` bars, and the mean distance of these bars from it."""
    mean = rolling_center(values, bars)
    distance = np.abs(values - mean)
    for age in range(1, bars):
        apart = values[:-age] - mean[age:]
        distance[age:] += np.abs(apart, out=apart)
    return mean, distance / bars


def rolling_high(values: FloatArray, bars: int) -> FloatArray:
    """Return the highest value of the last `bars` bars, bars >= 2."""
    import talib

    return talib.MAX(values, bars)


def rolling_low(values: FloatArray, bars: int) -> FloatArray:
    """Return the lowest value of the last `bars` bars, bars >= 2."""
    import talib

    return talib.MIN(values, bars)


def ema_bars(period: int) -> int:
    """Return how many bars an exponential mean of this period looks at."""
    return math.ceil(math.log(FORGOTTEN_SHARE) / math.log(_decay(period)))


def ema(values: FloatArray, period: int) -> FloatArray:
    """Return the exponential mean, weights (1 − 2 / (period + 1))**age over `ema_bars` bars.

    TA-Lib runs the recursion from zero; what came before the window is then taken out again,
    and the weights are made to sum to 1.
    """
    import talib

    window, decay = ema_bars(period), _decay(period)
    first = int(np.argmin(np.isnan(values)))
    # TA-Lib starts with the plain mean of `period` values: of zeros here, so that state[i] is
    # what the first i values alone have left.
    state = talib.EMA(np.concatenate([np.zeros(period), values[first:]]), period)[period - 1 :]
    forgotten = decay**window
    mean = np.full(len(values), np.nan)
    mean[first + window - 1 :] = (state[window:] - forgotten * state[:-window]) / (1 - forgotten)
    return mean


def wilder_bars(period: int) -> int:
    """Return how many bars Wilder's mean of this period looks at."""
    return ema_bars(2 * period - 1)


def wilder(values: FloatArray, period: int) -> FloatArray:
    """Return Wilder's mean, weights (1 − 1 / period)**age over `wilder_bars` bars."""
    return ema(values, 2 * period - 1)


def _decay(period: int) -> float:
    return 1.0 - 2.0 / (period + 1)


def _plus(recent: FloatArray, earlier: FloatArray, bars: int) -> FloatArray:
    """Return recent[t] + earlier[t − bars]."""
    total = np.empty(len(recent))
    total[:bars] = np.nan
    np.add(recent[bars:], earlier[: max(len(earlier) - bars, 0)], out=total[bars:])
    return total


def _merged(one_bar: Window, bars: int, merge: Callable[[Window, Window], Window]) -> Window:
    """Return the windows of `bars` bars, put together from windows of 1, 2, 4, 8... bars.

    A window is a tuple whose first item is its number of bars; `merge` takes the recent one first.
    """
    total, part = None, one_bar
    while True:
        if bars & part[0]:
            total = part if total is None else merge(total, part)
            if total[0] == bars:
                return total
        part = merge(part, part)


def _merge_means(
    recent: tuple[int, FloatArray], earlier: tuple[int, FloatArray]
) -> tuple[int, FloatArray]:
    """Return count and mean of two windows, one before the other."""
    n_bars = recent[0] + earlier[0]
    step = lag(earlier[1], recent[0]) - recent[1]
    return n_bars, recent[1] + step * (earlier[0] / n_bars)


def _merge_moments(
    recent: tuple[int, FloatArray, FloatArray], earlier: tuple[int, FloatArray, FloatArray]
) -> tuple[int, FloatArray, FloatArray]:
    """Return count, mean and sum of squared deviations of two windows, one before the other."""
    n_recent, mean_recent, squares_recent = recent
    n_earlier, mean_earlier, squares_earlier = earlier
    n_bars = n_recent + n_earlier
    step = lag(mean_earlier, n_recent) - mean_recent
    squares = squares_recent + lag(squares_earlier, n_recent)
    mean = mean_recent + step * (n_earlier / n_bars)
    return n_bars, mean, squares + step * step * (n_recent * n_earlier / n_bars)
