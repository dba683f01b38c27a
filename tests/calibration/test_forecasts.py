"""Quantiles to classes, and quantiles made as wide as they must be."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from walkforge.base import CalibrationError
from walkforge.calibration import Spread, class_scores, fit_spread, no_spread

LEVELS = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
GAUSSIAN = norm.ppf(LEVELS)[None]


def _classes(quantiles, *limits):
    return np.exp(class_scores(quantiles, LEVELS, np.atleast_2d(np.array(limits, float))))


@pytest.mark.parametrize("limit", [-3.0, -1.0, -0.3, 0.0, 0.2, 0.9, 1.7, 2.5])
def test_gaussian_quantiles_give_gaussian_classes(limit):
    (p,) = _classes(GAUSSIAN, limit)
    # Straight lines between the quantiles and tails that are a little fatter than the normal ones.
    assert p[0] == pytest.approx(norm.cdf(limit), abs=0.012)
    assert p.sum() == pytest.approx(1.0)


def test_three_classes_lie_between_two_limits():
    (p,) = _classes(GAUSSIAN, -0.5, 1.0)
    expected = np.diff([0.0, norm.cdf(-0.5), norm.cdf(1.0), 1.0])
    np.testing.assert_allclose(p, expected, atol=0.012)


def test_a_limit_on_a_quantile_has_that_quantiles_share_below():
    quantiles = np.arange(11.0)[None]
    for place, level in enumerate(LEVELS):
        assert _classes(quantiles, float(place))[0, 0] == pytest.approx(level, abs=1e-6)


rising = st.lists(st.floats(0, 3), min_size=11, max_size=11).map(lambda gaps: np.cumsum(gaps) - 9)


@settings(max_examples=60, deadline=None)
@given(quantiles=rising, limits=st.lists(st.floats(-30, 30), min_size=2, max_size=6).map(sorted))
def test_more_lies_below_a_higher_limit_and_every_class_is_possible(quantiles, limits):
    p = _classes(quantiles[None], *limits)
    assert np.isfinite(np.log(p)).all()
    assert (p > 0).all()
    below = [_classes(quantiles[None], limit)[0, 0] for limit in limits]
    assert (np.diff(below) >= -1e-9).all()


def test_every_row_has_its_own_limits():
    both = class_scores(np.repeat(GAUSSIAN, 2, axis=0), LEVELS, np.array([[0.0], [2.0]]))
    assert both[0, 0] == pytest.approx(np.log(0.5), abs=1e-6)
    assert both[1, 0] > np.log(0.95)


def test_one_quantile_tells_no_classes():
    with pytest.raises(CalibrationError, match="at least 2"):
        class_scores(np.zeros((3, 1)), np.array([0.5]), np.zeros((3, 2)))


def _drawn(n=4000, wide=1.0, seed=0):
    """Return quantiles (n, 2, 11) that are `wide` times too far apart, and the truth."""
    random = np.random.default_rng(seed)
    middle = random.normal(size=(n, 2, 1))
    scale = np.array([1.0, 2.0])[:, None]
    truth = middle[..., 0] + random.normal(size=(n, 2)) * scale[:, 0]
    return middle + wide * scale * GAUSSIAN[0], truth


@pytest.mark.parametrize("wide", [0.4, 1.0, 2.5])
def test_the_spread_undoes_what_is_too_wide_or_too_narrow(wide):
    quantiles, truth = _drawn(wide=wide)
    spread = fit_spread(quantiles, LEVELS, truth)
    np.testing.assert_allclose(spread.factors_, 1 / wide, rtol=0.06)
    later, truth = _drawn(wide=wide, seed=1)
    right = spread.apply(later, LEVELS)
    inside = (right[..., 0] <= truth) & (truth <= right[..., -1])
    np.testing.assert_allclose(inside.mean(axis=0), 0.9, atol=0.02)


def test_the_order_of_quantiles_and_the_median_stay():
    quantiles, truth = _drawn(wide=3.0)
    right = fit_spread(quantiles, LEVELS, truth).apply(quantiles, LEVELS)
    assert (np.diff(right, axis=-1) > 0).all()
    np.testing.assert_allclose(right[..., 5], quantiles[..., 5], atol=1e-12)


def test_one_row_comes_out_the_same_alone_and_among_others():
    quantiles, truth = _drawn(n=50)
    spread = fit_spread(quantiles, LEVELS, truth)
    alone = spread.apply(quantiles[7:8], LEVELS)
    assert np.array_equal(spread.apply(quantiles, LEVELS)[7:8], alone)


def test_a_spread_goes_through_json_unchanged():
    spread = fit_spread(*(_drawn(n=50)[0], LEVELS, _drawn(n=50)[1]))
    again = Spread.from_dict(json.loads(json.dumps(spread.as_dict())))
    assert np.array_equal(again.factors_, spread.factors_)
    assert np.array_equal(no_spread(2).apply(_drawn(n=5)[0], LEVELS), _drawn(n=5)[0])


@pytest.mark.parametrize("plain", [{}, {"factors": [1.0, -1.0]}, {"factors": "wide"}])
def test_a_damaged_spread_is_refused(plain):
    with pytest.raises(CalibrationError, match="spread"):
        Spread.from_dict(plain)


def test_nothing_is_learned_from_nothing_or_from_nan():
    quantiles, truth = _drawn(n=20)
    with pytest.raises(CalibrationError, match="no rows"):
        fit_spread(quantiles[:0], LEVELS, truth[:0])
    quantiles[3, 1, 2] = np.nan
    with pytest.raises(CalibrationError, match="diverged"):
        fit_spread(quantiles, LEVELS, truth)
