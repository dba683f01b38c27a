"""The test of Diebold and Mariano: against foreign code, and against the block bootstrap."""

import math

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from walkforge.base import EvaluationError
from walkforge.evaluation import paired_mean
from walkforge.statistics import bartlett_lag, diebold_mariano
from walkforge.statistics._diebold_mariano import standard_error


def moving_sums(random, n, horizon):
    """Return a series of sums over `horizon` shocks, which overlap as forecasts do."""
    total = np.cumsum(np.append(0.0, random.normal(size=n + horizon - 1)))
    return total[horizon:] - total[:-horizon]


def test_one_step_ahead_without_lags_it_is_students_test():
    # Harvey, Leybourne and Newbold's factor for h = 1 turns n into n - 1: the t-test of a mean.
    difference = np.random.default_rng(0).normal(0.2, 1.0, 60)
    ours = difference.mean() / standard_error(difference, 0)
    assert ours == pytest.approx(ttest_1samp(difference, 0.0).statistic)


def test_the_variance_is_that_of_a_regression_on_a_constant_in_statsmodels():
    api = pytest.importorskip("statsmodels.api", reason="statsmodels comes with arch")
    difference = moving_sums(np.random.default_rng(5), 400, 6) + 0.2
    found = diebold_mariano(difference, overlap_times=5)
    lag, n = found.lag_times, found.n
    kernel = {"maxlags": lag, "use_correction": False}
    fit = api.OLS(difference, np.ones(n)).fit(cov_type="HAC", cov_kwds=kernel)
    shrink = math.sqrt((n - 1 - 2 * lag + lag * (lag + 1) / n) / n)
    assert found.statistic == pytest.approx(shrink * float(fit.tvalues[0]))
    assert found.p_value == pytest.approx(t.sf(found.statistic, n - 1))
    assert found.p_two_sided == pytest.approx(2 * min(found.p_value, 1 - found.p_value))


def test_the_interval_is_that_of_the_same_statistic():
    found = diebold_mariano(moving_sums(np.random.default_rng(1), 300, 3), overlap_times=2)
    half = found.mean_difference / found.statistic * t.ppf(0.975, 299)
    assert found.low == pytest.approx(found.mean_difference - half)
    assert found.high == pytest.approx(found.mean_difference + half)


def test_the_lag_is_three_overlaps_or_the_root_rule_and_never_below_the_horizon():
    assert bartlett_lag(10_000, 11) == 130
    assert bartlett_lag(400, 23) == 69
    assert bartlett_lag(100, 0) == 13
    for n in (60, 500, 5000):
        for overlap in range(n // 5):
            assert overlap <= bartlett_lag(n, overlap) < n


@pytest.mark.parametrize("horizon", [1, 12])
def test_the_block_bootstrap_agrees_on_large_samples(horizon):
    random = np.random.default_rng(horizon)
    hour_ms = 3_600_000
    for place in range(8):
        noise = moving_sums(random, 6000, horizon)
        error = standard_error(noise, bartlett_lag(6000, horizon - 1))
        difference = noise - noise.mean() + (place / 2) * error
        analytic = diebold_mariano(difference, overlap_times=horizon - 1)
        drawn = paired_mean(np.arange(6000) * hour_ms, difference, unit="nats")
        assert drawn["p_value"] == pytest.approx(analytic.p_two_sided, abs=0.06)
        width = drawn["high"] - drawn["low"]
        assert width == pytest.approx(analytic.high - analytic.low, rel=0.15)


def test_equally_good_forecasts_are_told_apart_in_five_of_a_hundred_worlds():
    random = np.random.default_rng(2)
    p = [
        diebold_mariano(moving_sums(random, 400, 6), overlap_times=5).p_two_sided
        for _ in range(500)
    ]
    # 25 of 500 are meant; 42 come by chance once in a thousand times.
    assert 10 <= np.sum(np.array(p) < 0.05) <= 41


def test_a_difference_that_is_the_same_at_every_time_has_no_test():
    for constant in (0.0, 1.0):
        found = diebold_mariano(np.full(50, constant), overlap_times=0)
        assert found.mean_difference == constant
        assert math.isnan(found.statistic)
        assert math.isnan(found.p_value)
        assert math.isnan(found.low)


def test_fewer_times_than_the_lags_need_are_refused():
    with pytest.raises(EvaluationError, match=r"16 loss differences .* expected at least 17"):
        diebold_mariano(np.arange(16.0), overlap_times=5)
    assert math.isfinite(diebold_mariano(np.arange(17.0) % 5, overlap_times=5).p_value)
    with pytest.raises(EvaluationError, match="0 loss differences"):
        diebold_mariano(np.zeros(0), overlap_times=0)
