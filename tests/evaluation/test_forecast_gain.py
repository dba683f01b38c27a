"""The test of Diebold and Mariano: against slow and foreign code, and against the truth."""

import math

import numpy as np
import pytest
from scipy.stats import kstest, t

from walkforge.evaluation._forecast_gain import diebold_mariano


def slow_statistic(saved, lag):
    """Return the statistic by the definitions, one autocovariance after the other."""
    n = len(saved)
    mean = sum(saved) / n

    def autocovariance(j):
        return sum((saved[i] - mean) * (saved[i - j] - mean) for i in range(j, n)) / n

    long_run = autocovariance(0) + 2 * sum(
        (1 - j / (lag + 1)) * autocovariance(j) for j in range(1, lag + 1)
    )
    h = lag + 1
    correction = math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    return correction * mean / math.sqrt(long_run / n)


def moving_sums(random, n, horizon):
    """Return a series of sums over `horizon` shocks, which overlap as forecasts do."""
    total = np.cumsum(np.append(0.0, random.normal(size=n + horizon - 1)))
    return total[horizon:] - total[:-horizon]


@pytest.mark.parametrize("overlap", [0, 3, 11])
def test_the_statistic_is_that_of_a_slow_loop(overlap):
    saved = moving_sums(np.random.default_rng(overlap), 150, overlap + 1) + 0.3
    found = diebold_mariano(saved, overlap_times=overlap, unit="bps")
    slow = slow_statistic(saved.tolist(), found["lag_times"])
    assert found["statistic"] == pytest.approx(slow)
    assert found["p_value"] == pytest.approx(t.sf(slow, 149))
    assert found["mean_difference"] == pytest.approx(saved.mean())
    assert (found["n"], found["unit"]) == (150, "bps")


@pytest.mark.parametrize("horizon", [1, 6, 24])
def test_p_is_about_uniform_where_both_are_equally_good(horizon):
    random = np.random.default_rng(horizon)
    p = [
        diebold_mariano(
            moving_sums(random, 1000, horizon), overlap_times=horizon - 1, unit="bps"
        )["p_value"]
        for _ in range(500)
    ]  # fmt: skip
    assert kstest(p, "uniform").pvalue > 0.01
    # 5 in 100 are meant; 41 of 500 would come out by chance once in 500 times.
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.08
    assert 0.02 <= np.mean(np.array(p) > 0.95) <= 0.08


def test_a_lag_of_the_horizon_alone_would_call_too_many_better():
    random, horizon = np.random.default_rng(1), 6
    alone, ours = [], []
    for _ in range(400):
        saved = moving_sums(random, 400, horizon)
        ours.append(diebold_mariano(saved, overlap_times=horizon - 1, unit="bps")["p_value"])
        alone.append(t.sf(slow_statistic(saved.tolist(), horizon - 1), 399))
    assert np.mean(np.array(ours) < 0.05) <= 0.075
    assert np.mean(np.array(alone) < 0.05) > np.mean(np.array(ours) < 0.05)


def test_a_truly_better_model_is_found_and_the_other_way_round_is_the_mirror():
    saved = moving_sums(np.random.default_rng(3), 2000, 6) + 0.5
    there = diebold_mariano(saved, overlap_times=5, unit="bps")
    back = diebold_mariano(-saved, overlap_times=5, unit="bps")
    assert there["p_value"] < 0.001
    assert 0 < there["low"] < there["mean_difference"] < there["high"]
    assert back["p_value"] == pytest.approx(1 - there["p_value"])
    assert back["low"] == pytest.approx(-there["high"])


def test_the_interval_leaves_zero_just_where_the_p_value_says_so():
    random = np.random.default_rng(8)
    for shift in np.linspace(-0.3, 0.3, 41):
        entry = diebold_mariano(random.normal(shift, 1, 200), overlap_times=2, unit="bps")
        assert (entry["low"] > 0) == (entry["p_value"] < 0.025)
        assert (entry["high"] < 0) == (entry["p_value"] > 0.975)


def test_too_few_times_and_no_difference_at_all_have_no_test_but_a_reason():
    few = diebold_mariano(np.arange(29.0), overlap_times=5, unit="bps")
    assert (few["p_value"], few["low"]) == (None, None)
    assert few["reason"] == "29 decision times, at least 30 needed"
    assert diebold_mariano(np.arange(30.0), overlap_times=5, unit="bps")["p_value"] is not None
    same = diebold_mariano(np.zeros(50), overlap_times=0, unit="bps")
    assert (same["mean_difference"], same["p_value"]) == (0.0, 1.0)
    assert same["reason"] == "no loss differs from the baseline's"
    always = diebold_mariano(np.ones(50), overlap_times=0, unit="bps")
    assert always["p_value"] is None
    assert "the same at every decision time" in always["reason"]
