"""Combinatorial purged cross-validation: who is tested, who may teach, and the paths."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforge.base import FoldError, parse_utc_ms
from walkforge.folds import combinatorial_splits, over_paths, paths_of, time_groups

MINUTE_MS = 60_000
START_MS = parse_utc_ms("2024-01-01")

COUNTS = st.integers(2, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1)))


def _market(seed, longest, n=240):
    """Return decisions of two symbols with holes, in no order, and resolutions of any length."""
    random = np.random.default_rng(seed)
    minutes = [np.sort(random.choice(2 * n, n, replace=False)) for _ in range(2)]
    minutes = [times[(times < n // 2) | (times > n)] for times in minutes]  # a long hole
    decided_at = START_MS + MINUTE_MS * random.permutation(np.concatenate(minutes))
    return decided_at, decided_at + MINUTE_MS * random.integers(1, longest + 1, len(decided_at))


@settings(deadline=None, max_examples=60)
@given(
    counts=COUNTS,
    seed=st.integers(0, 10_000),
    longest=st.integers(1, 12),
    embargo=st.integers(0, 6),
)
def test_no_label_that_teaches_shares_time_with_one_that_is_tested(counts, seed, longest, embargo):
    n_groups, n_test = counts
    decided_at, resolved_at = _market(seed, longest)
    group = time_groups(decided_at, n_groups)
    embargo_ms = embargo * MINUTE_MS
    asked = {"n_groups": n_groups, "n_test_groups": n_test}
    splits = list(combinatorial_splits(decided_at, resolved_at, **asked, embargo_ms=embargo_ms))
    for split in splits:
        tested = np.isin(group, split.test_groups)
        assert split.test.tolist() == np.flatnonzero(tested).tolist()
        assert not tested[split.train].any()
        # All pairs of a row that might teach and a tested one, whatever their groups.
        d, r = decided_at[:, None], resolved_at[:, None]
        ahead, behind = decided_at[tested] - r, d - resolved_at[tested]  # above 0: time between
        apart = np.maximum(ahead, behind)
        assert (apart[split.train] > 0).all()
        assert (apart[split.train] >= embargo_ms).all()
        assert split.purged == ((apart <= 0).any(axis=1) & ~tested).sum()
        assert split.purged + split.embargoed + len(split.train) == (~tested).sum()


@settings(deadline=None, max_examples=40)
@given(counts=COUNTS, seed=st.integers(0, 10_000))
def test_every_row_is_tested_once_on_every_path_and_every_path_holds_every_group(counts, seed):
    n_groups, n_test = counts
    decided_at, resolved_at = _market(seed, longest=3)
    asked = {"n_groups": n_groups, "n_test_groups": n_test}
    splits = list(combinatorial_splits(decided_at, resolved_at, **asked))
    paths = paths_of(n_groups, n_test)
    n_paths = comb(n_groups, n_test) * n_test // n_groups
    assert len(splits) == comb(n_groups, n_test)
    assert paths.shape == (n_paths, n_groups)
    times_tested = np.zeros(len(decided_at), dtype=int)
    for split in splits:
        times_tested[split.test] += 1
    assert (times_tested == n_paths).all()
    for path in paths:
        assert all(g in splits[split].test_groups for g, split in enumerate(path))
    pairs = {(int(split), g) for path in paths for g, split in enumerate(path)}
    assert len(pairs) == n_paths * n_groups == len(splits) * n_test  # none twice, none left


def test_six_groups_of_which_two_are_tested_make_the_fifteen_splits_and_five_paths_of_the_book():
    """Lopez de Prado (2018), section 12.4: figures 12.1 and 12.2, splits counted from 1."""
    assert paths_of(6, 2).shape == (5, 6)
    assert (paths_of(6, 2) + 1).T.tolist() == [
        [1, 2, 3, 4, 5],
        [1, 6, 7, 8, 9],
        [2, 6, 10, 11, 12],
        [3, 7, 10, 13, 14],
        [4, 8, 11, 13, 15],
        [5, 9, 12, 14, 15],
    ]
    times = START_MS + MINUTE_MS * np.arange(60)
    splits = list(combinatorial_splits(times, times, n_groups=6, n_test_groups=2))
    assert [split.test_groups for split in splits] == list(combinations(range(6), 2))
    assert len(splits) == 15


def test_one_test_group_is_plain_purged_cross_validation_with_a_single_path():
    assert paths_of(5, 1).tolist() == [[0, 1, 2, 3, 4]]


def test_purge_and_embargo_by_hand():
    decided_at = np.arange(12) * 10
    resolved_at = decided_at + np.array([5, 5, 20, 5, 5, 5, 5, 25, 5, 5, 5, 5])
    asked = {"n_groups": 3, "n_test_groups": 1}
    _, middle, _ = combinatorial_splits(decided_at, resolved_at, **asked)
    # Tested are 4 to 7, from 40 to 95. Row 2 resolves at 40; rows 8 and 9 are decided before 95.
    assert middle.test.tolist() == [4, 5, 6, 7]
    assert middle.train.tolist() == [0, 1, 3, 10, 11]
    assert (middle.purged, middle.embargoed) == (3, 0)
    _, middle, _ = combinatorial_splits(decided_at, resolved_at, **asked, embargo_ms=15)
    # Row 3 resolves at 35, less than 15 before 40; row 1 at 15; row 11 is decided 15 after 95.
    assert middle.train.tolist() == [0, 1, 11]
    assert (middle.purged, middle.embargoed) == (3, 2)


def test_a_label_that_outlasts_a_whole_tested_group_does_not_teach():
    decided_at = np.arange(9) * 10
    resolved_at = decided_at + 1
    resolved_at[0] = 55  # the second group is decided from 30 to 50 and resolved by 51
    asked = {"n_groups": 3, "n_test_groups": 1}
    first, second, third = combinatorial_splits(decided_at, resolved_at, **asked)
    assert first.train.tolist() == [6, 7, 8]
    assert second.train.tolist() == [1, 2, 6, 7, 8]
    assert third.train.tolist() == [0, 1, 2, 3, 4, 5]


def test_rows_of_one_moment_stay_together_and_groups_hold_equally_many_moments():
    moments = np.repeat(np.arange(100), 3)
    group = time_groups(moments[::-1].copy(), 7)
    assert all(len(set(group[moments[::-1] == moment])) == 1 for moment in range(100))
    sizes = [len(set(moments[::-1][group == g])) for g in range(7)]
    assert max(sizes) - min(sizes) <= 1
    assert (np.diff(group[::-1]) >= 0).all()


def test_a_measure_over_the_paths_is_that_of_forecasts_put_together_by_hand():
    random = np.random.default_rng(0)
    decided_at, resolved_at = _market(seed=1, longest=3)
    group = time_groups(decided_at, 6)
    asked = {"n_groups": 6, "n_test_groups": 2}
    forecasts = np.full((15, len(group), 2), np.nan)
    for s, split in enumerate(combinatorial_splits(decided_at, resolved_at, **asked)):
        forecasts[s, split.test] = random.normal(size=(len(split.test), 2))
    found = over_paths(lambda one: one.mean(), forecasts, group=group, n_test_groups=2)
    slow = []
    for path in paths_of(6, 2):
        rows = [forecasts[path[group[row]], row] for row in range(len(group))]
        slow.append(np.mean(rows))
    assert found == pytest.approx(np.array(slow), abs=1e-12)
    assert len(set(found.round(9))) == 5


def test_who_remembers_the_nearest_label_has_skill_on_no_path_but_for_the_purge():
    """Labels of 25 bars overlap with their neighbours': unpurged, memory passes for foresight."""
    n, ahead = 240, 25
    times = START_MS + MINUTE_MS * np.arange(n)
    group = time_groups(times, 6)
    asked = {"n_groups": 6, "n_test_groups": 2}
    splits = list(combinatorial_splits(times, times + ahead * MINUTE_MS, **asked))
    hits = {"purged": [], "not purged": []}
    for seed in range(60):
        returns = np.random.default_rng(seed).normal(size=n + ahead)
        label = np.sign([returns[t : t + ahead].sum() for t in range(n)])
        for kind, found in hits.items():
            hit = np.full((len(splits), n), np.nan)
            for s, split in enumerate(splits):
                others = np.setdiff1d(np.arange(n), split.test)
                teach = split.train if kind == "purged" else others
                nearest = teach[np.abs(split.test[:, None] - teach).argmin(axis=1)]
                hit[s, split.test] = label[nearest] == label[split.test]
            found.append(over_paths(np.mean, hit, group=group, n_test_groups=2).mean())
    purged, leaking = np.array(hits["purged"]), np.array(hits["not purged"])
    error = np.std(purged) / np.sqrt(len(purged))
    assert abs(purged.mean() - 0.5) < 3 * error
    assert leaking.mean() > 0.5 + 3 * error


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"n_groups": 4, "n_test_groups": 4}, "4 test groups of 4; expected at least 1"),
        ({"n_groups": 4, "n_test_groups": 0}, "0 test groups of 4"),
        ({"n_groups": 40, "n_test_groups": 1}, "20 decision moments cannot make 40 groups"),
        ({"n_groups": 4, "n_test_groups": 1, "embargo_ms": -1}, "embargo_ms is -1"),
    ],
)
def test_impossible_counts_are_refused_before_the_first_split(asked, message):
    times = START_MS + MINUTE_MS * np.arange(20)
    with pytest.raises(FoldError, match=message):
        combinatorial_splits(times, times, **asked)


