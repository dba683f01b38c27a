"""Windows against slow, obvious code, and what they promise beyond it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforge.features import _rolling as rolling

RANDOM = np.random.default_rng(4)
VALUES = RANDOM.normal(100.0, 5.0, 300)


@pytest.mark.parametrize("bars", [1, 2, 3, 5, 8, 14, 20, 63, 64, 65, 240, 300])
def test_sums_and_moments_equal_those_of_each_window(bars):
    windows = np.lib.stride_tricks.sliding_window_view(VALUES, bars)
    mean, deviation = rolling.rolling_moments(VALUES, bars)
    full = slice(bars - 1, None)
    np.testing.assert_allclose(rolling.rolling_sum(VALUES, bars)[full], windows.sum(axis=1))
    np.testing.assert_allclose(rolling.rolling_mean(VALUES, bars)[full], windows.mean(axis=1))
    np.testing.assert_allclose(mean[full], windows.mean(axis=1))
    np.testing.assert_allclose(deviation[full], windows.std(axis=1), atol=1e-12)
    for warm_up in (rolling.rolling_sum(VALUES, bars), mean, deviation):
        assert np.isnan(warm_up[: bars - 1]).all()


@pytest.mark.parametrize("bars", [301, 512, 10_000])
def test_a_window_longer_than_the_series_is_never_full(bars):
    assert np.isnan(rolling.rolling_sum(VALUES, bars)).all()
    assert np.isnan(rolling.rolling_moments(VALUES, bars)[1]).all()
    assert np.isnan(rolling.lag(VALUES, bars)).all()
    assert np.isnan(rolling.ema(VALUES, bars)).all()


@settings(max_examples=40, deadline=None)
@given(bars=st.integers(1, 100), start=st.integers(0, 200))
def test_a_window_has_the_same_bits_wherever_the_series_began(bars, start):
    later = VALUES[start:]
    for function in (rolling.rolling_sum, lambda x, n: rolling.rolling_moments(x, n)[1]):
        whole, part = function(VALUES, bars), function(later, bars)
        np.testing.assert_array_equal(part[bars - 1 :], whole[start + bars - 1 :])


def test_after_a_storm_equal_values_have_exactly_that_mean_and_no_deviation():
    for price in RANDOM.lognormal(0.0, 5.0, 300):
        values = np.concatenate([RANDOM.lognormal(0.0, 9.0, 50), np.full(60, price)])
        mean, deviation = rolling.rolling_moments(values, 20)
        assert (mean[-41:] == price).all()
        assert (deviation[-41:] == 0.0).all()


def test_after_a_storm_zeros_sum_to_exactly_zero():
    values = np.concatenate([RANDOM.lognormal(0.0, 9.0, 500), np.zeros(60)])
    assert (rolling.rolling_sum(values, 20)[-41:] == 0.0).all()


def test_a_long_series_does_not_drift():
    values = RANDOM.lognormal(0.0, 3.0, 200_000)
    exact = np.array([np.sum(values[end - 60 : end]) for end in range(199_000, 200_001)])
    np.testing.assert_allclose(rolling.rolling_sum(values, 60)[-1001:], exact, rtol=1e-14)


@pytest.mark.parametrize("period", [2, 9, 12, 26, 27])
def test_an_exponential_mean_weighs_its_window_and_nothing_else(period):
    n_bars = rolling.ema_bars(period)
    weights = (1 - 2 / (period + 1)) ** np.arange(n_bars)
    expected = [
        np.average(VALUES[end - n_bars : end][::-1], weights=weights) for end in (n_bars, 250, 300)
    ]
    found = rolling.ema(VALUES, period)
    assert np.isnan(found[: n_bars - 1]).all()
    np.testing.assert_allclose(found[[n_bars - 1, 249, 299]], expected, rtol=1e-13)


def test_an_exponential_mean_forgets_a_storm_completely():
    calm = RANDOM.normal(0.0, 1e-3, 400)
    storm = RANDOM.normal(0.0, 1e6, 100)
    found = rolling.wilder(np.concatenate([storm, calm]), 14)
    np.testing.assert_allclose(found[-100:], rolling.wilder(calm, 14)[-100:], rtol=0, atol=1e-11)


def test_what_is_forgotten_is_one_part_in_a_hundred_thousand():
    for period in (9, 12, 26, 27):
        decay = 1 - 2 / (period + 1)
        assert decay ** rolling.ema_bars(period) <= 1e-5 < decay ** (rolling.ema_bars(period) - 1)


def test_a_mean_of_nothing_yet_starts_later():
    late = np.concatenate([[np.nan] * 3, VALUES])
    np.testing.assert_array_equal(rolling.ema(late, 9)[3:], rolling.ema(VALUES, 9))


def test_a_ratio_with_nothing_below_is_zero_and_not_known_stays_not_known():
    above = np.array([1.0, -1.0, 0.0, np.nan, 1.0, 1.0, 1.0])
    below = np.array([2.0, 0.0, 0.0, 0.0, np.nan, -1.0, 1e-3])
    found = rolling.ratio(above, below, nothing=1e-2)
    np.testing.assert_array_equal(found, [0.5, 0.0, 0.0, np.nan, np.nan, 0.0, 0.0])


def test_a_balance_lies_between_minus_one_and_one():
    left, right = np.array([1.0, 0.0, 3.0, 0.0]), np.array([0.0, 2.0, 1.0, 0.0])
    np.testing.assert_array_equal(rolling.balance(left, right), [1.0, -1.0, 0.5, 0.0])
