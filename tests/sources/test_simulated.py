"""A simulated market is fetched like any other, and goes on as it began."""

from threading import Event

import numpy as np
import polars as pl
import pytest

from served import Quiet
from walkforge.base import UsageError, parse_utc_ms
from walkforge.market import SIMULATED_MARKETS, BarStore, Span, read_folder, resample, simulate
from walkforge.sources import fetch, make_plan, make_source
from walkforge.sources._simulated import simulated

HOUR_MS = 3_600_000
START_MS = parse_utc_ms("2023-01-01")
FIELDS = ("timestamp", "open", "high", "low", "close", "volume")


def hours(first: int, last: int) -> Span:
    return Span(START_MS + first * HOUR_MS, START_MS + last * HOUR_MS)


def bring(source, store, span, symbol="ANYTHING"):
    plans = make_plan(source, store, [(symbol, "1h")], lambda *_: span)
    report = fetch(source, store, plans, watcher=Quiet())
    assert report.ok
    return plans[0], store.read("simulated", symbol, "1h")


def goes_on(source, store):
    """Return what comes after the stored hours."""
    held = store.manifest("simulated", "ANYTHING", "1h").files_of("simulated")
    span = hours(500, 600)
    return source.pieces("ANYTHING", "1h", wanted=span, missing=[span], files=held)


@pytest.mark.parametrize("kind", SIMULATED_MARKETS)
def test_fetched_bars_are_the_market_itself_and_never_lose_their_provenance(kind, tmp_path):
    source = simulated(kind=kind, seed=3, since_ms=START_MS)
    _, bars = bring(source, BarStore(tmp_path), hours(0, 300))
    made = simulate(kind, n_bars=300, seed=3, symbol="ANYTHING", start="2023-01-01")
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(bars, name), getattr(made, name))
    assert (bars.provenance, bars.calendar) == ("simulated", "24/7")
    assert resample(bars, "4h").provenance == "simulated"


def test_a_later_fetch_continues_the_same_market(tmp_path):
    store = BarStore(tmp_path)
    bring(simulated(since_ms=START_MS), store, hours(0, 100))
    plan, bars = bring(simulated(since_ms=START_MS), store, hours(0, 250))
    assert [piece.span for piece in plan.pieces] == [hours(100, 250)]
    made = simulate("garch", n_bars=250, symbol="ANYTHING", start="2023-01-01")
    np.testing.assert_array_equal(bars.close, made.close)
    again, _ = bring(simulated(since_ms=START_MS), store, hours(0, 250))
    assert again.pieces == ()


def test_a_range_in_the_middle_is_that_part_of_the_market(tmp_path):
    _, bars = bring(simulated(since_ms=START_MS), BarStore(tmp_path), hours(40, 60))
    made = simulate("garch", n_bars=60, symbol="ANYTHING", start="2023-01-01")
    np.testing.assert_array_equal(bars.close, made.close[40:])


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "gbm", "since_ms": START_MS},
        {"seed": 1, "since_ms": START_MS},
        {"since_ms": START_MS - HOUR_MS},
        {"kind": "planted", "edge": 0.1, "since_ms": START_MS},
        {"seed": 7},
        {"kind": "regimes"},
    ],
)
def test_a_market_does_not_go_on_under_another_law(other, tmp_path):
    store = BarStore(tmp_path)
    bring(simulated(since_ms=START_MS), store, hours(0, 50))
    with pytest.raises(
        UsageError,
        match=r"simulated/ANYTHING/1h: the stored bars are 'garch seed 0 from 2023-01-01 00:00', ",
    ):
        goes_on(simulated(**other), store)


@pytest.mark.parametrize("kind", ["planted", "markov", "gbm"])
def test_what_nobody_names_is_as_it_was_stored(kind, tmp_path):
    store = BarStore(tmp_path)
    bring(simulated(kind=kind, seed=5, edge=0.1234567, since_ms=START_MS), store, hours(0, 50))
    plan, bars = bring(simulated(), store, hours(0, 200))
    assert [piece.span for piece in plan.pieces] == [hours(50, 200)]
    words = {"seed": 5, "symbol": "ANYTHING", "start": "2023-01-01", "edge": 0.1234567}
    np.testing.assert_array_equal(bars.close, simulate(kind, n_bars=200, **words).close)
    bring(simulated(kind=kind), store, hours(0, 210))
    bring(simulated(seed=5), store, hours(0, 220))
    with pytest.raises(UsageError, match=rf"the stored bars are '{kind} seed 5 .*are 'garch seed"):
        goes_on(simulated(kind="garch"), store)


def test_each_symbol_goes_on_under_its_own_law(tmp_path):
    store = BarStore(tmp_path)
    bring(simulated(kind="planted", since_ms=START_MS), store, hours(0, 50), symbol="ONE")
    bring(simulated(seed=3, since_ms=START_MS), store, hours(0, 50), symbol="OTHER")
    source = simulated()
    _, one = bring(source, store, hours(0, 90), symbol="ONE")
    _, other = bring(source, store, hours(0, 90), symbol="OTHER")
    _, new = bring(source, store, hours(0, 90), symbol="NEW")
    made = simulate("planted", n_bars=90, symbol="ONE", start="2023-01-01")
    np.testing.assert_array_equal(one.close, made.close)
    made = simulate("garch", n_bars=90, seed=3, symbol="OTHER", start="2023-01-01")
    np.testing.assert_array_equal(other.close, made.close)
    made = simulate("garch", n_bars=30_000, symbol="NEW")
    np.testing.assert_array_equal(new.close, made.between(START_MS, int(new.closes_at[-1])).close)