def test_impossible_times_are_refused_with_the_first_place():
    times = START_MS + MINUTE_MS * np.arange(20)
    early = times.copy()
    early[3] -= MINUTE_MS
    with pytest.raises(FoldError, match=r"row 3: decided at 2024-01-01 00:03 .* swapped"):
        combinatorial_splits(times, early, n_groups=4, n_test_groups=1)
    with pytest.raises(FoldError, match="20 decisions but 19 resolutions"):
        combinatorial_splits(times, times[1:], n_groups=4, n_test_groups=1)


def test_a_split_that_no_row_can_teach_is_refused_with_the_arithmetic():
    times = START_MS + MINUTE_MS * np.arange(20)
    asked = {"n_groups": 4, "n_test_groups": 2}
    with pytest.raises(FoldError, match=r"groups 0, 1 are tested: of 10 others 10 are purged"):
        list(combinatorial_splits(times, times + 30 * MINUTE_MS, **asked))


def test_forecasts_of_another_number_of_splits_are_refused():
    group = np.repeat(np.arange(6), 2)
    with pytest.raises(FoldError, match="forecasts of 14 splits, but 2 of 6 groups make 15"):
        over_paths(np.mean, np.zeros((14, 12)), group=group, n_test_groups=2)
    with pytest.raises(FoldError, match="6 test groups of 6"):
        paths_of(6, 6)
