"""The probability of backtest overfitting: against a plain loop, and where the truth is known."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import linregress, rankdata

from walkforge.base import EvaluationError
from walkforge.statistics import probability_of_backtest_overfitting


def slow(returns: np.ndarray, n_blocks: int):
    """Return logits and both ratios by the paper's steps, one split after the other."""
    blocks = np.array_split(np.arange(len(returns)), n_blocks)
    logits, inside, outside = [], [], []
    for picked in itertools.combinations(range(n_blocks), n_blocks // 2):
        rows = np.concatenate([blocks[i] for i in picked])
        others = np.setdiff1d(np.arange(len(returns)), rows)
        halves = [returns[rows], returns[others]]
        seen, then = (half.mean(axis=0) / half.std(axis=0, ddof=1) for half in halves)
        best = int(np.argmax(seen))
        relative = rankdata(then)[best] / (returns.shape[1] + 1)
        logits.append(math.log(relative / (1 - relative)))
        inside.append(seen[best])
        outside.append(then[best])
    return np.array(logits), np.array(inside), np.array(outside)


@pytest.mark.parametrize(("n_times", "n_trials", "n_blocks"), [(80, 7, 8), (67, 4, 6), (40, 2, 4)])
def test_every_split_is_that_of_a_plain_loop(n_times, n_trials, n_blocks):
    returns = np.random.default_rng(n_times).normal(5.0, 1.0, (n_times, n_trials))
    found = probability_of_backtest_overfitting(returns, n_blocks=n_blocks)
    logits, inside, outside = slow(returns, n_blocks)
    np.testing.assert_allclose(found.logits, logits, atol=1e-12)
    np.testing.assert_allclose(found.in_sample, inside, rtol=1e-10)
    np.testing.assert_allclose(found.out_of_sample, outside, rtol=1e-10)
    assert found.pbo == pytest.approx((logits <= 1e-12).mean())
    assert found.degradation_slope == pytest.approx(linregress(inside, outside).slope)
    assert found.probability_of_loss == (outside < 0).mean()
    assert (found.n_trials, found.n_blocks) == (n_trials, n_blocks)
    assert len(found.chosen) == math.comb(n_blocks, n_blocks // 2)


def test_splits_that_go_in_parts_are_the_same(monkeypatch):
    returns = np.random.default_rng(0).normal(size=(90, 5))
    whole = probability_of_backtest_overfitting(returns, n_blocks=8)
    monkeypatch.setattr("walkforge.statistics._overfitting._MOST_AT_ONCE", 100)
    parts = probability_of_backtest_overfitting(returns, n_blocks=8)
    np.testing.assert_array_equal(whole.logits, parts.logits)
    np.testing.assert_array_equal(whole.chosen, parts.chosen)


def test_sixteen_blocks_make_12870_splits():
    returns = np.random.default_rng(0).normal(size=(200, 3))
    assert len(probability_of_backtest_overfitting(returns).logits) == 12_870


def test_pure_noise_is_overfitted_every_other_time():
    random = np.random.default_rng(1)
    found = [
        probability_of_backtest_overfitting(random.normal(0, 0.01, (256, 10)), n_blocks=8)
        for _ in range(400)
    ]
    pbo = [one.pbo for one in found]
    # One draw has a standard deviation of about 0.24: three standard errors of 400 are 0.036.
    assert np.mean(pbo) == pytest.approx(0.5, abs=0.036)
    assert np.mean([one.probability_of_loss for one in found]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([one.degradation_slope for one in found]) < 0


def test_one_truly_better_trial_is_hardly_overfitted():
    random = np.random.default_rng(2)
    for _ in range(10):
        returns = random.normal(0, 0.01, (512, 20))
        returns[:, 7] += 0.003
        found = probability_of_backtest_overfitting(returns, n_blocks=8)
        assert found.pbo < 0.05
        assert found.probability_of_loss < 0.05
        assert (found.chosen == 7).mean() > 0.9


def test_trials_that_win_by_turns_are_always_overfitted():
    # The first trial earns in the first half of the time what it loses in the second, the other
    # the other way round: whatever was best turns out worst.
    wave = np.where(np.arange(80) < 40, 1.0, -1.0)
    noise = np.random.default_rng(3).normal(0, 0.1, (80, 2))
    returns = np.column_stack([wave, -wave]) + noise
    found = probability_of_backtest_overfitting(returns, n_blocks=2)
    assert found.pbo == 1.0
    assert found.probability_of_loss == 1.0


def test_equal_trials_share_the_middle_rank_and_idle_ones_have_a_ratio_of_zero():
    same = np.tile(np.random.default_rng(4).normal(size=(60, 1)), (1, 5))
    found = probability_of_backtest_overfitting(same, n_blocks=6)
    np.testing.assert_array_equal(found.logits, 0.0)
    idle = probability_of_backtest_overfitting(np.zeros((60, 3)), n_blocks=6)
    np.testing.assert_array_equal(idle.out_of_sample, 0.0)
    assert math.isnan(idle.degradation_slope)
    assert idle.probability_of_loss == 0.0


@pytest.mark.parametrize(
    ("returns", "n_blocks", "words"),
    [
        (np.zeros((100, 1)), 16, r"returns \(100, 1\); expected \(times, trials\) with at least 2"),
        (np.zeros(100), 16, r"returns \(100,\)"),
        (np.zeros((100, 3)), 7, "7 blocks of 100 rows; expected an even number"),
        (np.zeros((31, 3)), 16, "16 blocks of 31 rows"),
        (np.zeros((100, 3)), 0, "0 blocks"),
    ],
)
def test_what_cannot_be_split_is_refused(returns, n_blocks, words):
    with pytest.raises(EvaluationError, match=words):
        probability_of_backtest_overfitting(returns, n_blocks=n_blocks)


def test_a_return_that_is_no_number_is_refused_with_its_place():
    returns = np.zeros((100, 3))
    returns[41, 2] = np.nan
    with pytest.raises(EvaluationError, match=r"returns\[41, 2\] is nan; expected a number"):
        probability_of_backtest_overfitting(returns)
