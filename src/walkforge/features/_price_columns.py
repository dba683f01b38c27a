"""Columns about the price alone: returns, averages, momenta, volatilities, candles.

The docstring of each function is its formula. x[-k] is x of k bars ago; sum_n, mean_n, high_n and
low_n run over the last n bars; ema_n and wilder_n are exponential means. A ratio with 0 below is 0.
"""

import numpy as np

from walkforge.base import FloatArray

from ._column import column
from ._rolling import balance, lag, ratio, rolling_sum
from ._stretch import Stretch, with_sigma


def level(fraction: FloatArray) -> FloatArray:
    """Return ln(fraction / 0.001), where less than 0.000001 counts as that: −6.9 in a dead market.

    Logarithms, because a day moves a hundred times as far as a minute.
    """
    return np.log(np.maximum(fraction, 1e-6) / 1e-3)


# Returns


@column("return_{span}", unit="σ √{span}", look_back=lambda span: with_sigma(span + 1))
def past_return(stretch: Stretch, span: int) -> FloatArray:
    """ln(close / close[-{span}])"""
    return stretch.in_sigmas(stretch.log_return(span), span)


@column("return_1_lag_{bars}", unit="σ", look_back=lambda bars: with_sigma(bars + 2))
def lagged_return(stretch: Stretch, bars: int) -> FloatArray:
    """ln(close / close[-1]) of {bars} bars ago"""
    return stretch.in_sigmas(lag(stretch.log_return(1), bars))


@column("gap", unit="σ", look_back=lambda: with_sigma(2))
def gap(stretch: Stretch) -> FloatArray:
    """ln(open / close[-1])"""
    return stretch.in_sigmas(np.log(stretch.open / stretch.close_before()))


@column("high", unit="σ", look_back=lambda: with_sigma(2))
def high(stretch: Stretch) -> FloatArray:
    """ln(high / close[-1])"""
    return stretch.in_sigmas(np.log(stretch.high / stretch.close_before()))


@column("low", unit="σ", look_back=lambda: with_sigma(2))
def low(stretch: Stretch) -> FloatArray:
    """ln(low / close[-1])"""
    return stretch.in_sigmas(np.log(stretch.low / stretch.close_before()))


# Ratios to moving averages


@column("sma_{bars}", unit="σ √{bars}", look_back=with_sigma)
def close_to_sma(stretch: Stretch, bars: int) -> FloatArray:
    """close / mean_{bars}(close) − 1"""
    return stretch.in_sigmas(stretch.close / stretch.sma(bars) - 1.0, bars)


@column("sma_{fast}_{slow}", unit="σ √{slow}", look_back=lambda fast, slow: with_sigma(slow))
def sma_cross(stretch: Stretch, fast: int, slow: int) -> FloatArray:
    """mean_{fast}(close) / mean_{slow}(close) − 1"""
    return stretch.in_sigmas(stretch.sma(fast) / stretch.sma(slow) - 1.0, slow)


# Momenta


@column("momentum_{bars}", unit="−1 to 1", look_back=lambda bars: bars + 1)
def momentum(stretch: Stretch, bars: int) -> FloatArray:
    """r = ln(close / close[-1]): sum_{bars}(r) / sum_{bars}(|r|), Chande's momentum"""
    return ratio(stretch.log_return(bars), stretch.log_way_sums().over(bars))


@column(
    "acceleration_{span}", unit="σ √(2 x {span})", look_back=lambda span: with_sigma(2 * span + 1)
)
def acceleration(stretch: Stretch, span: int) -> FloatArray:
    """r = ln(close / close[-{span}]): r − r[-{span}]"""
    change = stretch.log_return(span)
    return stretch.in_sigmas(change - lag(change, span), 2 * span)


@column("up_share_{bars}", unit="−1 to 1", look_back=lambda bars: bars + 1)
def up_share(stretch: Stretch, bars: int) -> FloatArray:
    """mean_{bars}(sign(close − close[-1]))"""
    return rolling_sum(stretch.direction(), bars) / bars


# Volatilities


@column("volatility_{bars}", unit="ln of 0.1 %", look_back=lambda bars: bars + 1)
def volatility(stretch: Stretch, bars: int) -> FloatArray:
    """close to close: √mean_{bars}(ln(close / close[-1])²)"""
    return level(stretch.volatility(bars))


@column("parkinson_{bars}", unit="ln of 0.1 %", look_back=lambda bars: bars)
def parkinson(stretch: Stretch, bars: int) -> FloatArray:
    """√(mean_{bars}(ln(high / low)²) / (4 ln 2))"""
    return level(stretch.parkinson(bars))


@column("garman_klass_{bars}", unit="ln of 0.1 %", look_back=lambda bars: bars)
def garman_klass(stretch: Stretch, bars: int) -> FloatArray:
    """√mean_{bars}(½ ln(high / low)² − (2 ln 2 − 1) ln(close / open)²)"""
    return level(stretch.garman_klass(bars))


@column(
    "volatility_{fast}_{slow}",
    unit="−1 to 1",
    look_back=lambda fast, slow: max(fast, slow) + 1,
)
def volatility_shift(stretch: Stretch, fast: int, slow: int) -> FloatArray:
    """v_n = √mean_n(ln(close / close[-1])²): (v_{fast} − v_{slow}) / (v_{fast} + v_{slow})"""
    return balance(stretch.volatility(fast), stretch.volatility(slow))


# Candles


@column("body", unit="−1 to 1", look_back=lambda: 1)
def body(stretch: Stretch) -> FloatArray:
    """(close − open) / (high − low)"""
    return ratio(stretch.close - stretch.open, stretch.bar_range())


@column("upper_wick", unit="0 to 1", look_back=lambda: 1)
def upper_wick(stretch: Stretch) -> FloatArray:
    """(high − max(open, close)) / (high − low)"""
    top = np.maximum(stretch.open, stretch.close)
    return ratio(stretch.high - top, stretch.bar_range())


@column("lower_wick", unit="0 to 1", look_back=lambda: 1)
def lower_wick(stretch: Stretch) -> FloatArray:
    """(min(open, close) − low) / (high − low)"""
    bottom = np.minimum(stretch.open, stretch.close)
    return ratio(bottom - stretch.low, stretch.bar_range())
