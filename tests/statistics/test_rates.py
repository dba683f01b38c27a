"""Rates with their interval, and p-values that should be uniform."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from walkforge.base import EvaluationError
from walkforge.statistics import binomial_interval, uniformity


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0.0, 0.1684),
     (1, 29, 0.0009, 0.1776)],
)  # fmt: skip
def test_the_interval_is_that_of_the_published_table(hits, n, low, high):
    # Newcombe 1998, Two-Sided Confidence Intervals for the Single Proportion, table I, method 5.
    found = binomial_interval(hits, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert (found.value, found.n, found.unit) == (hits / n, n, "fraction")


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (3, 300), (100, 100), (7, 40)])
def test_the_interval_is_that_of_scipy(hits, n):
    theirs = binomtest(hits, n).proportion_ci(method="exact")
    found = binomial_interval(hits, n)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_the_interval_never_holds_the_truth_less_than_95_times_in_100():
    n = 30
    ends = [binomial_interval(hits, n) for hits in range(n + 1)]
    for truth in np.linspace(0.001, 0.999, 97):
        holds = [one.low <= truth <= one.high for one in ends]
        assert binom.pmf(np.arange(n + 1), n, truth) @ holds >= 0.95 - 1e-12


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_rates_that_cannot_be_are_refused(hits, n):
    with pytest.raises(EvaluationError, match=f"{hits} hits in {n} tries"):
        binomial_interval(hits, n)


def test_the_distance_of_five_values_by_hand():
    # At 0.5 four of five values are passed where half are expected: 0.8 - 0.5.
    found = uniformity([0.1, 0.2, 0.3, 0.5, 0.9])
    assert found.statistic == pytest.approx(0.3)
    assert found.n == 5
    # Exact table of Kolmogorov's D for n = 5: 0.563 at 5 %, 0.509 at 10 %.
    assert uniformity([0.0, 0.1, 0.2, 0.3, 0.437]).p_value == pytest.approx(0.05, abs=1e-3)
    assert uniformity([0.0, 0.1, 0.2, 0.3, 0.4906]).p_value == pytest.approx(0.10, abs=1e-3)


def test_uniform_values_pass_and_others_do_not():
    random = np.random.default_rng(0)
    p = [uniformity(random.random(100)).p_value for _ in range(400)]
    # 20 of 400 are meant; 35 would come by chance once in a thousand times.
    assert 8 <= np.sum(np.array(p) < 0.05) <= 34
    assert uniformity(random.random(300) ** 2).p_value < 1e-6
    assert uniformity(np.full(300, 0.5)).p_value < 1e-6


def test_values_that_are_no_probabilities_are_refused():
    for bad in ([], [0.5, 1.2], [0.5, np.nan], [-0.1]):
        with pytest.raises(EvaluationError, match="expected at least one, and all from 0 to 1"):
            uniformity(bad)
