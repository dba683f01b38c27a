"""Purge, embargo and the arithmetic of folds."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforge.base import FoldError, parse_utc_ms
from walkforge.folds import Fold, FoldPlan, Slice, common_calendar, make_folds, rows_of

MINUTE_MS = 60_000
SLICES = ("train", "validation", "calibration", "test")


def _minutes(n: int, start: str = "2024-01-01") -> np.ndarray:
    return parse_utc_ms(start) + MINUTE_MS * np.arange(1, n + 1)


def _rows(fold, decided_at, resolved_at, embargo_ms=0, usable=None):
    everything = np.ones(len(decided_at), dtype=bool)
    return rows_of(
        fold,
        decided_at=decided_at,
        resolved_at=resolved_at,
        usable=everything if usable is None else usable,
        embargo_ms=embargo_ms,
    )


PLANS = st.one_of(
    st.builds(FoldPlan, embargo_bars=st.integers(0, 30)),
    st.builds(
        FoldPlan,
        kind=st.just("walk_forward"),
        unit=st.just("bars"),
        count=st.integers(1, 5),
        train=st.one_of(st.none(), st.integers(20, 200)),
        validation=st.integers(1, 60),
        calibration=st.integers(1, 60),
        test=st.integers(1, 80),
        embargo_bars=st.integers(0, 30),
    ),
)


@settings(deadline=None, max_examples=150)
@given(plan=PLANS, seed=st.integers(0, 10_000), longest=st.integers(1, 60))
def test_no_label_reaches_the_next_slice_and_no_row_stands_in_two(plan, seed, longest):
    random = np.random.default_rng(seed)
    kept = np.sort(random.choice(1500, size=1000, replace=False))  # with holes
    decided_at = _minutes(1500)[kept]
    resolved_at = decided_at + MINUTE_MS * random.integers(1, longest + 1, size=1000)
    embargo_ms = plan.embargo_bars * MINUTE_MS
    tested: set[int] = set()
    for fold in make_folds(decided_at, plan):
        rows = _rows(fold, decided_at, resolved_at, embargo_ms)
        parts = [getattr(rows, name) for name in SLICES]
        taken = np.concatenate(parts)
        assert len(np.unique(taken)) == len(taken)
        for name, following in pairwise(SLICES):
            here, there = getattr(rows, name), getattr(rows, following)
            start = getattr(fold, following).from_ms
            assert (resolved_at[here] < start).all()
            assert (decided_at[there] >= start + embargo_ms).all()
        inside = (decided_at >= fold.train.from_ms) & (decided_at < fold.test.to_ms)
        assert len(taken) + rows.purged + rows.embargoed == inside.sum()
        assert not tested & set(rows.test.tolist()), "test windows overlap"
        tested |= set(rows.test.tolist())


def test_a_row_whose_label_resolves_at_the_next_slices_first_decision_is_purged():
    fold = Fold(0, Slice(0, 10), Slice(10, 20), Slice(20, 30), Slice(30, 40))
    decided_at = np.array([7, 8, 9, 12])
    rows = _rows(fold, decided_at, resolved_at=np.array([9, 10, 11, 13]))
    assert rows.train.tolist() == [0]
    assert rows.purged == 2


def test_embargo_leaves_the_first_bars_of_later_slices_out_but_not_of_train():
    fold = Fold(0, Slice(0, 10), Slice(10, 20), Slice(20, 30), Slice(30, 40))
    decided_at = np.array([0, 1, 10, 12, 13, 30, 33])
    rows = _rows(fold, decided_at, decided_at, embargo_ms=3)
    assert rows.train.tolist() == [0, 1]
    assert rows.validation.tolist() == [4]
    assert rows.test.tolist() == [6]
    assert rows.embargoed == 3


def test_rows_that_are_not_usable_stand_nowhere():
    fold = Fold(0, Slice(0, 10), Slice(10, 20), Slice(20, 30), Slice(30, 40))
    decided_at = np.arange(40)
    usable = decided_at % 2 == 0
    rows = _rows(fold, decided_at, decided_at, usable=usable)
    assert all(row % 2 == 0 for name in SLICES for row in getattr(rows, name))


def test_ratio_cuts_seventy_fifteen_fifteen_in_time_order():
    (fold,) = make_folds(_minutes(1000), FoldPlan(embargo_bars=0))
    rows = _rows(fold, _minutes(1000), _minutes(1000))
    assert [len(getattr(rows, name)) for name in SLICES] == [700, 75, 75, 150]


def test_six_monthly_windows_end_with_the_calendar_and_follow_each_other():
    calendar = _minutes(366 * 24 * 60, "2024-01-01")
    folds = make_folds(calendar, FoldPlan(kind="walk_forward", count=6))
    assert [fold.test.as_text()[0] for fold in folds] == [
        "2024-07-01 00:00", "2024-08-01 00:00", "2024-09-01 00:00",
        "2024-10-01 00:00", "2024-11-01 00:00", "2024-12-01 00:00",
    ]  # fmt: skip
    assert folds[-1].test.to_ms == parse_utc_ms("2025-01-01")
    assert folds[0].validation.as_text() == ["2024-05-01 00:00", "2024-06-01 00:00"]
    assert folds[0].train.from_ms == calendar[0]


def test_a_rolling_train_slice_keeps_its_length():
    calendar = _minutes(366 * 24 * 60, "2024-01-01")
    plan = FoldPlan(kind="walk_forward", count=3, train=4)
    folds = make_folds(calendar, plan)
    assert [fold.train.as_text()[0] for fold in folds] == [
        "2024-04-01 00:00", "2024-05-01 00:00", "2024-06-01 00:00",
    ]  # fmt: skip
    expanding = make_folds(calendar, FoldPlan(kind="walk_forward", count=3))
    assert {fold.train.from_ms for fold in expanding} == {int(calendar[0])}


def test_six_monthly_windows_in_seven_days_are_refused_with_the_arithmetic():
    with pytest.raises(FoldError, match=r"6 test windows of 1 months .* = 9 whole months.*0\.2"):
        make_folds(_minutes(7 * 24 * 60), FoldPlan(kind="walk_forward", count=6))


def test_too_few_bars_for_windows_of_bars_are_refused_with_the_arithmetic():
    plan = FoldPlan(kind="walk_forward", unit="bars", count=4, test=100, validation=50,
                    calibration=50)  # fmt: skip
    with pytest.raises(FoldError, match=r"= 501 decision moments, but there are 300"):
        make_folds(_minutes(300), plan)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"kind": "kfold"}, "choose ratio or walk_forward"),
        ({"unit": "weeks"}, "choose months or bars"),
        ({"train_frac": 0.9}, "make 1.2"),
        ({"test_frac": 0.0, "train_frac": 0.85}, "must be positive"),
        ({"count": 0}, "at least 1"),
        ({"embargo_bars": -1}, "at least 0"),
    ],
)
def test_an_impossible_plan_cannot_be_built(settings_, message):
    with pytest.raises(FoldError, match=message):
        FoldPlan(**settings_)


def test_the_common_calendar_is_the_moments_that_all_symbols_have():
    calendar = common_calendar({"A": np.array([1, 2, 3, 5, 6, 9]), "B": np.array([2, 4, 5, 6])})
    assert calendar.tolist() == [2, 5, 6]


def test_every_slice_holds_rows_of_every_symbol_however_their_holes_differ():
    everything = _minutes(3000)
    times = {"A": everything[:2500], "B": np.r_[everything[300:1200], everything[1900:3000]]}
    (fold,) = make_folds(common_calendar(times), FoldPlan(embargo_bars=0))
    for decided_at in times.values():
        rows = _rows(fold, decided_at, decided_at)
        assert min(len(getattr(rows, name)) for name in SLICES) >= 100


def test_symbols_without_common_time_are_refused_by_name():
    with pytest.raises(FoldError, match=r"share no decision moment: NEW begins at .*OLD ends at"):
        common_calendar({"NEW": _minutes(10, "2024-01-01"), "OLD": _minutes(10, "2020-01-01")})


def test_a_symbol_without_rows_is_refused_by_name():
    with pytest.raises(FoldError, match="EMPTY: no row"):
        common_calendar({"A": _minutes(5), "EMPTY": _minutes(0)})
