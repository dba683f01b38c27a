"""The tick that prices show is the one in force where they end: venues change theirs."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import START_MS
from walkforge.base import parse_utc_ms, timeframe_ms
from walkforge.market import Bars, instrument_of, read_folder

# From and before which dates Binance's spot bars lie on which tick, seen in the bars themselves.
REGIMES = {
    "SOLUSDT": (("2021-06", 0.001), ("2021-12", 0.01), ("2025-06", 0.01)),
    "DOGEUSDT": (("2021-07", 1e-5), ("2021-12", 1e-4), ("2023-01", 1e-5)),
    "XRPUSDT": (("2021-03", 1e-5), ("2021-08", 1e-4), ("2025-03", 1e-4)),
    "FETUSDT": (("2021-06", 1e-5), ("2023-01", 1e-4), ("2024-07", 0.001)),
    "LINKUSDT": (("2021-07", 0.001), ("2021-12", 0.01), ("2023-01", 0.001), ("2024-09", 0.01)),
    "AXSUSDT": (("2021-07", 1e-4), ("2021-12", 0.01), ("2023-03", 0.01)),
}


def tick_of(bars: Bars) -> float:
    instrument = instrument_of("anywhere", "UNKNOWN", bars)
    assert instrument.source == "inferred from prices"
    return instrument.tick_size


@pytest.fixture(scope="module")
def coins(shared_data):
    return read_folder(shared_data / "bars/binance", timeframe="1h", symbols=list(REGIMES))


@pytest.mark.parametrize(
    ("symbol", "month", "tick"),
    [(symbol, *one) for symbol, regimes in REGIMES.items() for one in regimes],
)
def test_a_coins_tick_is_that_of_the_time_at_which_its_bars_end(coins, symbol, month, tick):
    assert tick_of(coins[symbol].between(None, parse_utc_ms(f"{month}-28"))) == tick


def test_what_a_coin_cost_before_it_rose_has_no_say_in_todays_tick(coins):
    bars = coins["FETUSDT"]
    before, after = bars.take(slice(0, 1_000)), bars.take(slice(-1_000, None))
    assert (tick_of(before), tick_of(after), tick_of(bars)) == (1e-5, 0.001, 0.001)
    # Most of its bars lie far below: the tick of their median was 25 times as fine.
    assert np.median(bars.close) < 0.4 < 1.2 < np.median(after.close)


def drawn(prices, timeframe="1h"):
    prices = np.asarray(prices, dtype=float)
    return Bars(
        venue="drawn",
        symbol="UNKNOWN",
        timeframe=timeframe,
        timestamp=START_MS + np.arange(len(prices)) * timeframe_ms(timeframe),
        open=prices,
        high=prices,
        low=prices,
        close=prices,
        volume=np.ones(len(prices)),
        calendar="24/7",
    )


def on_grid(n, tick, *, price=50.0, seed=1):
    return np.round((price + np.random.default_rng(seed).normal(0, 1, n)) / tick) * tick


@pytest.mark.parametrize("timeframe", ["1m", "1h", "1d", "1w"])
def test_a_tick_that_a_venue_made_coarser_or_finer_counts_after_a_month_or_100_moves(timeframe):
    n = max(100, 30 * 86_400_000 // timeframe_ms(timeframe))
    fine, coarse = on_grid(3 * n, 0.001), on_grid(n, 0.1)
    assert tick_of(drawn([*fine, *coarse], timeframe)) == 0.1
    assert tick_of(drawn([*fine, *coarse[n // 2 :]], timeframe)) == 0.001
    assert tick_of(drawn([*coarse, *fine], timeframe)) == 0.001


def test_a_market_that_stood_still_for_months_shows_the_tick_of_its_last_moves():
    still = np.full(24 * 90, 50.0)
    assert tick_of(drawn([*on_grid(500, 0.001), *still])) == 0.001
    assert tick_of(drawn(still)) == 1.0  # nothing else was ever seen


@given(cut=st.integers(1, 2_000), price=st.floats(1e-6, 1e6))
@settings(max_examples=30, deadline=None)
def test_no_later_bar_has_a_say_in_a_tick(cut, price):
    bars = drawn(on_grid(2_000, 0.001))
    later = np.where(np.arange(len(bars)) < cut, bars.close, price)
    other = dataclasses.replace(bars, **dict.fromkeys(("open", "high", "low", "close"), later))
    assert tick_of(bars.take(slice(0, cut))) == tick_of(other.take(slice(0, cut)))


@pytest.mark.parametrize(("price", "tick"), [(5e-324, 1e-308), (1e-13, 1e-17)])
def test_prices_of_all_but_nothing_have_a_tick(price, tick):
    assert tick_of(drawn([price] * 3)) == tick
