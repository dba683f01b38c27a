"""Newer bars of a span: what becomes of the stored ones that they lack, and what is told of it."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import random_bars
from walkforge.base import BarsError
from walkforge.market import Addition, Bars, BarStore, Rows, Span, bars_to_frame, rows_of_frame
from walkforge.market._lacking import lacking_stamps, stale_stamps

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
    assert (report.rows_differing, back.history) == (0, ())
    np.testing.assert_array_equal(back.close[::10], thin.close)


def corrected(bars: Bars, row: int, **factors: float) -> Bars:
    """Return the bars with single prices of one bar times a factor."""
    changed = {name: getattr(bars, name).copy() for name in factors}
    for name, factor in factors.items():
        changed[name][row] *= factor
    return dataclasses.replace(bars, **changed)


CORRECTIONS = {
    "a high": {"high": 1.0001},
    "two prices": {"high": 1.01, "low": 0.99},
    "all prices alike": dict.fromkeys(("open", "high", "low", "close"), 1.01),
}


@pytest.mark.parametrize("factors", CORRECTIONS.values(), ids=CORRECTIONS.keys())
def test_one_corrected_bar_takes_nothing_away(store, factors):
    lacks = (np.arange(len(DAYS)) > 300) & (np.arange(len(DAYS)) < 343)
    report, back = add(store, corrected(DAYS, 300, **factors).take(~lacks), adjusts=True)
    assert (report.rows_taken_away, report.rows_differing) == (0, 1)
    assert_same(back, corrected(DAYS, 300, **factors))


def test_a_bar_that_was_corrected_hides_no_adjustment(store):
    lacks = (np.arange(len(DAYS)) > 300) & (np.arange(len(DAYS)) < 343)
    halved = corrected(times(DAYS, 0.5), 300, high=1.01).take(~lacks)
    _, back = add(store, halved, adjusts=True)
    assert_same(back, halved)


@pytest.mark.parametrize("factor", [0.25, 1.0])
def test_an_answer_that_shares_no_bar_with_the_past_that_it_speaks_for_is_refused(tmp_path, factor):
    store = BarStore(tmp_path)
    store.write(DAYS.take(slice(0, 400)))
    before = store.manifest("drawn", "RANDOM", "1d")
    with pytest.raises(BarsError) as error:
        add(store, times(DAYS.take(slice(400, None)), factor), adjusts=True)
    words = str(error.value)
    assert words.startswith(f"{tmp_path / 'drawn' / 'RANDOM' / '1d'}: what came lacks 400 stored")
    assert "move that folder away and fetch anew" in words
    assert "\n" not in words
    assert store.manifest("drawn", "RANDOM", "1d") == before


def test_an_answer_of_somebody_else_s_prices_is_refused(store):
    """A ticker that was given away: its days are the same, its prices are of another company."""
    other = random_bars(900, timeframe="1d", seed=77)
    with pytest.raises(BarsError, match="what came lacks 600 stored bars"):
        add(store, other.take(slice(600, None)), adjusts=True)


def test_a_bar_or_two_that_an_answer_without_others_lacks_stay(tmp_path):
    store = BarStore(tmp_path)
    store.write(DAYS.take(slice(0, 2)))
    report, back = add(store, DAYS.take(slice(2, None)), adjusts=True)
    assert report.rows_taken_away == 0
    assert_same(back, DAYS)


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
    stored, new = rows.take(held), adjusted.take(came)
    lacking = lacking_stamps(stored, new, SPAN)
    assert lacking.tolist() == rows.timestamp[held & ~came].tolist()
    if came.any() and not (held & came).any() and len(lacking) > 2:
        with pytest.raises(BarsError, match="no bar that both have tells"):
            stale_stamps(stored, new, lacking, "here")
        return
    stale = stale_stamps(stored, new, lacking, "here")
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
