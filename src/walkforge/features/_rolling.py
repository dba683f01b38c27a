"""Windows and exponential means whose every value depends on its own window and on nothing else.

A running sum (add the new bar, subtract the old one) drifts over a long series and leaves crumbs
behind where the market stood still. Here a window of 8 is two windows of 4, which are two of 2:
the same additions for every bar, wherever the series began, and zeros add up to exactly zero.

Everywhere: values (n,), NaN only at the start; results (n,), NaN until the window is full.
TA-Lib is imported on use: it brings pandas along where that is installed, a third of a second.
"""

import math

import numpy as np

from walkforge.base import FloatArray

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
    return above / np.where(below <= nothing, np.inf, below)


def balance(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return (left - right) / (left + right) of two amounts: −1 to 1, and 0 where both are 0."""
    return ratio(left - right, left + right)


def rolling_sum(values: FloatArray, bars: int) -> FloatArray:
    """Return the sum over the last `bars` bars, in O(n log bars)."""
    total, covered = np.zeros(len(values)), 0
    part, size = values, 1  # part: the sum over `size` bars
    while True:
        if bars & size:
            total = _plus(total, part, covered)
            covered += size
        if covered == bars:
            return total
        part = _plus(part, part, size)
        size *= 2


def rolling_mean(values: FloatArray, bars: int) -> FloatArray:
    """Return the mean over the last `bars` bars."""
    return rolling_sum(values, bars) / bars


def rolling_moments(values: FloatArray, bars: int) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation (of the population) over the last `bars` bars.

    Windows are merged by mean and sum of squares (Chan, Golub and LeVeque 1979), which nowhere
    subtracts two large numbers: equal values have exactly that mean, and a deviation of 0.
    """
    total: tuple[int, FloatArray, FloatArray] | None = None
    part = (1, values, np.zeros(len(values)))
    while True:
        if bars & part[0]:
            total = part if total is None else _merge(total, part)
            if total[0] == bars:
                return total[1], np.sqrt(total[2] / bars)
        part = _merge(part, part)


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


def _merge(
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
