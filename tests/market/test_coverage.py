"""What bars cover: shares of bins, strips of characters, spans in a run's facts, stored series."""

import dataclasses
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import START_MS, random_bars
from walkforge.base import BarsError, UsageError, utc_text
from walkforge.market import (
    Bars,
    BarStore,
    Span,
    bars_to_frame,
    coverage,
    coverage_strip,
    data_info,
    series_info,
)

_MINUTE_MS = 60_000
_DAY_MS = 86_400_000

spans_lists = st.lists(
    st.tuples(st.integers(-20, 150), st.integers(1, 60)).map(lambda t: Span(t[0], t[0] + t[1])),
    max_size=6,
)


def daily(days, **more):
    """Return bars of a day each that open so many days after a Monday."""
    stamps = START_MS + np.array(days, dtype=np.int64) * _DAY_MS
    ones = np.ones(len(stamps))
    names = {"venue": "drawn", "symbol": "DAILY", "timeframe": "1d"}
    return Bars(
        timestamp=stamps, open=ones, high=ones, low=ones, close=ones, volume=ones, **names, **more
    )


@settings(max_examples=200, deadline=None)
@given(spans=spans_lists, start=st.integers(-30, 60), length=st.integers(1, 120), data=st.data())
def test_shares_are_those_of_counting_every_millisecond(spans, start, length, data):
    n_bins = data.draw(st.integers(1, length))
    covered = {ms for one in spans for ms in range(one.start_ms, one.end_ms)}
    edges = [start + length * k // n_bins for k in range(n_bins + 1)]
    slow = [len(covered & set(range(a, b))) / (b - a) for a, b in pairwise(edges)]
    fast = coverage(spans, Span(start, start + length), n_bins)
    np.testing.assert_array_equal(fast, slow)


def test_a_bin_that_lacks_a_millisecond_of_a_decade_is_not_full_and_one_that_has_one_not_empty():
    decade = 3650 * _DAY_MS
    within = Span(START_MS, START_MS + 2 * decade)
    middle = START_MS + decade
    almost = [Span(START_MS, middle - 1), Span(middle, middle + 1)]
    assert coverage_strip(coverage(almost, within, 2)) == "▓░"
    whole = [Span(START_MS, middle), Span(middle, middle + decade)]
    assert coverage_strip(coverage(whole, within, 2)) == "██"
    assert coverage_strip(coverage([], within, 2)) == "  "


def test_a_strip_grows_darker_with_the_share():
    fracs = np.array([0.0, 1e-12, 0.3, 0.5, 0.7, 1 - 1e-12, 1.0])
    assert coverage_strip(fracs) == " ░░▒▓▓█"


@pytest.mark.parametrize("n_bins", [0, -1, 11])
def test_bins_without_a_length_are_refused(n_bins):
    with pytest.raises(UsageError, match=f"{n_bins} bins of 10 ms"):
        coverage([], Span(0, 10), n_bins)


def test_a_runs_facts_name_the_first_and_last_bar_of_every_stretch():
    bars = random_bars(50, holes_at=(20, 35))
    info = data_info(bars)
    named = [(one.start, one.stop - 1) for one in bars.segments]
    assert info["spans"] == [
        [utc_text(int(bars.timestamp[a])), utc_text(int(bars.timestamp[b]))] for a, b in named
    ]
    assert info["spans_joined"] == 0
    empty = data_info(bars.take(slice(0, 0)))
    assert (empty["spans"], empty["spans_joined"]) == ([], 0)


def test_of_many_holes_the_longest_200_stretches_stay():
    steps = np.cumsum(1 + np.where(np.arange(600) % 2 == 1, np.arange(600) % 37 + 1, 0))
    bars = dataclasses.replace(
        random_bars(600), timestamp=START_MS + steps * _MINUTE_MS, calendar="24/7"
    )
    info = data_info(bars)
    assert len(info["spans"]) == 200
    assert info["spans_joined"] == info["holes"]["count"] - 199
    shown = [
        np.datetime64(after[0]) - np.datetime64(before[1])
        for before, after in pairwise(info["spans"])
    ]
    pauses = np.sort(np.diff(bars.timestamp))[::-1][:199]
    assert sorted(pause.astype("timedelta64[ms]").astype(int) for pause in shown) == sorted(pauses)


@pytest.mark.parametrize(("calendar", "weeks"), [("session", "██▓ ▓"), ("24/7", "▓▓▓ ▓")])
def test_weekends_are_covered_in_a_session_market_and_holes_in_one_that_never_closes(
    store, calendar, weeks
):
    days = [day for day in range(35) if day % 7 < 5 and not 21 <= day < 28]
    store.write(daily(days, calendar=calendar))
    info = series_info(store.list()[0])
    within = Span(START_MS, START_MS + 35 * _DAY_MS)
    assert coverage_strip(coverage(info.spans, within, 5)) == weeks
    assert len(info.holes) == {"session": 1, "24/7": 3}[calendar]  # the last is the week off


@pytest.mark.parametrize("in_parts", [True, False])
def test_what_is_known_of_a_stored_series_is_what_its_bars_say(tmp_path, in_parts):
    bars = dataclasses.replace(
        random_bars(60_000, holes_at=(300, 45_000)), history=("mended",), provenance="file"
    )
    store = BarStore(tmp_path)
    if in_parts:
        store.write(bars)
    else:
        path = tmp_path / "drawn" / "RANDOM" / "1m.parquet"
        path.parent.mkdir(parents=True)
        bars_to_frame(bars).write_parquet(path)
    [stored] = store.list()
    info, facts = series_info(stored), data_info(bars)
    plain = info.as_dict()
    assert plain["spans"] == facts["spans"]
    assert plain["holes"]["all"] == sorted(facts["holes"]["largest"], key=lambda h: h["after"])
    assert plain["holes"]["missing_bars"] == info.missing_bars == 20
    assert plain["rows"] == len(bars)
    assert plain["calendar"] == "24/7"
    assert plain["history"] == (["mended"] if in_parts else [])
    assert plain["columns"] == ["open", "high", "low", "close", "volume"]


def test_no_price_is_looked_at(tmp_path):
    bars = random_bars(30)
    path = tmp_path / "drawn" / "RANDOM" / "1m.parquet"
    path.parent.mkdir(parents=True)
    bars_to_frame(bars).with_columns(close=pl.lit("text")).write_parquet(path)
    [stored] = BarStore(tmp_path).list()
    assert series_info(stored).spans == (Span(START_MS, START_MS + 30 * _MINUTE_MS),)


def test_a_damaged_part_is_named(store):
    path = store.write(random_bars(30)).path
    [part] = path.glob("*.parquet")
    part.write_bytes(b"x" * part.stat().st_size)
    with pytest.raises(BarsError, match="damaged"):
        series_info(store.list()[0])


def test_an_empty_file_is_named(tmp_path):
    path = tmp_path / "drawn" / "RANDOM" / "1m.parquet"
    path.parent.mkdir(parents=True)
    store = BarStore(tmp_path)
    bars_to_frame(random_bars(3)).write_parquet(path)
    [stored] = store.list()
    bars_to_frame(random_bars(3).take(slice(0, 0))).write_parquet(path)
    with pytest.raises(BarsError, match="no bars in it"):
        series_info(stored)
