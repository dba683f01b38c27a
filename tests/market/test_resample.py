"""Longer bars come from complete shorter ones only, and never from the future."""

import dataclasses
import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import START_MS, bars_from, random_bars
from walkforge.base import BarsError, timeframe_ms
from walkforge.market import Bars, read_folder, resample

FIELDS = ("timestamp", "open", "high", "low", "close", "volume")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def assert_same_bars(one: Bars, other: Bars) -> None:
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def slowly(bars: Bars, timeframe: str) -> list[tuple]:
    """Gather each longer bar by hand; it exists only if every minute of it is there."""
    step = timeframe_ms(timeframe)
    rows = []
    for start in range(START_MS - 7 * DAY_MS, int(bars.timestamp[-1]) + 1, step):
        inside = np.flatnonzero((bars.timestamp >= start) & (bars.timestamp < start + step))
        if len(inside) == step // timeframe_ms(bars.timeframe):
            rows.append(
                (
                    start,
                    bars.open[inside[0]],
                    bars.high[inside].max(),
                    bars.low[inside].min(),
                    bars.close[inside[-1]],
                    bars.volume[inside].sum(),
                )
            )
    return rows


def test_three_minutes_make_one_bar():
    bars = bars_from("""
        # open high low close
          10   12   9   11
          11   15   10  14
          14   14   7   8
          8    9    8   9      # the next three are not complete
          9    9    9   9
    """)
    higher = resample(bars, "3m")
    assert [getattr(higher, name).tolist() for name in FIELDS] == [
        [START_MS],
        [10],
        [15],
        [7],
        [8],
        [300],
    ]
    assert higher.history == ("resampled from 1m",)
    assert higher.provenance == "simulated"


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 99),
    timeframe=st.sampled_from(["3m", "5m", "15m", "30m", "1h"]),
    first=st.integers(0, 70),
    missing=st.sets(st.integers(1, 299), max_size=12),
)
def test_the_fast_way_agrees_with_the_slow_one(seed, timeframe, first, missing):
    bars = keep(random_bars(300, seed), np.setdiff1d(np.arange(first, 300), sorted(missing)))
    higher = resample(bars, timeframe)
    slow = slowly(bars, timeframe)
    assert higher.timestamp.tolist() == [row[0] for row in slow]
    for column, name in enumerate(FIELDS):
        values = np.array([row[column] for row in slow], dtype=float)
        np.testing.assert_allclose(getattr(higher, name), values, rtol=1e-12)


def keep(bars: Bars, rows: np.ndarray) -> Bars:
    return dataclasses.replace(bars, **{name: getattr(bars, name)[rows] for name in FIELDS})


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 400), timeframe=st.sampled_from(["5m", "15m", "1h"]))
def test_cutting_the_future_off_changes_no_earlier_bar(cut, timeframe):
    bars = random_bars(400, holes_at=(77, 250))
    whole, part = resample(bars, timeframe), resample(bars.take(slice(0, cut)), timeframe)
    assert_same_bars(part, whole.take(slice(0, len(part))))


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(1, 1000), timeframe=st.sampled_from(["4h", "1d", "1w"]))
def test_nor_does_it_in_a_session_market(cut, timeframe):
    bars = stock_hours(n_days=200, without_days=(60, 61, 62, 63, 64))
    whole, part = resample(bars, timeframe), resample(bars.take(slice(0, cut)), timeframe)
    assert_same_bars(part, whole.take(slice(0, len(part))))


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(50, 399), timeframe=st.sampled_from(["5m", "1h"]))
def test_poison_after_the_cut_changes_no_bar_that_closed_before(cut, timeframe):
    bars = random_bars(400)
    poisoned = {}
    for name in ("open", "high", "low", "close", "volume"):
        values = getattr(bars, name).copy()
        values[cut:] = 1e9
        poisoned[name] = values
    clean, other = (
        resample(bars, timeframe),
        resample(dataclasses.replace(bars, **poisoned), timeframe),
    )
    n_closed = int((clean.closes_at <= bars.closes_at[cut - 1]).sum())
    assert_same_bars(other.take(slice(0, n_closed)), clean.take(slice(0, n_closed)))


