"""A user's own labels: scores, the moments at which they are known, and whether that is true."""

from types import SimpleNamespace

import numpy as np
import pytest

from drawn import bars_from, random_bars
from own_parts import (
    early_move,
    known_with_hindsight,
    move_in_10,
    only_winners,
    rank_of_move,
    with_room,
)
from walkforge.base import LabelError
from walkforge.execution import Bracket
from walkforge.labels import NEVER, LabelRule, check_resolved, fit_limits, outcomes, own_outcomes

BARS = random_bars(600, seed=3, holes_at=(250,))


def test_scores_and_moments_come_segment_by_segment():
    found = own_outcomes(BARS, move_in_10)
    expected = outcomes(BARS, LabelRule(kind="quantile", horizon_bars=10))
    np.testing.assert_allclose(found.score, expected.score, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.resolved_at, expected.resolved_at)
    np.testing.assert_array_equal(found.decided_at, BARS.closes_at)
    np.testing.assert_array_equal(found.valid, ~np.isnan(found.score))
    assert (found.resolved_at[~found.valid] == NEVER).all()


def test_an_object_with_both_serves_as_well():
    def make(bars):
        score, resolved_at = move_in_10(bars)
        return SimpleNamespace(score=score, resolved_at=resolved_at)

    np.testing.assert_array_equal(
        own_outcomes(BARS, make).score, own_outcomes(BARS, move_in_10).score
    )


@pytest.mark.parametrize("make", [move_in_10, with_room], ids=lambda make: make.__name__)
@pytest.mark.parametrize("seed", range(4))
def test_honest_labels_are_left_alone(make, seed):
    assert check_resolved(make, BARS, n_cuts=4, seed=seed) is None


@pytest.mark.parametrize("kind", ["triple_barrier", "threshold", "volatility", "direction"])
def test_the_built_in_labels_are_known_when_they_say_so(kind):
    rule = LabelRule(kind=kind, horizon_bars=7, bracket=Bracket(max_hold_bars=15))

    def make(bars):
        found = outcomes(bars, rule, slippage_price=0.01)
        return found.score, np.where(found.valid, found.resolved_at, 0)

    assert check_resolved(make, BARS, n_cuts=4) is None


@pytest.mark.parametrize(
    "make",
    [early_move, rank_of_move, only_winners, known_with_hindsight],
    ids=lambda make: make.__name__,
)
@pytest.mark.parametrize("seed", range(4))
def test_labels_that_claim_to_be_known_too_early_are_found(make, seed):
    assert check_resolved(make, BARS, n_cuts=5, seed=seed) is not None


def test_a_finding_names_bar_moment_and_both_values():
    found = check_resolved(early_move, BARS, n_cuts=1)
    row = int(np.searchsorted(BARS.timestamp, found.bar_ms))
    assert found.what == "score"
    assert found.resolved_ms == BARS.closes_at[row + 9]
    assert found.with_future == np.log(BARS.close[row + 10] / BARS.close[row])
    assert found.without_future != found.with_future
    assert "claims to be known too early: for the bar of 2024-01-01" in found.words


def test_a_moment_that_hindsight_decides_is_shown_as_a_moment():
    found = check_resolved(known_with_hindsight, BARS, n_cuts=5)
    assert found.what == "resolved_at"
    assert found.words.count("2024-01-01") >= 3


SMALL = bars_from("""
    1 1 1 1
    2 2 2 2
    3 3 3 3
""")
LATER = SMALL.closes_at + 60_000.0


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (None, "returned NoneType, expected scores and the moments"),
        (np.ones(3), "returned ndarray, expected scores and the moments"),
        ((np.ones(3),), "returned tuple, expected scores and the moments"),
        ((np.ones(2), LATER), r"score has shape \(2,\) for 3 bars"),
        ((np.array(["x"] * 3), LATER), "score holds ndarray, expected numbers"),
        ((np.array([1, np.inf, 1]), LATER), "score of the bar of 2024-01-01 00:01 .* is inf"),
        ((np.ones(3), LATER * np.nan), "resolved_at of the bar of 2024-01-01 00:00 .* is nan"),
        (
            (np.ones(3), SMALL.closes_at),
            "resolved_at of the bar of 2024-01-01 00:00 .* is 2024-01-01 00:01; expected ms UTC "
            "after the close",
        ),
    ],
)
def test_what_is_no_label_is_refused_in_one_line(made, expected):
    with pytest.raises(LabelError, match=expected) as caught:
        own_outcomes(SMALL, lambda bars: made)
    assert "\n" not in str(caught.value)


def test_random_labels_are_told_from_those_that_are_known_too_early():
    random = np.random.default_rng(1)
    with pytest.raises(LabelError, match="when asked again; labels must not draw random numbers"):
        check_resolved(lambda bars: (random.normal(size=len(bars)), bars.closes_at + 1), BARS)


def test_limits_of_own_scores_are_those_of_the_kind():
    score = own_outcomes(BARS, move_in_10).score
    rule = LabelRule(own="my_labels.py:make", kind="quantile")
    np.testing.assert_allclose(
        [fit_limits(rule, score).low, fit_limits(rule, score).high],
        np.nanquantile(score, [1 / 3, 2 / 3]),
    )


@pytest.mark.parametrize("kind", ["triple_barrier", "volatility"])
def test_kinds_with_scores_of_their_own_do_not_go_with_own_labels(kind):
    with pytest.raises(LabelError, match=r"makes scores of its own; with labels.own choose"):
        LabelRule(own="my_labels.py:make", kind=kind)


def test_labels_that_are_never_known_before_the_end_have_nothing_to_claim():
    def make(bars):
        return np.ones(len(bars)), np.full(len(bars), bars.closes_at[-1] + 1)

    assert check_resolved(make, BARS) is None
