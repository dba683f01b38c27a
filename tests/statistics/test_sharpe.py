"""Sharpe ratios and luck: the numbers of the papers, and worlds in which the truth is known."""

import math

import numpy as np
import pytest
from scipy.stats import kurtosis, norm, skew

from walkforge.base import EvaluationError
from walkforge.statistics import (
    ReturnMoments,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    moments_of,
    probabilistic_sharpe,
    sharpe_ratio,
    sharpe_variance,
)


def test_fewer_than_twenty_returns_or_no_variation_have_no_sharpe():
    assert math.isnan(sharpe_ratio(np.random.default_rng(0).normal(size=19)))
    assert not math.isnan(sharpe_ratio(np.random.default_rng(0).normal(size=20)))
    assert math.isnan(sharpe_ratio(np.full(100, 0.001)))
    assert math.isnan(sharpe_ratio(np.zeros(100)))
    assert math.isnan(sharpe_ratio(np.append(np.random.default_rng(0).normal(size=50), np.nan)))


def test_moments_are_those_of_scipy():
    returns = np.random.default_rng(0).gamma(2.0, size=300) - 1.8
    found = moments_of(returns)
    assert found.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1))
    assert found.skewness == pytest.approx(skew(returns))
    assert found.kurtosis == pytest.approx(kurtosis(returns, fisher=False))
    assert found.n_returns == 300


# Probabilistic Sharpe ratio and minimum track record length