def test_days_start_at_midnight_and_weeks_on_monday_utc():
    bars = random_bars(24 * 21, timeframe="1h")  # starts on Monday 2024-01-01
    later = bars.take(slice(30, len(bars)))
    days, weeks = resample(later, "1d"), resample(later, "1w")
    assert datetime.datetime.fromtimestamp(days.timestamp[0] / 1000, datetime.UTC).day == 3
    moments = [datetime.datetime.fromtimestamp(t / 1000, datetime.UTC) for t in weeks.timestamp]
    assert [(moment.day, moment.weekday(), moment.hour) for moment in moments] == [
        (8, 0, 0),
        (15, 0, 0),
    ]


def test_twice_in_small_steps_is_once_in_a_large_one():
    bars = random_bars(3000, holes_at=(1234,))
    twice, once = resample(resample(bars, "5m"), "1h"), resample(bars, "1h")
    for name in FIELDS[:5]:
        np.testing.assert_array_equal(getattr(twice, name), getattr(once, name))
    np.testing.assert_allclose(twice.volume, once.volume, rtol=1e-14)
    assert twice.history == ("resampled from 1m", "resampled from 5m")


def test_the_same_timeframe_returns_the_bars():
    bars = random_bars(10)
    assert resample(bars, "1m") is bars


def test_a_hole_inside_stays_a_hole():
    bars = random_bars(300, holes_at=(100,))
    higher = resample(bars, "5m")
    assert len(higher.segments) == 2


def test_a_timeframe_that_does_not_divide_is_refused_with_those_that_do():
    bars = random_bars(50, timeframe="8h")
    with pytest.raises(BarsError, match="cannot be resampled to 12h; possible are 1d, 1w"):
        resample(bars, "12h")
    with pytest.raises(BarsError, match="cannot be resampled to 1h"):
        resample(bars, "1h")


def test_no_bars_make_no_bars():
    assert len(resample(random_bars(5).take(slice(0, 0)), "5m")) == 0
    assert len(resample(random_bars(3), "5m")) == 0


def stock_hours(n_days: int, without_days: tuple[int, ...] = ()) -> Bars:
    """Return hourly bars of a stock: Monday to Friday, 14:00 to 20:00 UTC."""
    days = [d for d in range(n_days) if d % 7 < 5 and d not in without_days]
    stamps = np.array([START_MS + d * DAY_MS + h * HOUR_MS for d in days for h in range(14, 21)])
    bars = random_bars(len(stamps), timeframe="1h", symbol="STOCK")
    return dataclasses.replace(bars, timestamp=stamps, calendar="session")


def test_a_stock_day_holds_what_was_traded_in_it():
    bars = stock_hours(n_days=21)
    days = resample(bars, "1d")
    # The first day may have begun before the first bar, the last may go on after the last.
    assert len(days) == 15 - 2
    assert days.open[0] == bars.open[7]
    assert days.high[0] == bars.high[7:14].max()
    assert days.close[0] == bars.close[13]
    assert days.calendar == "session"


def test_a_stock_day_beside_a_hole_is_left_out():
    hole = (7, 8, 9, 10, 11)  # the second week
    days = resample(stock_hours(n_days=28, without_days=hole), "1d")
    numbers = (days.timestamp - START_MS) // DAY_MS
    assert numbers.tolist() == [1, 2, 3, 15, 16, 17, 18, 21, 22, 23, 24]


def test_bars_that_reach_over_the_end_of_a_longer_one_are_refused():
    bars = stock_hours(n_days=21)
    shifted = dataclasses.replace(bars, timestamp=bars.timestamp + HOUR_MS // 2)
    assert len(resample(shifted, "1d")) == 13
    with pytest.raises(BarsError, match="is not over when its 4h bar ends"):
        resample(shifted, "4h")


def test_real_minutes_make_the_real_five_minutes(shared_data):
    folder = shared_data / "bars/binance"
    minutes, stored = (
        read_folder(folder, timeframe=timeframe, symbols=["BTCUSDT"])["BTCUSDT"]
        for timeframe in ("1m", "5m")
    )
    made = resample(minutes, "5m")
    both, in_made, in_stored = np.intersect1d(
        made.timestamp, stored.timestamp, assume_unique=True, return_indices=True
    )
    assert len(both) > 90_000
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(
            getattr(made, name)[in_made], getattr(stored, name)[in_stored]
        )
    np.testing.assert_allclose(made.volume[in_made], stored.volume[in_stored], rtol=1e-9)
