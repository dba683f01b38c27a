"""Every column against slow, obvious code written from the textbook formula."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import talib

from drawn import random_bars
from walkforge.features import build, feature_set
from walkforge.market import Bars

BARS = random_bars(700, seed=3, timeframe="15m")
ROWS = (320, 411, 502, 593, 699)

# A recursion that began at the first bar differs from the window of the columns by the share
# that the window forgets, one part in 100 000, times a few.
RECURSIVE = ("ema_", "rsi_", "natr_", "true_range_", "macd_", "dmi_", "adx_")

Slow = Callable[[Bars, int], float]


def last(values, t, n):
    return [float(values[i]) for i in range(t - n + 1, t + 1)]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def log_returns(b, t, n):
    return [math.log(b.close[i] / b.close[i - 1]) for i in range(t - n + 1, t + 1)]


def close_volatility(b, t, n):
    return math.sqrt(mean(r * r for r in log_returns(b, t, n)))


def in_sigmas(fraction, b, t, span):
    return fraction / (close_volatility(b, t, 60) * math.sqrt(span))


def level(fraction):
    return math.log(fraction / 0.001)


def typical_prices(b, t, n):
    return [(b.high[i] + b.low[i] + b.close[i]) / 3 for i in range(t - n + 1, t + 1)]


def exponential_mean(values, period, weight=None):
    """Return the last value of the recursion that starts from the mean of the first values."""
    weight = weight or 2 / (period + 1)
    average = mean(values[:period])
    for value in values[period:]:
        average += weight * (value - average)
    return average


def wilder_mean(values, period):
    return exponential_mean(values, period, 1 / period)


def true_ranges(b, t):
    return [
        max(
            b.high[i] - b.low[i],
            abs(b.high[i] - b.close[i - 1]),
            abs(b.low[i] - b.close[i - 1]),
        )
        for i in range(1, t + 1)
    ]


def rsi(b, t, n):
    steps = [b.close[i] - b.close[i - 1] for i in range(1, t + 1)]
    gain = wilder_mean([max(step, 0) for step in steps], n)
    loss = wilder_mean([max(-step, 0) for step in steps], n)
    return (100 - 100 / (1 + gain / loss)) / 50 - 1


def directional_indicators(b, t, n):
    plus, minus = [], []
    for i in range(1, t + 1):
        up, down = b.high[i] - b.high[i - 1], b.low[i - 1] - b.low[i]
        plus.append(up if up > down and up > 0 else 0.0)
        minus.append(down if down > up and down > 0 else 0.0)
    average = wilder_mean(true_ranges(b, t), n)
    return wilder_mean(plus, n) / average, wilder_mean(minus, n) / average


def adx(b, t, n):
    indices = []
    for i in range(40, t + 1):  # far enough back
        plus, minus = directional_indicators(b, i, n)
        indices.append(abs(plus - minus) / (plus + minus))
    return wilder_mean(indices, n)


def dmi(b, t, n):
    plus, minus = directional_indicators(b, t, n)
    return plus - minus


def natr(b, t, n):
    return level(wilder_mean(true_ranges(b, t), n) / b.close[t])


def true_range_shift(b, t, n):
    ranges = true_ranges(b, t)
    average = wilder_mean(ranges, n)
    return (ranges[-1] - average) / (ranges[-1] + average)


def close_ema(b, t, n):
    return exponential_mean(last(b.close, t, t + 1), n)


def macd(b, t, fast, slow):
    line = close_ema(b, t, fast) - close_ema(b, t, slow)
    return in_sigmas(line / close_ema(b, t, slow), b, t, slow)


def macd_histogram(b, t, fast, slow, signal):
    lines = [close_ema(b, i, fast) - close_ema(b, i, slow) for i in range(t - 120, t + 1)]
    above_signal = lines[-1] - exponential_mean(lines, signal)
    return in_sigmas(above_signal / close_ema(b, t, slow), b, t, slow)


def deviation(values):
    middle = mean(values)
    return math.sqrt(mean((value - middle) ** 2 for value in values))


def bollinger(b, t, n):
    window = last(b.close, t, n)
    upper = mean(window) + 2 * deviation(window)
    return (b.close[t] - mean(window)) / (upper - mean(window))


def bollinger_width(b, t, n):
    window = last(b.close, t, n)
    return level(4 * deviation(window) / mean(window))


def stochastic_k(b, t, n):
    lowest, highest = min(last(b.low, t, n)), max(last(b.high, t, n))
    return 2 * (b.close[t] - lowest) / (highest - lowest) - 1


def cci(b, t, n):
    prices = typical_prices(b, t, n)
    mean_deviation = mean(abs(price - mean(prices)) for price in prices)
    return (prices[-1] - mean(prices)) / (0.015 * mean_deviation) / 100


def mfi(b, t, n):
    prices, positive, negative = typical_prices(b, t, n + 1), 0.0, 0.0
    for price, before, volume in zip(prices[1:], prices, last(b.volume, t, n), strict=False):
        if price > before:
            positive += price * volume
        elif price < before:
            negative += price * volume
    return (100 - 100 / (1 + positive / negative)) / 50 - 1


def parkinson(b, t, n):
    squares = [math.log(b.high[i] / b.low[i]) ** 2 for i in range(t - n + 1, t + 1)]
    return level(math.sqrt(mean(squares) / (4 * math.log(2))))


def garman_klass(b, t, n):
    terms = [
        0.5 * math.log(b.high[i] / b.low[i]) ** 2
        - (2 * math.log(2) - 1) * math.log(b.close[i] / b.open[i]) ** 2
        for i in range(t - n + 1, t + 1)
    ]
    return level(math.sqrt(mean(terms)))


def shift(left, right):
    return (left - right) / (left + right)


def vwap(b, t, n):
    volumes = last(b.volume, t, n)
    paid = sum(p * v for p, v in zip(typical_prices(b, t, n), volumes, strict=True))
    return in_sigmas(b.close[t] / (paid / sum(volumes)) - 1, b, t, n)


def flow(b, t, n):
    signed = sum(
        math.copysign(b.volume[i], b.close[i] - b.close[i - 1]) for i in range(t - n + 1, t + 1)
    )
    return signed / sum(last(b.volume, t, n))


def sma(b, t, n):
    return mean(last(b.close, t, n))


def angle(b, t, cycle_hours, hours_before_monday):
    hours = b.timestamp[t] / 3_600_000 - hours_before_monday
    return 2 * math.pi * (hours % cycle_hours) / cycle_hours


def log_return(b, t, span):
    return math.log(b.close[t] / b.close[t - span])


SLOW: dict[str, Slow] = {
    **{
        f"return_{n}": lambda b, t, n=n: in_sigmas(log_return(b, t, n), b, t, n)
        for n in (1, 5, 10, 15, 30, 60, 120, 240)
    },
    **{
        f"return_1_lag_{n}": lambda b, t, n=n: in_sigmas(log_return(b, t - n, 1), b, t, 1)
        for n in (1, 2, 3, 5, 10)
    },
    **{
        f"sma_{n}": lambda b, t, n=n: in_sigmas(b.close[t] / sma(b, t, n) - 1, b, t, n)
        for n in (5, 10, 20, 50, 100, 200)
    },
    **{
        f"ema_{n}": lambda b, t, n=n: in_sigmas(b.close[t] / close_ema(b, t, n) - 1, b, t, n)
        for n in (12, 26)
    },
    "sma_5_20": lambda b, t: in_sigmas(sma(b, t, 5) / sma(b, t, 20) - 1, b, t, 20),
    "sma_20_100": lambda b, t: in_sigmas(sma(b, t, 20) / sma(b, t, 100) - 1, b, t, 100),
    **{
        f"momentum_{n}": lambda b, t, n=n: (
            sum(log_returns(b, t, n)) / sum(abs(r) for r in log_returns(b, t, n))
        )
        for n in (10, 30, 90)
    },
    **{
        f"acceleration_{n}": lambda b, t, n=n: in_sigmas(
            log_return(b, t, n) - log_return(b, t - n, n), b, t, 2 * n
        )
        for n in (5, 20)
    },
    "up_share_20": lambda b, t: mean(math.copysign(1, r) for r in log_returns(b, t, 20)),
    **{
        f"volatility_{n}": lambda b, t, n=n: level(close_volatility(b, t, n)) for n in (10, 30, 120)
    },
    **{f"parkinson_{n}": lambda b, t, n=n: parkinson(b, t, n) for n in (10, 30, 120)},
    **{f"garman_klass_{n}": lambda b, t, n=n: garman_klass(b, t, n) for n in (10, 30, 120)},
    "volatility_5_60": lambda b, t: shift(close_volatility(b, t, 5), close_volatility(b, t, 60)),
    "volatility_60_240": lambda b, t: shift(
        close_volatility(b, t, 60), close_volatility(b, t, 240)
    ),
    "natr_14": lambda b, t: natr(b, t, 14),
    "true_range_14": lambda b, t: true_range_shift(b, t, 14),
    "rsi_7": lambda b, t: rsi(b, t, 7),
    "rsi_14": lambda b, t: rsi(b, t, 14),
    "macd_12_26": lambda b, t: macd(b, t, 12, 26),
    "macd_histogram_12_26_9": lambda b, t: macd_histogram(b, t, 12, 26, 9),
    "bollinger_20": lambda b, t: bollinger(b, t, 20),
    "bollinger_width_20": lambda b, t: bollinger_width(b, t, 20),
    **{f"stochastic_k_{n}": lambda b, t, n=n: stochastic_k(b, t, n) for n in (14, 60, 240)},
    "stochastic_d_14_3": lambda b, t: mean(stochastic_k(b, i, 14) for i in (t - 2, t - 1, t)),
    "cci_20": lambda b, t: cci(b, t, 20),
    "mfi_14": lambda b, t: mfi(b, t, 14),
    "dmi_14": lambda b, t: dmi(b, t, 14),
    "adx_14": lambda b, t: adx(b, t, 14),
    **{f"vwap_{n}": lambda b, t, n=n: vwap(b, t, n) for n in (20, 60, 240)},
    "volume_20": lambda b, t: shift(b.volume[t], mean(last(b.volume, t, 20))),
    "volume_5_60": lambda b, t: shift(mean(last(b.volume, t, 5)), mean(last(b.volume, t, 60))),
    "volume_20_240": lambda b, t: shift(mean(last(b.volume, t, 20)), mean(last(b.volume, t, 240))),
    **{f"flow_{n}": lambda b, t, n=n: flow(b, t, n) for n in (20, 60)},
    "body": lambda b, t: (b.close[t] - b.open[t]) / (b.high[t] - b.low[t]),
    "upper_wick": lambda b, t: (b.high[t] - max(b.open[t], b.close[t])) / (b.high[t] - b.low[t]),
    "lower_wick": lambda b, t: (min(b.open[t], b.close[t]) - b.low[t]) / (b.high[t] - b.low[t]),
    "gap": lambda b, t: in_sigmas(math.log(b.open[t] / b.close[t - 1]), b, t, 1),
    "high": lambda b, t: in_sigmas(math.log(b.high[t] / b.close[t - 1]), b, t, 1),
    "low": lambda b, t: in_sigmas(math.log(b.low[t] / b.close[t - 1]), b, t, 1),
    "day_sin": lambda b, t: math.sin(angle(b, t, 24, 0)),
    "day_cos": lambda b, t: math.cos(angle(b, t, 24, 0)),
    "week_sin": lambda b, t: math.sin(angle(b, t, 168, 96)),
    "week_cos": lambda b, t: math.cos(angle(b, t, 168, 96)),
}
SETS = ("v8", "gru", "v7", "aligned", "returns")


@pytest.fixture(scope="module")
def built():
    """Return the values (n,) of every column of every set, by name."""
    tables = [build(BARS, name) for name in SETS]
    return {
        name: table.values[:, number]
        for table in tables
        for number, name in enumerate(table.columns)
    }


def test_every_column_has_slow_code_beside_it():
    assert set(SLOW) == {c.name for name in SETS for c in feature_set(name).columns}


@pytest.mark.parametrize("name", SLOW)
def test_a_column_equals_its_textbook_formula(built, name):
    slow = [SLOW[name](BARS, t) for t in ROWS]
    tolerance = 1e-4 if name.startswith(RECURSIVE) else 2e-6
    np.testing.assert_allclose(built[name][list(ROWS)], slow, rtol=0, atol=tolerance)


def test_indicators_agree_with_those_of_talib_on_an_ordinary_market(built):
    b = BARS
    prices = (b.high, b.low, b.close)
    upper, middle, lower = talib.BBANDS(b.close, 20)
    expected = {
        "rsi_7": talib.RSI(b.close, 7) / 50 - 1,
        "rsi_14": talib.RSI(b.close, 14) / 50 - 1,
        "natr_14": np.log(talib.NATR(*prices, 14) / 100 / 0.001),
        "adx_14": talib.ADX(*prices, 14) / 100,
        "dmi_14": (talib.PLUS_DI(*prices, 14) - talib.MINUS_DI(*prices, 14)) / 100,
        "cci_20": talib.CCI(*prices, 20) / 100,
        "mfi_14": talib.MFI(*prices, b.volume, 14) / 50 - 1,
        "stochastic_k_14": talib.STOCHF(*prices, 14, 3)[0] / 50 - 1,
        "stochastic_d_14_3": talib.STOCHF(*prices, 14, 3)[1] / 50 - 1,
        "bollinger_20": (b.close - middle) / (upper - middle),
        "bollinger_width_20": np.log((upper - lower) / middle / 0.001),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(built[name][400:], values[400:], atol=1e-4, err_msg=name)
