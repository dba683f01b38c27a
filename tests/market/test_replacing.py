"""Newer bars of a span: what becomes of the stored ones that they lack, and what is told of it."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import random_bars
from walkforge.market import Addition, Bars, BarStore, Rows, Span, bars_to_frame, rows_of_frame
from walkforge.market._lacking import lacking_stamps

DAY_MS = 86_400_000
DAYS = random_bars(900, timeframe="1d")
SPAN = Span(int(DAYS.timestamp[0]) - 400 * DAY_MS, int(DAYS.timestamp[-1]) + DAY_MS)
YEAR = DAYS.timestamp.astype("datetime64[ms]").astype("datetime64[Y]").astype(int) + 1970
# The last day of each year and the first of the next.
AT_EDGES = np.append(np.diff(YEAR) > 0, False) | np.insert(np.diff(YEAR) > 0, 0, False)


@pytest.fixture
def store(tmp_path):
    store = BarStore(tmp_path)
    store.write(DAYS)
    return store


def times(bars: Bars, factor) -> Bars:
    prices = ("open", "high", "low", "close")
    return dataclasses.replace(bars, **{name: getattr(bars, name) * factor for name in prices})


def replacement(bars: Bars | None, *, adjusts: bool, speaks_for: Span | None = SPAN) -> Addition:
    return Addition(
        rows=Rows.none() if bars is None else rows_of_frame(bars_to_frame(bars)),
        provenance="simulated",
        on_conflict="replace",
        speaks_for=speaks_for,
        adjusts=adjusts,
        reason="it came again",
    )


def add(store: BarStore, bars: Bars | None, **told):
    """Return the report of a replacement, and the bars as they are then."""
    report = store.add("drawn", "RANDOM", "1d", replacement(bars, **told))
    return report, store.read("drawn", "RANDOM", "1d")


def assert_same(one: Bars, other: Bars) -> None:
    assert bars_to_frame(one).equals(bars_to_frame(other))


@pytest.mark.parametrize(
    "lacks",
    [AT_EDGES, YEAR == 2024, YEAR == 2025, YEAR == 2026],
    ids=["days at the ends of years", "the first year", "a year in the middle", "the last year"],
)
def test_an_adjusted_past_leaves_no_bar_at_the_prices_of_before(store, lacks):
    halved = times(DAYS, 0.5).take(~lacks)
    report, back = add(store, halved, adjusts=True)
    assert_same(back, halved)
    assert report.rows_taken_away == lacks.sum()
    assert back.history == (
        f"{(~lacks).sum()} bars replaced: it came again",
        f"{lacks.sum()} bars taken away that are not in it: it came again",
    )
    assert [one.rows for one in store.list()] == [len(halved)]


def test_a_thin_answer_at_the_same_prices_takes_nothing_away(store):
    noise = np.where(np.arange(len(DAYS)) % 2, 1 - 4e-7, 1 + 4e-7)
    thin = times(DAYS, noise).take(np.arange(0, len(DAYS), 10))
    report, back = add(store, thin, adjusts=True)
    assert (report.rows_taken_away, len(back)) == (0, len(DAYS))
    assert not any("taken away" in line for line in back.history)


def test_an_answer_without_bars_takes_nothing_away(store):
    report, back = add(store, None, adjusts=True)
    assert (report.rows_taken_away, back.history) == (0, ())
    assert_same(back, DAYS)


def test_a_dividend_takes_away_only_what_lies_before_it(store):
    paid_at = 500
    lacks = np.isin(np.arange(len(DAYS)), [10, 365, paid_at - 1, paid_at + 1, 800])
    adjusted = times(DAYS, np.where(np.arange(len(DAYS)) < paid_at, 0.99, 1.0))
    report, back = add(store, adjusted.take(~lacks), adjusts=True)
    lost = lacks & (np.arange(len(DAYS)) < paid_at)
    assert_same(back, adjusted.take(~lost))
    assert report.rows_taken_away == 3


@given(
    st.lists(st.booleans(), min_size=20, max_size=20),
    st.lists(st.booleans(), min_size=20, max_size=20),
    st.integers(0, 20),
)
@settings(max_examples=200, deadline=None)
def test_no_price_of_before_stays_where_any_bar_tells_that_prices_changed(held, came, paid_at):
    before = np.arange(20) < paid_at
    rows = rows_of_frame(bars_to_frame(DAYS.take(slice(0, 20))))
    adjusted = rows_of_frame(bars_to_frame(times(DAYS.take(slice(0, 20)), 1 - 0.01 * before)))
    held, came = np.array(held), np.array(came)
    lacking, stale = lacking_stamps([rows.take(held)], adjusted.take(came), SPAN)
    assert lacking.tolist() == rows.timestamp[held & ~came].tolist()
    if (held & came & before).any():
        assert set(rows.timestamp[held & ~came & before]) <= set(stale)
    else:
        assert not len(stale)


def test_a_file_issued_anew_that_lacks_bars_or_all_of_them_is_told_with_their_number(store):
    """What it lacks may be its own loss, so that the bars stay."""
    year = DAYS.take(YEAR == 2025)
    span = Span(int(year.timestamp[0]), int(year.timestamp[-1]) + DAY_MS)
    _, back = add(store, year.take(slice(0, -3)), adjusts=False, speaks_for=span)
    assert_same(back, DAYS)
    assert back.history == ("3 bars kept that are not in it: it came again",)
    _, back = add(store, None, adjusts=False, speaks_for=span)
    assert_same(back, DAYS)
    assert back.history[1:] == ("365 bars kept that are not in it: it came again",)


def test_the_same_replacement_three_times_stands_in_the_history_three_times(store):
    for factor in (1.01, 1.02, 1.03):
        add(store, times(DAYS, factor), adjusts=True)
    _, back = add(store, None, adjusts=True)
    assert back.history == ("900 bars replaced: it came again",) * 3


def test_what_an_import_tells_of_its_bars_is_told_once(store):
    mended = dataclasses.replace(DAYS, history=("mended",))
    for _ in range(2):
        store.write(mended)
    assert store.read("drawn", "RANDOM", "1d").history == ("mended",)
