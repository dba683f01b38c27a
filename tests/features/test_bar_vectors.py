"""Bars as vectors: the formulas, backwards only, within segments, scale-free, and back to bars."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import bars_from, random_bars
from features.markets import frozen, noise_after, replaced, scaled, troubled_markets
from walkforge.features import VECTOR, TokenizerRule, bar_vectors
from walkforge.features._bar_vectors import bar_prices

RULE = TokenizerRule(volatility_bars=30, volume_bars=20)
BARS = random_bars(900, seed=3, holes_at=(400, 420))
VECTORS = bar_vectors(BARS, RULE)


def slow_vector(bars, row):
    """Return sigma and the five numbers of one bar, straight from their formulas."""
    past = [float(c) for c in bars.close[row - 31 : row]]
    returns = [math.log(late / early) for early, late in itertools.pairwise(past)]
    mean = sum(returns) / 30
    sigma = math.sqrt(sum((one - mean) ** 2 for one in returns) / 29)
    open_, close = bars.open[row], bars.close[row]
    return sigma, [
        math.log(close / bars.close[row - 1]) / sigma,
        math.log(close / open_) / sigma,
        math.log(bars.high[row] / max(open_, close)) / sigma,
        math.log(min(open_, close) / bars.low[row]) / sigma,
        math.log(bars.volume[row] / (sum(bars.volume[row - 20 : row]) / 20)),
    ]


def same(found, expected):
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.sigma, expected.sigma)
    np.testing.assert_array_equal(found.valid, expected.valid)


def test_every_valid_row_is_what_slow_arithmetic_gives():
    for row in np.flatnonzero(VECTORS.valid):
        sigma, vector = slow_vector(BARS, int(row))
        assert VECTORS.sigma[row] == pytest.approx(sigma, rel=1e-9)
        np.testing.assert_allclose(VECTORS.values[row], vector, rtol=1e-5, atol=1e-6)


def test_the_first_bars_of_every_segment_have_no_token():
    expected = np.ones(900, dtype=bool)
    expected[0:31] = False  # 30 returns before the bar need 31 closes
    expected[400:420] = False  # a segment shorter than that
    expected[420:451] = False
    np.testing.assert_array_equal(VECTORS.valid, expected)
    assert (VECTORS.values[~expected] == 0).all()


def test_the_longer_of_the_two_pasts_decides_where_tokens_begin():
    long_volume = bar_vectors(BARS, TokenizerRule(volatility_bars=30, volume_bars=50))
    assert np.flatnonzero(long_volume.valid)[0] == 50


def test_vectors_are_float32_in_the_order_of_their_names():
    assert VECTOR == ("move", "body", "upper", "lower", "volume")
    assert VECTORS.values.shape == (900, 5)
    assert VECTORS.values.dtype == np.float32


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(1, 900))
def test_cutting_off_the_future_leaves_every_bit_of_the_past(cut):
    same(bar_vectors(BARS.take(slice(0, cut)), RULE), VECTORS.take(slice(0, cut)))


@pytest.mark.parametrize("row", [40, 399, 400, 500, 898])
def test_noise_in_place_of_the_future_changes_no_bit_of_the_past(row):
    poisoned = bar_vectors(noise_after(BARS, row), RULE)
    same(poisoned.take(slice(0, row + 1)), VECTORS.take(slice(0, row + 1)))


def test_a_segment_knows_nothing_of_the_one_before():
    alone = bar_vectors(BARS.take(slice(420, 900)), RULE)
    same(alone, VECTORS.take(slice(420, 900)))


@pytest.mark.parametrize(("prices", "volumes"), [(1000.0, 1.0), (1e-6, 7.0), (1.0, 1e9)])
def test_other_units_of_price_and_volume_give_the_same_vectors(prices, volumes):
    found = bar_vectors(scaled(BARS, prices=prices, volumes=volumes), RULE)
    np.testing.assert_array_equal(found.valid, VECTORS.valid)
    np.testing.assert_allclose(found.values, VECTORS.values, rtol=1e-6, atol=1e-6)


def test_a_bar_after_a_market_that_stood_still_has_no_token():
    market = frozen(random_bars(300, seed=1), slice(100, 200))
    valid = bar_vectors(market, RULE).valid
    # The last return before the stillness is bar 100's own; 30 bars later no sigma is left.
    assert valid[31:131].all()
    assert not valid[131:201].any()
    assert valid[201:].all()


@pytest.mark.parametrize("name", troubled_markets())
def test_vectors_of_a_troubled_market_are_finite_and_wicks_at_least_zero(name):
    vectors = bar_vectors(troubled_markets()[name], RULE)
    assert vectors.valid.any() == (not name.startswith("still throughout"))
    assert np.isfinite(vectors.values).all()
    assert (vectors.values[:, 2:4] >= 0).all()
    assert (vectors.sigma[vectors.valid] >= 1e-10).all()


def test_a_market_without_volume_has_tokens_and_volume_zero():
    vectors = bar_vectors(scaled(BARS, volumes=0.0), RULE)
    np.testing.assert_array_equal(vectors.valid, VECTORS.valid)
    assert (vectors.values[:, 4] == 0).all()
    np.testing.assert_array_equal(vectors.values[:, :4], VECTORS.values[:, :4])


def test_a_first_volume_and_a_missing_one_stand_at_the_limits():
    volume = BARS.volume.copy()
    volume[40:60], volume[60], volume[100] = 0.0, 3.0, 0.0
    found = bar_vectors(replaced(BARS, volume=volume), RULE).values[:, 4]
    assert found[60] == pytest.approx(math.log(100))
    assert found[100] == pytest.approx(-math.log(100))


def test_a_bar_whose_high_lies_below_its_close_has_no_negative_wick():
    drawing = "\n".join(f"100 101 99 {100 + n % 3}" for n in range(40)) + "\n100 99.5 101 100.5"
    vectors = bar_vectors(bars_from(drawing), RULE)
    assert vectors.valid[-1]
    np.testing.assert_array_equal(vectors.values[-1, 2:4], 0)


def test_vectors_and_the_close_before_give_the_bars_back():
    rows = np.flatnonzero(VECTORS.valid)
    found = bar_prices(VECTORS.values[rows], BARS.close[rows - 1], VECTORS.sigma[rows])
    real = np.stack([BARS.open, BARS.high, BARS.low, BARS.close], axis=1)[rows]
    np.testing.assert_allclose(found, real, rtol=1e-7)
