"""Rules refuse nonsense, limits are learned from the scores handed over and from nothing else."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforge.base import LabelError
from walkforge.labels import KINDS, LabelRule, Limits, class_names, fit_limits


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("kind", "treshold", "unknown label kind 'treshold' .did you mean 'threshold'"),
        ("horizon_bars", 0, "labels.horizon_bars is 0; it must be a whole number of at least 1"),
        ("horizon_bars", True, "labels.horizon_bars is True"),
        ("volatility_bars", 1, "labels.volatility_bars is 1; .* at least 2"),
        ("threshold_frac", 1.2, "labels.threshold_frac is 1.2; .*0.012 is 1.2 %"),
        ("threshold_frac", float("nan"), "labels.threshold_frac is nan"),
        ("volatility_multiple", 0.0, "labels.volatility_multiple is 0.0; it must be positive"),
    ],
)
def test_an_impossible_rule_is_refused_by_name(field, value, message):
    with pytest.raises(LabelError, match=message):
        LabelRule(**{field: value})


def test_classes_stand_in_their_fixed_order():
    for kind in KINDS:
        expected = ("down", "up") if kind == "direction" else ("down", "hold", "up")
        assert class_names(LabelRule(kind=kind)) == expected


def test_what_lies_on_a_limit_is_hold_and_nan_has_no_class():
    scores = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, np.nan, np.inf])
    assert Limits(-1.0, 1.0).classify(scores).tolist() == [0, 1, 1, 1, 2, -1, 2]


def test_two_classes_have_one_limit():
    limits = Limits(0.0, 0.0, ("down", "up"))
    assert limits.classify(np.array([-1.0, 0.0, 1e-9, np.nan])).tolist() == [0, 0, 1, -1]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(30, 400), missing=st.integers(0, 20))
def test_quantile_limits_balance_the_training_slice(seed, n, missing):
    scores = np.random.default_rng(seed).standard_t(3, n)
    scores[:missing] = np.nan
    classes = fit_limits(LabelRule(kind="quantile"), scores).classify(scores)
    counts = np.bincount(classes[classes >= 0], minlength=3)
    assert counts.max() - counts.min() <= 2
    assert (classes == -1).sum() == missing


def test_quantile_limits_know_only_the_scores_handed_over():
    random = np.random.default_rng(0)
    train, later = random.normal(size=300), random.normal(5.0, 9.0, size=300)
    limits = fit_limits(LabelRule(kind="quantile"), train)
    everything = np.concatenate([train, later])
    assert fit_limits(LabelRule(kind="quantile"), everything[:300]) == limits
    assert fit_limits(LabelRule(kind="quantile"), everything) != limits


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "quantile"])
def test_all_other_limits_are_the_rules_own_whatever_the_scores(kind):
    rule = LabelRule(kind=kind)
    random = np.random.default_rng(0)
    assert fit_limits(rule, random.normal(size=50)) == fit_limits(rule, random.normal(9, 9, 50))


@pytest.mark.parametrize("kind", KINDS)
def test_scores_that_are_all_equal_are_refused(kind):
    with pytest.raises(LabelError, match=f"all 40 training rows have the same {kind} score 0"):
        fit_limits(LabelRule(kind=kind), np.concatenate([np.zeros(40), [np.nan]]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_slice_without_scores_is_refused(kind):
    with pytest.raises(LabelError, match=f"no training row has a {kind} label; use more bars"):
        fit_limits(LabelRule(kind=kind), np.full(5, np.nan))


@pytest.mark.parametrize("kind", KINDS)
def test_limits_come_back_from_json_as_they_were(kind):
    scores = np.random.default_rng(1).normal(size=100)
    limits = fit_limits(LabelRule(kind=kind), scores)
    again = Limits.from_dict(json.loads(json.dumps(limits.as_dict())))
    assert again == limits
    np.testing.assert_array_equal(again.classify(scores), limits.classify(scores))


@pytest.mark.parametrize(
    "plain",
    [
        {"low": 0.0, "high": 1.0},
        {"low": "x", "high": 1.0, "classes": ["down", "up"]},
        {"low": 2.0, "high": 1.0, "classes": ["down", "hold", "up"]},
        {"low": float("nan"), "high": 1.0, "classes": ["down", "hold", "up"]},
    ],
)
def test_damaged_limits_are_refused(plain):
    with pytest.raises(LabelError, match="label limits"):
        Limits.from_dict(plain)
