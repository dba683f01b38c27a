"""Bars: what they refuse, and where they are cut."""

import dataclasses

import numpy as np
import pytest

from drawn import START_MS, bars_from, random_bars
from walkforge.base import BarsError, UsageError
from walkforge.market import Bars, read_folder

DAY_MS = 86_400_000
FIELDS = ("timestamp", "open", "high", "low", "close", "volume")


def daily(stamps_ms: np.ndarray, calendar: str = "auto") -> Bars:
    one = np.ones(len(stamps_ms))
    return Bars("v", "S", "1d", stamps_ms, one, one, one, one, one, calendar=calendar)


def weekdays(n_days: int) -> np.ndarray:
    days = START_MS + DAY_MS * np.arange(n_days)  # starts on a Monday
    return days[(np.arange(n_days) % 7) < 5]


def test_a_missing_bar_starts_a_segment():
    bars = random_bars(20, holes_at=(5, 12))
    assert bars.segments == [slice(0, 5), slice(5, 12), slice(12, 20)]


def test_no_bars_have_no_segments():
    assert random_bars(5).take(slice(0, 0)).segments == []


def test_weekends_do_not_cut_a_session_market():
    bars = daily(weekdays(60))
    assert bars.calendar == "session"
    assert bars.segments == [slice(0, len(bars))]


def test_a_week_away_cuts_a_session_market():
    stamps = weekdays(60)
    bars = daily(np.concatenate([stamps[:10], stamps[15:]]))
    assert bars.segments == [slice(0, 10), slice(10, len(bars))]


def test_a_stray_saturday_bar_does_not_make_a_session_market_trade_around_the_clock():
    days = START_MS + DAY_MS * np.arange(700)
    stray = np.sort(np.append(weekdays(700), days[5]))  # 1 Saturday of 100
    assert daily(stray).calendar == "session"
    assert len(daily(stray).segments) == 1
    more = np.sort(np.append(weekdays(700), days[[5, 12]]))  # 2 of 100 are no accident
    assert daily(more).calendar == "24/7"


@pytest.mark.parametrize(
    ("missing", "segments"),
    [
        ((8,), 1),  # a Tuesday: a holiday
        ((7,), 1),  # Monday: a long weekend
        ((4, 7), 1),  # Friday and Monday, as at Easter
        ((8, 9), 2),  # Tuesday and Wednesday
        ((8, 9, 10), 2),  # Tuesday to Thursday
        ((4, 7, 8), 2),  # six days from bar to bar
    ],
)
def test_a_pause_of_a_session_market_is_a_hole_unless_it_is_a_closing(missing, segments):
    stamps = weekdays(30)
    bars = daily(np.setdiff1d(stamps, START_MS + DAY_MS * np.array(missing)), "session")
    assert len(bars.segments) == segments


def test_gold_without_a_tuesday_to_thursday_has_two_segments(shared_data):
    folder = shared_data / "bars/oanda"
    bars = read_folder(folder, timeframe="1h", symbols=["XAUUSD"])["XAUUSD"]
    start = int(np.flatnonzero(np.diff(bars.timestamp) > 2 * DAY_MS)[50]) + 1
    sunday = int(bars.timestamp[start]) // DAY_MS * DAY_MS
    weeks = bars.take(slice(start, start + 400))
    assert len(weeks.segments) == 1
    cut = (weeks.timestamp >= sunday + 2 * DAY_MS) & (weeks.timestamp < sunday + 5 * DAY_MS)
    columns = {name: getattr(weeks, name)[~cut] for name in FIELDS}
    assert len(dataclasses.replace(weeks, **columns).segments) == 2


def test_a_coin_that_trades_on_saturdays_is_cut_at_every_missing_day():
    bars = daily(START_MS + DAY_MS * np.delete(np.arange(30), 7))
    assert bars.calendar == "24/7"
    assert len(bars.segments) == 2


def test_a_given_calendar_is_believed():
    assert daily(weekdays(60), "24/7").calendar == "24/7"
    with pytest.raises(UsageError, match="unknown calendar"):
        daily(weekdays(60), "lunar")


def test_a_slice_keeps_names_provenance_calendar_and_history():
    bars = dataclasses.replace(random_bars(30), history=("mended",))
    part = bars.take(slice(3, 9))
    for name in ("venue", "symbol", "timeframe", "provenance", "calendar", "history"):
        assert getattr(part, name) == getattr(bars, name)
    np.testing.assert_array_equal(part.close, bars.close[3:9])


def test_between_takes_bars_that_open_from_the_first_and_before_the_second():
    bars = random_bars(10)
    part = bars.between(int(bars.timestamp[2]), int(bars.timestamp[5]))
    np.testing.assert_array_equal(part.timestamp, bars.timestamp[2:5])
    assert len(bars.between(None, None)) == 10
    assert len(bars.between(None, int(bars.timestamp[0]))) == 0


def test_a_bar_is_decided_when_it_closes():
    bars = random_bars(3)
    np.testing.assert_array_equal(bars.closes_at, bars.timestamp + 60_000)


def test_the_digest_changes_with_any_value():
    bars = random_bars(10)
    other = dataclasses.replace(bars, volume=bars.volume + 1e-9)
    assert bars.digest() == random_bars(10).digest() != other.digest()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("close", np.nan, "bar 1 .* has close nan, expected a positive number"),
        ("low", -1.0, "bar 1 .* has low -1.0, expected a positive number"),
        ("volume", -1.0, "expected a number of at least 0"),
    ],
)
def test_a_value_that_is_no_price_is_refused(field, value, words):
    bars = bars_from("1 1 1 1\n1 1 1 1\n1 1 1 1")
    values = getattr(bars, field).copy()
    values[1] = value
    with pytest.raises(BarsError, match=words):
        dataclasses.replace(bars, **{field: values})


def test_stamps_that_do_not_rise_are_refused():
    bars = random_bars(4)
    with pytest.raises(BarsError, match=r"bar 2 .* does not come after the bar before it"):
        dataclasses.replace(bars, timestamp=bars.timestamp[[0, 1, 1, 3]])


def test_columns_of_different_length_are_refused():
    with pytest.raises(BarsError, match="3 values in 'close', expected 4"):
        dataclasses.replace(random_bars(4), close=np.ones(3))
