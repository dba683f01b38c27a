"""Uniqueness of labels: the book's example, a plain loop over bars, and what it adds up to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from walkforge.base import EvaluationError
from walkforge.statistics import effective_labels, label_uniqueness

BAR_MS = 60_000


def slow(decided: list[int], resolved: list[int]) -> list[float]:
    """Return average uniqueness bar by bar, as the book has it."""
    found = []
    for start, stop in zip(decided, resolved, strict=True):
        own = []
        for bar in range(start, stop):
            n_open = sum(d <= bar < r for d, r in zip(decided, resolved, strict=True))
            own.append(1 / n_open)
        found.append(sum(own) / len(own))
    return found


def _of_bars(decided, resolved):
    return label_uniqueness(np.array(decided) * BAR_MS, np.array(resolved) * BAR_MS)


def test_the_books_three_labels():
    # Lopez de Prado 2018, section 4.5.3: labels over bars 0 to 2, 2 to 3 and 4 to 5.
    np.testing.assert_allclose(_of_bars([0, 2, 4], [3, 4, 6]), [5 / 6, 3 / 4, 1.0])


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 25)), min_size=1, max_size=40)


@given(SPANS)
def test_it_is_that_of_a_plain_loop_in_any_order(spans):
    decided = [start for start, _ in spans]
    resolved = [start + length for start, length in spans]
    np.testing.assert_allclose(_of_bars(decided, resolved), slow(decided, resolved), rtol=1e-12)


def test_labels_that_do_not_touch_count_whole_and_equal_ones_share():
    apart = _of_bars([0, 5, 20], [5, 20, 21])
    np.testing.assert_array_equal(apart, 1.0)
    assert effective_labels(apart) == 3.0
    together = _of_bars([7] * 4, [19] * 4)
    np.testing.assert_allclose(together, 0.25)
    assert effective_labels(together) == pytest.approx(1.0)
    assert effective_labels(_of_bars([], [])) == 0.0


def test_a_label_at_every_bar_over_h_bars_counts_one_in_h():
    n, horizon = 10_000, 24
    found = _of_bars(np.arange(n), np.arange(n) + horizon)
    np.testing.assert_allclose(found[horizon:-horizon], 1 / horizon, rtol=1e-9)
    assert effective_labels(found) == pytest.approx(n / horizon, rel=0.02)


def test_labels_that_begin_after_a_label_is_resolved_do_not_change_its_weight():
    random = np.random.default_rng(0)
    decided = np.arange(500)
    resolved = decided + random.integers(1, 30, 500)
    cut = 300
    known = resolved <= cut
    late = decided >= cut
    poisoned = np.where(late, decided + random.integers(1, 400, 500), resolved)
    before, after = _of_bars(decided, resolved), _of_bars(decided, poisoned)
    np.testing.assert_array_equal(before[known], after[known])
    assert (before[late] != after[late]).any()


def test_a_million_labels_are_weighed_as_a_thousand_are():
    n = 1_000_000
    random = np.random.default_rng(1)
    decided = np.arange(n)
    resolved = decided + random.integers(1, 50, n)
    found = _of_bars(decided, resolved)
    middle = slice(n - 1500, n - 500)
    near = slice(n - 1600, n - 400)
    np.testing.assert_allclose(
        found[middle], _of_bars(decided[near], resolved[near])[100:-100], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("decided", "resolved", "words"),
    [
        ([0, 10], [5, 10], "label 1 is resolved at 600000 ms, decided at 600000 ms"),
        ([0, 10], [5], r"decided_at \(2,\) and resolved_at \(1,\)"),
    ],
)
def test_labels_without_a_time_of_their_own_are_refused(decided, resolved, words):
    with pytest.raises(EvaluationError, match=words):
        _of_bars(decided, resolved)