@pytest.mark.parametrize("weekday", range(7))
def test_weeks_begin_on_monday_and_nothing_is_asked_for_twice(weekday, tmp_path):
    store, source = BarStore(tmp_path), simulated(since_ms=START_MS)
    monday_ms = parse_utc_ms("2023-03-06")
    span = Span(START_MS, monday_ms + weekday * 24 * HOUR_MS + HOUR_MS)
    for n_pieces in (1, 0):
        plans = make_plan(source, store, [("A", "1w")], lambda *_: span)
        assert len(plans[0].pieces) == n_pieces
        assert fetch(source, store, plans, watcher=Quiet()).ok
    bars = store.read("simulated", "A", "1w")
    assert [int(bars.timestamp[0]), int(bars.closes_at[-1])] == [
        parse_utc_ms("2023-01-02"),
        monday_ms,
    ]


@pytest.mark.parametrize(
    ("timeframe", "others", "way"),
    [
        ("1d", ["1h"], "stored or asked for too: 1h; fetch the shortest alone, readers make"),
        ("1h", ["1d"], "stored or asked for too: 1d; fetch it alone, as another symbol or into "),
        ("4h", ["3m", "1h"], "too: 3m, 1h; fetch the shortest alone"),
        ("1w", ["8h", "1d"], "too: 8h, 1d; fetch the shortest alone"),
        ("6h", ["4h"], "too: 4h; fetch it alone"),
    ],
)
def test_a_symbol_is_one_market_of_one_timeframe(timeframe, others, way):
    with pytest.raises(UsageError, match=f"^simulated/A/{timeframe}: a simulated symbol is one .*"
                       f" of one timeframe; .*{way}"):  # fmt: skip
        simulated().refuse_beside("A", timeframe, others)
    simulated().refuse_beside("A", timeframe, [])


def problems(store, *series):
    plans = make_plan(simulated(since_ms=START_MS), store, series, lambda *_: hours(0, 2400))
    return [bool(plan.problem) for plan in plans], plans


def test_no_second_timeframe_is_fetched_beside_a_stored_or_asked_one(tmp_path):
    store = BarStore(tmp_path)
    for order in (("1h", "1d"), ("1d", "1h")):
        found, plans = problems(store, *(("A", timeframe) for timeframe in order), ("B", "1d"))
        assert found == [True, True, False]
        assert all(not plan.pieces for plan in plans[:2])
    bring(simulated(since_ms=START_MS), store, hours(0, 1200), symbol="A")
    found, plans = problems(store, ("A", "1d"), ("A", "1h"), ("A", "30m"), ("B", "1d"))
    assert found == [True, False, True, False]
    assert "too: 30m, 1h; fetch the shortest alone" in plans[0].problem
    made = read_folder(tmp_path / "simulated", timeframe="1d")["A"]
    hourly = store.read("simulated", "A", "1h")
    assert len(made) == 50
    np.testing.assert_array_equal(made.close, hourly.close[23::24])


def test_the_edge_belongs_to_the_law_of_markets_that_have_one():
    span = hours(0, 5)

    def law(**given):
        source = simulated(since_ms=START_MS, **given)
        return source.pieces("A", "1h", wanted=span, missing=[span], files={})[0].version

    assert law(kind="markov") == "markov seed 0 edge 0.5 from 2023-01-01 00:00"
    assert law(kind="planted", edge=0.25) != law(kind="planted", edge=0.3)
    assert law(kind="gbm", edge=0.25) == law(kind="gbm")


def test_bars_begin_at_the_start_and_end_where_they_are_over():
    source = simulated(since_ms=START_MS + 10 * HOUR_MS)
    assert source.first_ms("A", "1h") == START_MS + 10 * HOUR_MS
    assert source.first_ms("A", "1d") == START_MS
    assert source.first_ms("A", "1w") == parse_utc_ms("2022-12-26")
    span = Span(START_MS, START_MS + 12 * HOUR_MS + 1)
    (piece,) = source.pieces("A", "1h", wanted=span, missing=[span], files={})
    delivery = source.fetch(piece, Event())
    assert len(delivery.frame) == 2
    assert delivery.answered_to_ms == START_MS + 12 * HOUR_MS
    assert delivery.frame.schema["timestamp"] == pl.Datetime("ms", "UTC")


def test_before_the_start_there_are_no_bars():
    source = simulated(since_ms=START_MS)
    span = hours(-20, -10)
    (piece,) = source.pieces("A", "1h", wanted=span, missing=[span], files={})
    delivery = source.fetch(piece, Event())
    assert (delivery.frame, delivery.answered_to_ms) == (None, span.end_ms)


def test_any_name_is_a_symbol_and_each_has_its_own_noise(tmp_path):
    source, store = simulated(since_ms=START_MS), BarStore(tmp_path)
    assert (source.listings(), source.name_of("BTC/USDT")) == ([], "BTC-USDT")
    _, one = bring(source, store, hours(0, 50), symbol="ONE")
    _, other = bring(source, store, hours(0, 50), symbol="OTHER")
    assert one.digest() != other.digest()


def test_nonsense_is_refused_when_the_source_is_made():
    with pytest.raises(UsageError, match=r"unknown simulated market 'gach' \(did you mean 'garch'"):
        simulated(kind="gach")
    with pytest.raises(UsageError, match=r"edge 3\.0 is impossible"):
        simulated(kind="planted", edge=3.0)
    with pytest.raises(UsageError, match=r"edge 1\.9 is more than the 8 states"):
        simulated(kind="markov", edge=1.9)
    with pytest.raises(UsageError, match="unknown timeframe '1x'"):
        simulated().first_ms("A", "1x")


def test_it_is_found_by_its_name():
    source = make_source("simulated", law={"kind": "regimes", "seed": 4})
    assert (source.name, source.venue, source.provenance) == ("simulated",) * 3
    assert source.first_ms("A", "1h") == parse_utc_ms("2020-01-01")
