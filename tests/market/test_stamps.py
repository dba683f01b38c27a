"""Stamps of every form come out as the same milliseconds."""

import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforge.base import BarsError
from walkforge.market import bars_from_frame
from walkforge.market._stamps import read_stamps

START_MS = 1_704_067_200_000
FACTORS = {"s": 1 / 1000, "ms": 1, "us": 1000, "ns": 1_000_000}
SOME_TIME_S = st.integers(631_152_000 // 60 + 1, 4_102_444_800 // 60 - 20).map(lambda m: m * 60)


def stamps_of(column: pl.Series) -> np.ndarray:
    prices = {name: pl.Series([100.0] * len(column)) for name in ("open", "high", "low", "close")}
    frame = pl.DataFrame({"timestamp": column, **prices, "volume": [1.0] * len(column)})
    return bars_from_frame(frame, venue="v", symbol="S", timeframe="1m").timestamp


def minutes(n: int, start_ms: int = START_MS) -> np.ndarray:
    return start_ms + 60_000 * np.arange(n)


@settings(max_examples=25, deadline=None)
@given(start_s=SOME_TIME_S, unit=st.sampled_from(sorted(FACTORS)), as_text=st.booleans())
def test_the_unit_of_a_number_is_told_from_its_size(start_s, unit, as_text):
    expected = minutes(5, start_s * 1000)
    numbers = pl.Series((expected // 1000 if unit == "s" else expected * FACTORS[unit]).astype(int))
    column = numbers.cast(pl.String) if as_text else numbers
    np.testing.assert_array_equal(stamps_of(column), expected)


@settings(max_examples=25, deadline=None)
@given(start_s=SOME_TIME_S, one=st.sampled_from(sorted(FACTORS)), row=st.integers(1, 4))
def test_one_stamp_of_another_unit_is_always_found(start_s, one, row):
    ms = minutes(5, start_s * 1000)
    other = "ms" if one != "ms" else "us"
    numbers = [int(value * FACTORS[one]) for value in ms]
    numbers[row] = int(ms[row] * FACTORS[other])
    with pytest.raises(BarsError, match=rf"row {row} has timestamp \d+ in {other}, expected {one}"):
        stamps_of(pl.Series(numbers))


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%d %H:%M:%S+00:00",
        "%Y-%m-%dT%H:%M:%S.000Z",
        "%Y-%m-%d %H:%M:%S.000000",
        "%Y-%m-%d %H:%M:%S UTC",
        "%Y-%m-%d %H:%M",
        "  %Y-%m-%d %H:%M:%S  ",
    ],
)
def test_iso_text_is_read_in_its_usual_forms(form):
    times = [datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC) for ms in minutes(4)]
    text = pl.Series([time.strftime(form) for time in times])
    np.testing.assert_array_equal(stamps_of(text), minutes(4))


def test_forms_may_change_within_a_file_and_in_any_order():
    texts = [
        "2024-01-01", "2024-01-01 00:01", "2024-01-01T00:02:00", "2024-01-01 00:03:00.000",
        "2024-01-01T00:04Z", "2024-01-01 02:05:00+02:00", "2024-01-01T00:06:00.000 UTC",
    ]  # fmt: skip
    for first in range(len(texts)):
        expected = pl.Series(np.roll(minutes(7), -first))
        read = read_stamps(pl.Series(texts[first:] + texts[:first]), str)
        assert (read.problems, read.ms.to_list()) == ((), expected.to_list())


def test_text_with_an_offset_is_brought_to_utc():
    text = pl.Series(["2024-01-01T02:00:00+02:00", "2024-01-01T02:01:00+02:00"])
    np.testing.assert_array_equal(stamps_of(text), minutes(2))


def test_typed_times_are_read_whatever_their_unit_and_zone():
    times = pl.Series(minutes(4)).cast(pl.Datetime("ms"))
    for column in (
        times,
        times.dt.cast_time_unit("ns"),
        times.dt.replace_time_zone("UTC"),
        times.dt.cast_time_unit("us")
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone("Asia/Tokyo"),
    ):
        np.testing.assert_array_equal(stamps_of(column), minutes(4))


def test_seconds_as_floats_are_read_and_parts_of_a_second_are_not():
    whole = pl.Series(minutes(3) / 1000)
    np.testing.assert_array_equal(stamps_of(whole), minutes(3))
    np.testing.assert_array_equal(stamps_of(whole.cast(pl.String)), minutes(3))
    with pytest.raises(BarsError, match="row 1 has timestamp"):
        stamps_of(whole + pl.Series([0.0, 0.25, 0.0]))


def test_parts_of_a_millisecond_are_refused():
    with pytest.raises(BarsError, match=r"row 1 has timestamp .*, expected whole milliseconds"):
        stamps_of(pl.Series(minutes(3) * 1000 + np.array([0, 5, 0])))
    times = pl.Series(minutes(3) * 1000 + np.array([0, 0, 7])).cast(pl.Datetime("us"))
    with pytest.raises(BarsError, match=r"row 2 has the time .*, expected whole milliseconds"):
        stamps_of(times)


def test_numbers_among_text_and_text_among_numbers_are_refused():
    with pytest.raises(BarsError, match="row 1 has timestamp '1704067260000'"):
        stamps_of(pl.Series(["2024-01-01 00:00", "1704067260000"]))
    with pytest.raises(BarsError, match="row 1 has timestamp '2024-01-01 00:01'"):
        stamps_of(pl.Series(["1704067200000", "2024-01-01 00:01"]))


def test_old_stock_prices_with_typed_times_or_text_are_welcome():
    text = pl.Series(["1962-01-02", "1962-01-03", "1970-01-05"])
    days = np.array(["1962-01-02", "1962-01-03", "1970-01-05"], dtype="datetime64[ms]")
    for column in (text, text.str.to_date()):
        np.testing.assert_array_equal(stamps_of(column), days.astype(np.int64))
