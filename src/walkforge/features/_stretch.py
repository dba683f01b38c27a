"""A stretch of bars inside one segment, and the intermediates that several columns share."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from walkforge.base import FloatArray, IntArray
from walkforge.market import Bars

from ._rolling import (
    WindowSums,
    ema,
    lag,
    ratio,
    rolling_high,
    rolling_low,
    rolling_mean,
    rolling_moments,
    rolling_sum,
    wilder,
)

Key = ParamSpec("Key")
Result = TypeVar("Result")

SIGMA_BARS = 60  # bars of the volatility σ that other columns are measured in

# Prices that are equal on paper may differ in their last bit (a middle of bid and ask, a sum of
# three prices), and which way depends on the currency. Differences of up to this share of the
# price count as none. A bit is 1e-16 of it, the finest real tick about 1e-8.
SAME_PRICE_SHARE = 1e-12


def with_sigma(bars: int) -> int:
    """Return the look-back of a column that needs `bars` bars and σ."""
    return max(bars, SIGMA_BARS + 1)  # so many closes make SIGMA_BARS returns


def remembered(
    method: Callable[Concatenate["Stretch", Key], Result],
) -> Callable[Concatenate["Stretch", Key], Result]:
    """Compute a method of Stretch once per stretch and set of arguments."""

    @wraps(method)
    def recall(stretch: "Stretch", *args: Key.args, **kwargs: Key.kwargs) -> Result:
        key = (method.__name__, *args, *kwargs.items())
        if key not in stretch.memory:
            stretch.memory[key] = method(stretch, *args, **kwargs)
        known: Result = stretch.memory[key]
        return known

    return recall


class Stretch:
    """Bars that follow one another without a hole: prices and volume (n,), stamps (n,) ms UTC.

    Every method returns (n,) float64 with NaN until its window is full, or WindowSums, which do,
    and looks at bar t and earlier ones only. Results are shared: never write into them.
    """

    def __init__(self, bars: Bars, rows: slice) -> None:
        self.timestamp = bars.timestamp[rows]
        self.open = _floats(bars.open[rows])
        self.high = _floats(bars.high[rows])
        self.low = _floats(bars.low[rows])
        self.close = _floats(bars.close[rows])
        self.volume = _floats(bars.volume[rows])
        self.memory: dict[tuple[Any, ...], Any] = {}

    # Prices and their changes

    @remembered
    def same_price(self) -> FloatArray:
        """Return the largest difference of two prices that counts as none."""
        return SAME_PRICE_SHARE * self.close

    @remembered
    def log_close(self) -> FloatArray:
        return np.log(self.close)

    @remembered
    def log_return(self, span: int) -> FloatArray:
        """Return ln(close / close[-span])."""
        change = self.log_close() - lag(self.log_close(), span)
        return _without_dust(change, SAME_PRICE_SHARE)

    @remembered
    def close_before(self) -> FloatArray:
        return lag(self.close, 1)

    @remembered
    def step(self) -> FloatArray:
        """Return close − close[-1]."""
        return _without_dust(self.close - self.close_before(), self.same_price())

    @remembered
    def direction(self) -> FloatArray:
        """Return the sign of close − close[-1]: −1, 0 or 1."""
        return np.sign(self.step())

    @remembered
    def typical(self) -> FloatArray:
        """Return the typical price (high + low + close) / 3."""
        return (self.high + self.low + self.close) / 3.0

    @remembered
    def way(self) -> FloatArray:
        """Return |close − close[-1]|."""
        return np.abs(self.step())

    @remembered
    def way_sums(self) -> WindowSums:
        return WindowSums(self.way())

    @remembered
    def log_way_sums(self) -> WindowSums:
        """Return the sums of |ln(close / close[-1])|."""
        return WindowSums(np.abs(self.log_return(1)))

    @remembered
    def sma(self, bars: int) -> FloatArray:
        return self._close_sums().over(bars) / bars

    @remembered
    def _close_sums(self) -> WindowSums:
        return WindowSums(self.close)

    @remembered
    def ema(self, period: int) -> FloatArray:
        return ema(self.close, period)

    @remembered
    def close_moments(self, bars: int) -> FloatArray:
        """Return mean and standard deviation of the close, (2, n)."""
        return np.stack(rolling_moments(self.close, bars))

    # Volatility

    @remembered
    def volatility(self, bars: int) -> FloatArray:
        """Return the root mean square of the last `bars` log returns, a fraction per bar."""
        return np.sqrt(self._squared_return_sums().over(bars) / bars)

    @remembered
    def parkinson(self, bars: int) -> FloatArray:
        """Return Parkinson's volatility (1980), a fraction per bar."""
        mean = self._squared_range_sums().over(bars) / bars
        return np.sqrt(mean / (4.0 * math.log(2.0)))

    @remembered
    def garman_klass(self, bars: int) -> FloatArray:
        """Return the volatility of Garman and Klass (1980), a fraction per bar."""
        mean = self._garman_klass_sums().over(bars) / bars
        # Only bars whose close lies outside their own range can bring the mean below zero.
        return np.sqrt(np.maximum(mean, 0.0))

    @remembered
    def _garman_klass_sums(self) -> WindowSums:
        squared_body = np.log(self.close / self.open) ** 2
        return WindowSums(0.5 * self._squared_range() - (2.0 * math.log(2.0) - 1.0) * squared_body)

    @remembered
    def bar_range(self) -> FloatArray:
        """Return high − low."""
        return _without_dust(self.high - self.low, self.same_price())

    @remembered
    def true_range(self) -> FloatArray:
        import talib

        return _without_dust(talib.TRANGE(self.high, self.low, self.close), self.same_price())

    @remembered
    def average_true_range(self, period: int) -> FloatArray:
        return wilder(self.true_range(), period)

    @remembered
    def per_sigma(self) -> FloatArray:
        """Return 1 / σ, and 0 where the close has not moved for SIGMA_BARS bars."""
        return ratio(np.ones(len(self.close)), self.volatility(SIGMA_BARS))

    def in_sigmas(self, fraction: FloatArray, span: int = 1) -> FloatArray:
        """Return a fraction of the price in units of σ √span, what a random walk does in `span`."""
        return fraction * (self.per_sigma() * (1.0 / math.sqrt(span)))

    # Strength and direction

    @remembered
    def stochastic_k(self, bars: int) -> FloatArray:
        """Return where the close stands in the range of the last `bars` bars, −1 to 1."""
        high, low = rolling_high(self.high, bars), rolling_low(self.low, bars)
        return ratio(2.0 * self.close - high - low, high - low, self.same_price())

    @remembered
    def macd(self, fast: int, slow: int) -> FloatArray:
        """Return the difference of two exponential means of the close."""
        return self.ema(fast) - self.ema(slow)

    @remembered
    def directional_moves(self) -> FloatArray:
        """Return Wilder's +DM and −DM, (2, n): the larger of the moves of high and low."""
        up, down = self.high - lag(self.high, 1), lag(self.low, 1) - self.low
        lead, same = up - down, self.same_price()
        plus = np.where((up > same) & (lead > same), up, 0.0)
        minus = np.where((down > same) & (lead < -same), down, 0.0)
        moves = np.stack([plus, minus])
        moves[:, 0] = np.nan
        return moves

    @remembered
    def directional_means(self, period: int) -> FloatArray:
        """Return Wilder's means of +DM and −DM, (2, n); both 0 after `period` bars without any."""
        moves = self.directional_moves()
        moved = rolling_sum(moves[0] + moves[1], period) > 0.0
        return np.stack([wilder(move, period) * moved for move in moves])

    # Volume

    @remembered
    def mean_volume(self, bars: int) -> FloatArray:
        return self.volume_sums().over(bars) / bars

    @remembered
    def volume_sums(self) -> WindowSums:
        return WindowSums(self.volume)

    @remembered
    def signed_volume_sums(self) -> WindowSums:
        """Return the sums of volume, negative where the close fell, 0 where it stood."""
        return WindowSums(self.direction() * self.volume)

    @remembered
    def vwap(self, bars: int) -> FloatArray:
        """Return the mean typical price weighted by volume; unweighted where there was none."""
        traded = self.volume_sums().over(bars)
        weighted = ratio(self._turnover_sums().over(bars), traded)
        nothing = traded == 0.0
        if nothing.any():
            weighted[nothing] = rolling_mean(self.typical(), bars)[nothing]
        return weighted

    @remembered
    def signed_turnover(self) -> FloatArray:
        """Return typical price x volume, negative where the price fell, 0 where it stood."""
        step = self.typical() - lag(self.typical(), 1)
        return np.sign(_without_dust(step, self.same_price())) * self._turnover()

    @remembered
    def _turnover(self) -> FloatArray:
        return self.typical() * self.volume

    @remembered
    def _turnover_sums(self) -> WindowSums:
        return WindowSums(self._turnover())

    @remembered
    def _squared_return_sums(self) -> WindowSums:
        return WindowSums(self.log_return(1) ** 2)

    @remembered
    def _squared_range(self) -> FloatArray:
        return np.log(self.high / self.low) ** 2

    @remembered
    def _squared_range_sums(self) -> WindowSums:
        return WindowSums(self._squared_range())

    # Clock

    @remembered
    def past_ms(self, cycle_ms: int, start_ms: int = 0) -> IntArray:
        """Return how far the bar's open is into a cycle that began at `start_ms`."""
        past: IntArray = (self.timestamp - start_ms) % cycle_ms
        return past


def _floats(values: FloatArray) -> FloatArray:
    return np.ascontiguousarray(values, dtype=np.float64)


def _without_dust(differences: FloatArray, dust: FloatArray | float) -> FloatArray:
    """Return the differences, with 0 for those of at most `dust`."""
    return np.where(np.abs(differences) <= dust, 0.0, differences)
