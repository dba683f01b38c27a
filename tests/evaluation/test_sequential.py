"""A test of hits that may be looked at every day."""

import numpy as np
import pytest

from walkforge.evaluation import hits_test, one_after_another
from walkforge.evaluation._sequential import FEWER_HITS_FRAC


def _path(confidence, hit):
    """Return the evidence after every moment, each by a look of its own."""
    moments = np.arange(len(hit))
    return [hits_test(moments[:k], confidence[:k], hit[:k]) for k in range(1, len(hit) + 1)]


def _most_evidence(said, hits, random, n_paths):
    confidence = np.clip(1 / 3 + np.abs(random.normal(0, 0.08, (n_paths, len(said)))), 0, 0.95)
    return confidence, random.random(confidence.shape) < hits * confidence


def test_the_fortune_is_the_mean_of_walds_likelihood_ratios():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.35, 0.6, 200)
    hit = random.random(200) < confidence
    ratios = []
    for share in FEWER_HITS_FRAC:
        other = (1 - share) * confidence
        each = np.where(hit, other / confidence, (1 - other) / (1 - confidence))
        ratios.append(np.cumprod(each))
    slow = np.mean(ratios, axis=0)
    found = hits_test(np.arange(200), confidence, hit)
    assert found["e_value"] == pytest.approx(slow[-1])
    assert found["e_value_most"] == pytest.approx(max(1.0, slow.max()))
    assert found["p_value"] == pytest.approx(1 / max(1.0, slow.max()))


def test_looking_every_day_is_the_same_as_looking_once_and_evidence_never_sinks():
    random = np.random.default_rng(1)
    confidence = random.uniform(0.35, 0.6, 60)
    looks = _path(confidence, random.random(60) < 0.8 * confidence)
    most = [one["e_value_most"] for one in looks]
    assert most == sorted(most)
    assert most[-1] == pytest.approx(max(1.0, *(one["e_value"] for one in looks)))


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_daily_looks_over_years_raise_no_more_false_alarms_than_meant(alpha):
    random = np.random.default_rng(2)
    confidence, hit = _most_evidence(np.zeros(1500), 1.0, random, 1000)
    moments = np.arange(1500)
    alarms = sum(
        hits_test(moments, c, h)["p_value"] <= alpha for c, h in zip(confidence, hit, strict=True)
    )
    # Ville: at most alpha; three deviations of the binomial above it.
    assert alarms <= 1000 * alpha + 3 * np.sqrt(1000 * alpha)


def test_a_fixed_sample_test_that_is_looked_at_daily_would_not_hold_its_level():
    """What the sequential test is for: a z-test at 5 % alarms in a third of the paths."""
    random = np.random.default_rng(3)
    confidence, hit = _most_evidence(np.zeros(1000), 1.0, random, 300)
    short = np.cumsum(confidence - hit, axis=1)
    z = short / np.sqrt(np.cumsum(confidence * (1 - confidence), axis=1))
    assert ((z[:, 30:] > 1.645).any(axis=1)).mean() > 0.2


def test_a_model_that_hits_a_fifth_less_than_it_says_is_found_within_a_thousand_decisions():
    random = np.random.default_rng(4)
    confidence, hit = _most_evidence(np.zeros(1000), 0.8, random, 100)
    moments = np.arange(1000)
    found = sum(
        hits_test(moments, c, h)["p_value"] <= 0.01 for c, h in zip(confidence, hit, strict=True)
    )
    assert found >= 90


def test_outcomes_need_not_be_independent_only_fair():
    """The chance of a hit swings with what came before, and is what was said all the same."""
    random = np.random.default_rng(5)
    alarms = 0
    for _ in range(300):
        said, hit = np.empty(400), np.empty(400, dtype=bool)
        last = True
        for t in range(400):
            said[t] = 0.7 if last else 0.4
            last = hit[t] = random.random() < said[t]
        alarms += hits_test(np.arange(400), said, hit)["p_value"] <= 0.05
    assert alarms <= 15 + 3 * np.sqrt(15)


def test_what_the_confidence_may_be_too_high_by_is_no_evidence():
    random = np.random.default_rng(6)
    said = np.full(3000, 0.45)
    hit = random.random(3000) < 0.42
    assert hits_test(np.arange(3000), said, hit)["p_value"] < 0.05
    assert hits_test(np.arange(3000), said, hit, margin_frac=0.04)["p_value"] > 0.05


def test_symbols_of_one_moment_count_as_one_bet():
    said = np.array([0.5, 0.4, 0.6])
    hit = np.array([True, False, False])
    found = hits_test(np.array([7, 7, 9]), said, hit)
    shares = np.array(FEWER_HITS_FRAC)
    first = 1 + shares / (1 - 0.45) * (0.45 - 0.5)
    second = 1 + shares / (1 - 0.6) * (0.6 - 0.0)
    assert found["n"] == 3
    assert found["n_moments"] == 2
    assert found["e_value"] == pytest.approx((first * second).mean())


def test_decisions_whose_outcomes_overlap_are_left_out():
    decided = np.array([0, 0, 10, 20, 30, 30, 40])
    resolved = np.array([20, 30, 40, 50, 50, 60, 70])
    taken = one_after_another(decided, resolved)
    # The longest of the first moment is settled at 30; the two of that moment go together.
    assert taken.tolist() == [True, True, False, False, True, True, False]
    assert one_after_another(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)).size == 0


def test_without_an_outcome_nothing_is_claimed():
    empty = np.zeros(0)
    found = hits_test(empty.astype(np.int64), empty, empty.astype(bool))
    assert found["p_value"] is None
    assert found["reason"] == "no outcome is known yet"