@pytest.mark.parametrize(
    ("n_returns", "skewness", "kurtosis", "expected"),
    [(24, -2.448, 10.164, 0.913), (24, 0.0, 3.0, 0.982), (36, -2.448, 10.164, 0.953)],
)
def test_the_probabilistic_sharpe_is_that_of_the_papers_example(
    n_returns, skewness, kurtosis, expected
):
    # Bailey and Lopez de Prado 2012: two years of months with a Sharpe ratio of 0.458
    # a month; as they are, as if they were normal, and after a third year.
    moments = ReturnMoments(sharpe=0.458, n_returns=n_returns, skewness=skewness, kurtosis=kurtosis)
    assert probabilistic_sharpe(moments) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize(
    ("periods_a_year", "skewness", "kurtosis", "years"),
    [(250, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_the_track_record_is_as_long_as_in_the_papers_examples(
    periods_a_year, skewness, kurtosis, years
):
    # Bailey and Lopez de Prado 2012: an annual Sharpe ratio of 2 above 1 at 95 %, with
    # daily, weekly and monthly normal returns, and with the months of a typical hedge fund.
    root = math.sqrt(periods_a_year)
    moments = ReturnMoments(sharpe=2 / root, n_returns=1, skewness=skewness, kurtosis=kurtosis)
    found = minimum_track_record(moments, benchmark=1 / root)
    assert found / periods_a_year == pytest.approx(years, abs=5e-3)


def test_a_track_record_of_the_minimum_length_has_just_that_probability():
    short = ReturnMoments(sharpe=0.1, n_returns=60, skewness=-1.0, kurtosis=8.0)
    needed = minimum_track_record(short, benchmark=0.02, confidence=0.9)
    long = ReturnMoments(sharpe=0.1, n_returns=round(needed), skewness=-1.0, kurtosis=8.0)
    assert probabilistic_sharpe(short, benchmark=0.02) < 0.9
    assert probabilistic_sharpe(long, benchmark=0.02) == pytest.approx(0.9, abs=1e-3)


def test_no_track_record_is_long_enough_for_a_ratio_below_the_benchmark():
    assert minimum_track_record(ReturnMoments(sharpe=0.1, n_returns=99), benchmark=0.1) == math.inf
    assert math.isnan(minimum_track_record(moments_of(np.zeros(50))))
    with pytest.raises(EvaluationError, match=r"confidence is 95; expected from 0\.5"):
        minimum_track_record(ReturnMoments(sharpe=0.1, n_returns=99), confidence=95)


def test_the_probability_of_worthless_returns_is_uniform():
    random = np.random.default_rng(2)
    found = [probabilistic_sharpe(moments_of(random.standard_t(6, size=300))) for _ in range(1000)]
    for level in (0.05, 0.5, 0.95):
        # Three standard errors of a share of 1000.
        assert np.mean(np.array(found) < level) == pytest.approx(
            level, abs=3 * math.sqrt(level * (1 - level) / 1000)
        )


def test_moments_that_no_returns_have_give_no_probability():
    impossible = ReturnMoments(sharpe=1.0, n_returns=100, skewness=5.0, kurtosis=3.0)
    assert math.isnan(probabilistic_sharpe(impossible))


# What luck shows


@pytest.mark.parametrize(
    ("n_trials", "years", "expected"), [(10, 1, 1.57), (45, 5, 1.00), (7, 2, 0.98)]
)
def test_the_best_of_worthless_trials_shows_what_the_papers_say(n_trials, years, expected):
    # Bailey, Borwein, Lopez de Prado and Zhu 2014, Pseudo-Mathematics and Financial Charlatanism,
    # Notices of the AMS 61(5): 10 trials in a year show an annual 1.57; no more than 45 in five
    # years, or 7 in two (they round it), and the best shows 1.
    found = expected_maximum_sharpe(n_trials, trial_variance=1 / years)
    assert found == pytest.approx(expected, abs=6e-3)


def test_the_expected_maximum_is_that_of_normal_draws():
    random = np.random.default_rng(0)
    for n_trials in (5, 50):
        drawn = random.normal(0, 0.2, (40_000, n_trials)).max(axis=1).mean()
        assert expected_maximum_sharpe(n_trials, trial_variance=0.04) == pytest.approx(
            drawn, rel=0.03
        )
    assert expected_maximum_sharpe(1, trial_variance=0.04) == 0.0
    with pytest.raises(EvaluationError, match="n_trials is 0"):
        expected_maximum_sharpe(0, trial_variance=1.0)


# Deflated Sharpe


def _paper(skewness: float, kurtosis: float) -> ReturnMoments:
    """Five years of days, 250 a year, with an annual Sharpe ratio of 2.5."""
    return ReturnMoments(
        sharpe=2.5 / math.sqrt(250), n_returns=1250, skewness=skewness, kurtosis=kurtosis
    )


@pytest.mark.parametrize(
    ("skewness", "kurtosis", "n_trials", "expected"),
    [(-3.0, 10.0, 100, 0.9004), (-3.0, 10.0, 46, 0.9505), (0.0, 3.0, 88, 0.9505)],
)
def test_the_deflated_sharpe_is_that_of_the_papers_examples(skewness, kurtosis, n_trials, expected):
    # Bailey and Lopez de Prado 2014, the numerical example: trials with an annual variance of 1/2.
    found = deflated_sharpe(_paper(skewness, kurtosis), n_trials=n_trials, trial_variance=0.5 / 250)
    assert found == pytest.approx(expected, abs=5e-5)


def test_the_luck_of_a_hundred_trials_is_that_of_the_papers_example():
    assert expected_maximum_sharpe(100, trial_variance=0.5 / 250) == pytest.approx(0.1132, abs=5e-5)


def test_one_trial_is_the_probability_that_the_sharpe_is_above_zero():
    # Normal returns: Phi(0.1 x sqrt(100) / sqrt(1 + 0.1^2 / 2)) = Phi(0.99751) by hand.
    moments = ReturnMoments(sharpe=0.1, n_returns=101)
    found = deflated_sharpe(moments, n_trials=1, trial_variance=1.0)
    assert found == pytest.approx(norm.cdf(1 / math.sqrt(1.005)))
    assert found == probabilistic_sharpe(moments)


def test_more_trials_and_trials_that_differ_more_deflate_more():
    moments = moments_of(np.random.default_rng(1).normal(0.05, 1.0, 400))
    found = [deflated_sharpe(moments, n_trials=n) for n in (1, 2, 10, 1000)]
    assert found == sorted(found, reverse=True)
    assert found[0] - found[-1] > 0.2
    worthless = deflated_sharpe(moments, n_trials=10, trial_variance=1 / 399)
    assert worthless == found[2]
    assert deflated_sharpe(moments, n_trials=10, trial_variance=4 / 399) < worthless


def test_the_best_of_many_worthless_trials_is_not_taken_for_skill():
    random = np.random.default_rng(3)
    naive, deflated, measured = 0, 0, 0
    for _ in range(200):
        trials = [random.normal(0.0, 0.01, 250) for _ in range(20)]
        ratios = [sharpe_ratio(one) for one in trials]
        best = moments_of(trials[int(np.argmax(ratios))])
        variance = sharpe_variance(ratios)
        naive += probabilistic_sharpe(best) > 0.95
        deflated += deflated_sharpe(best, n_trials=20) > 0.95
        measured += deflated_sharpe(best, n_trials=20, trial_variance=variance) > 0.95
    assert naive > 100
    assert deflated <= 10
    assert measured <= 10


def test_the_variance_of_trials_leaves_out_those_without_a_ratio():
    assert sharpe_variance([0.1, None, 0.3, math.nan]) == pytest.approx(0.02)
    assert sharpe_variance([0.1, None]) is None
    assert sharpe_variance([]) is None


def test_returns_without_a_sharpe_have_no_deflated_one():
    assert math.isnan(deflated_sharpe(moments_of(np.zeros(50)), n_trials=1))
    assert math.isnan(deflated_sharpe(moments_of(np.zeros(0)), n_trials=5))
