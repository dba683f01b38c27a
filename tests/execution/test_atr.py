"""Wilder's average true range against the formula written out."""

import math

import numpy as np
import pytest

from drawn import bars_from, random_bars
from walkforge.execution import average_true_range


def _slow_atr(bars, n: int) -> list[float]:
    found = []
    for rows in bars.segments:
        ranges, last = [], math.nan
        for t in range(rows.start, rows.stop):
            if t > rows.start:
                before = bars.close[t - 1]
                ranges.append(max(bars.high[t], before) - min(bars.low[t], before))
            if len(ranges) == n:
                last = sum(ranges) / n
            elif len(ranges) > n:
                last = (last * (n - 1) + ranges[-1]) / n
            found.append(last)
    return found


@pytest.mark.parametrize("n", [1, 2, 5, 14])
def test_atr_is_wilders_formula_within_each_segment(n):
    bars = random_bars(300, seed=1, holes_at=(5, 100, 103))
    np.testing.assert_allclose(average_true_range(bars, n), _slow_atr(bars, n), rtol=1e-12)


def test_the_first_bars_of_every_segment_have_no_atr():
    bars = random_bars(100, holes_at=(50,))
    assert np.flatnonzero(np.isnan(average_true_range(bars, 14))).tolist() == [
        *range(14),
        *range(50, 64),
    ]


def test_a_gap_between_close_and_open_is_part_of_the_range():
    bars = bars_from("100 101 99 100 \n 110 111 109 110")
    assert average_true_range(bars, 1)[1] == 11.0  # from the close of 100 to the high of 111


def test_a_segment_too_short_for_the_warm_up_has_no_atr():
    assert np.isnan(average_true_range(random_bars(14), 14)).all()


def test_atr_does_not_change_when_the_future_is_cut_off():
    bars = random_bars(200, seed=2)
    whole = average_true_range(bars, 14)
    for cut in (20, 77, 150):
        np.testing.assert_array_equal(average_true_range(bars.take(slice(0, cut)), 14), whole[:cut])


def test_no_bars_have_no_atr():
    assert len(average_true_range(random_bars(20).take(slice(0, 0)), 14)) == 0
