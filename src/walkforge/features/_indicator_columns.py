"""Columns of the classic indicators, in relative form. Notation as in `_price_columns`.

TA-Lib runs the exponential means, the extremes and the true range, which are exact at every scale.
Its whole RSI and ADX are not used: they never forget, so that in a market that stands still they
keep their last value for ever and no look-back is enough. Its ADX, and the MFI of older versions,
compare amounts with fixed small numbers. The tests compare the columns here with TA-Lib's on an
ordinary market.
"""

import numpy as np

from walkforge.base import FloatArray

from ._column import column
from ._price_columns import level
from ._rolling import (
    balance,
    ema,
    ema_bars,
    mean_distance,
    ratio,
    rolling_mean,
    rolling_sum,
    wilder,
    wilder_bars,
)
from ._stretch import Stretch, with_sigma


@column("ema_{period}", unit="σ √{period}", look_back=lambda period: with_sigma(ema_bars(period)))
def close_to_ema(stretch: Stretch, period: int) -> FloatArray:
    """close / ema_{period}(close) − 1"""
    return stretch.in_sigmas(stretch.close / stretch.ema(period) - 1.0, period)


@column("natr_{period}", unit="ln of 0.1 %", look_back=lambda period: wilder_bars(period) + 1)
def natr(stretch: Stretch, period: int) -> FloatArray:
    """wilder_{period}(true range) / close"""
    return level(stretch.average_true_range(period) / stretch.close)


@column("true_range_{period}", unit="−1 to 1", look_back=lambda period: wilder_bars(period) + 1)
def true_range_shift(stretch: Stretch, period: int) -> FloatArray:
    """a = wilder_{period}(true range): (true range − a) / (true range + a), 0 after {period}
    bars without range
    """
    true_range = stretch.true_range()
    moved = rolling_sum(true_range, period) > 0.0
    return balance(true_range, stretch.average_true_range(period)) * moved


@column("rsi_{period}", unit="−1 to 1", look_back=lambda period: wilder_bars(period) + 1)
def rsi(stretch: Stretch, period: int) -> FloatArray:
    """RSI / 50 − 1: d = close − close[-1]: wilder_{period}(d) / wilder_{period}(|d|), 0 after
    {period} bars without change
    """
    way = stretch.way()
    moved = stretch.way_sums().over(period) > 0.0
    return ratio(wilder(stretch.step(), period), wilder(way, period)) * moved


@column(
    "macd_{fast}_{slow}",
    unit="σ √{slow}",
    look_back=lambda fast, slow: with_sigma(ema_bars(slow)),
)
def macd(stretch: Stretch, fast: int, slow: int) -> FloatArray:
    """(ema_{fast}(close) − ema_{slow}(close)) / ema_{slow}(close)"""
    return stretch.in_sigmas(stretch.macd(fast, slow) / stretch.ema(slow), slow)


@column(
    "macd_histogram_{fast}_{slow}_{signal}",
    unit="σ √{slow}",
    look_back=lambda fast, slow, signal: with_sigma(ema_bars(slow) + ema_bars(signal) - 1),
)
def macd_histogram(stretch: Stretch, fast: int, slow: int, signal: int) -> FloatArray:
    """m = ema_{fast}(close) − ema_{slow}(close): (m − ema_{signal}(m)) / ema_{slow}(close)"""
    line = stretch.macd(fast, slow)
    return stretch.in_sigmas((line - ema(line, signal)) / stretch.ema(slow), slow)


@column("bollinger_{bars}", unit="band widths from the middle", look_back=lambda bars: bars)
def bollinger(stretch: Stretch, bars: int) -> FloatArray:
    """(close − mean_{bars}(close)) / (2 deviation_{bars}(close)); 1 is the upper band"""
    mean, deviation = stretch.close_moments(bars)
    return ratio(stretch.close - mean, 2.0 * deviation, stretch.same_price())


@column("bollinger_width_{bars}", unit="ln of 0.1 %", look_back=lambda bars: bars)
def bollinger_width(stretch: Stretch, bars: int) -> FloatArray:
    """4 deviation_{bars}(close) / mean_{bars}(close)"""
    mean, deviation = stretch.close_moments(bars)
    return level(4.0 * deviation / mean)


@column("stochastic_k_{bars}", unit="−1 to 1", look_back=lambda bars: bars)
def stochastic_k(stretch: Stretch, bars: int) -> FloatArray:
    """2 (close − low_{bars}) / (high_{bars} − low_{bars}) − 1"""
    return stretch.stochastic_k(bars)


@column(
    "stochastic_d_{bars}_{smooth}",
    unit="−1 to 1",
    look_back=lambda bars, smooth: bars + smooth - 1,
)
def stochastic_d(stretch: Stretch, bars: int, smooth: int) -> FloatArray:
    """mean_{smooth}(2 (close − low_{bars}) / (high_{bars} − low_{bars}) − 1)"""
    return rolling_mean(stretch.stochastic_k(bars), smooth)


@column("cci_{bars}", unit="CCI / 100", look_back=lambda bars: bars)
def cci(stretch: Stretch, bars: int) -> FloatArray:
    """p = (high + low + close) / 3, m = mean_{bars}(p): (p − m) / (1.5 mean_{bars}(|p − m|)), m
    the same in all terms
    """
    typical = stretch.typical()
    mean, distance = mean_distance(typical, bars)
    return ratio(typical - mean, 1.5 * distance, stretch.same_price())


@column("mfi_{bars}", unit="−1 to 1", look_back=lambda bars: bars + 1)
def mfi(stretch: Stretch, bars: int) -> FloatArray:
    """MFI / 50 − 1: p = (high + low + close) / 3, f = sign(p − p[-1]) p volume: sum_{bars}(f) /
    sum_{bars}(|f|)
    """
    flow = stretch.signed_turnover()
    return ratio(rolling_sum(flow, bars), rolling_sum(np.abs(flow), bars))


@column("dmi_{period}", unit="−1 to 1", look_back=lambda period: wilder_bars(period) + 1)
def dmi(stretch: Stretch, period: int) -> FloatArray:
    """(+DI − −DI) / 100: wilder_{period}(+DM − −DM) / wilder_{period}(true range), 0 after
    {period} bars without DM
    """
    plus, minus = stretch.directional_means(period)
    return ratio(plus - minus, stretch.average_true_range(period))


@column("adx_{period}", unit="0 to 1", look_back=lambda period: 2 * wilder_bars(period))
def adx(stretch: Stretch, period: int) -> FloatArray:
    """ADX / 100: p, m = wilder_{period}(+DM), wilder_{period}(−DM): wilder_{period}(|p − m| / (p
    + m))
    """
    plus, minus = stretch.directional_means(period)
    return wilder(ratio(np.abs(plus - minus), plus + minus), period)
