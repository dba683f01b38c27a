"""Adjusted p-values: the papers' own example, foreign code, and what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, norm
from statsmodels.stats.multitest import multipletests

from walkforge.statistics import benjamini_hochberg, benjamini_yekutieli, holm

# Benjamini and Hochberg 1995: fifteen p-values of a trial on myocardial infarction.
PAPER = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
    0.5719, 0.6528, 0.7590, 1.0000,
]  # fmt: skip

P_VALUES = st.lists(st.floats(0, 1) | st.none(), max_size=30)


def test_of_the_papers_fifteen_tests_four_are_discoveries_and_three_are_sure():
    assert [p <= 0.05 for p in benjamini_hochberg(PAPER)] == [True] * 4 + [False] * 11
    assert [p <= 0.05 for p in holm(PAPER)] == [True] * 3 + [False] * 12
    # By hand: the fourth is 0.0095 x 15 / 4.
    assert benjamini_hochberg(PAPER)[3] == pytest.approx(0.035625)


def test_holm_raises_the_smallest_most_and_passes_over_tests_that_were_not_made():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([None]) == [None]
    assert holm([]) == []


@given(P_VALUES)
def test_false_discoveries_are_controlled_as_scipy_does(p_values):
    known = [p for p in p_values if p is not None]
    for adjust, name in ((benjamini_hochberg, "bh"), (benjamini_yekutieli, "by")):
        found = adjust(p_values)
        assert [p is None for p in found] == [p is None for p in p_values]
        ours = [p for p in found if p is not None]
        np.testing.assert_allclose(ours, false_discovery_control(known, method=name))


@pytest.mark.parametrize("n", [1, 2, 15, 40])
def test_all_three_are_those_of_statsmodels(n):
    # Rounded, so that some are equal, and some 0 or 1.
    p_values = np.random.default_rng(n).random(n).round(1 if n == 40 else 3).tolist()
    for adjust, name in (
        (holm, "holm"),
        (benjamini_hochberg, "fdr_bh"),
        (benjamini_yekutieli, "fdr_by"),
    ):
        np.testing.assert_allclose(adjust(p_values), multipletests(p_values, method=name)[1])


def test_tests_that_were_not_made_stay_none_and_do_not_count():
    for adjust in (benjamini_hochberg, benjamini_yekutieli):
        with_none = adjust([None, 0.01, None, 0.04])
        assert with_none[::2] == [None, None]
        assert with_none[1::2] == adjust([0.01, 0.04])
        assert adjust([None]) == [None]
        assert adjust([]) == []


def test_they_promise_what_they_hold():
    random = np.random.default_rng(0)
    any_wrong, shares = 0, []
    for _ in range(1000):
        # Thirty symbols that move together; the last ten have an edge.
        z = 0.5 * random.normal() + np.sqrt(0.75) * random.normal(size=30)
        z[20:] += 3.0
        p = norm.sf(z).tolist()
        any_wrong += min(q for q in holm(p)[:20] if q is not None) < 0.05
        found = np.array(benjamini_hochberg(p)) < 0.05
        shares.append(found[:20].sum() / max(1, found.sum()))
    # 1000 worlds: 0.05 and three standard errors.
    assert any_wrong / 1000 < 0.071
    assert np.mean(shares) < 0.05
