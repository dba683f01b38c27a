"""What is missing is fetched, all of it and once; whatever goes wrong, nothing stored is lost."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import START_MS, random_bars
from forked import begin
from served import Quiet, ServedBars
from sources import killed_fetch
from walkforge.base import BarsError, FetchError, SourceUnreachableError
from walkforge.market import (
    Addition,
    BarStore,
    Span,
    bars_from_frame,
    bars_to_frame,
    rows_of_frame,
    spans_left,
)
from walkforge.sources import Delivery, fetch, make_plan, plan_repairs
from walkforge.sources._arrivals import Arrivals

MINUTE_MS = 60_000
FIELDS = ("timestamp", "open", "high", "low", "close", "volume")
EVERYTHING = Span(START_MS - 5000 * MINUTE_MS, START_MS + 100_000 * MINUTE_MS)


@pytest.fixture
def bars():
    return random_bars(600, symbol="AAAUSDT", holes_at=(200,))


@pytest.fixture
def store(tmp_path):
    return BarStore(tmp_path / "store")


def bring(source, store, span=EVERYTHING, watcher=None):
    series = [(symbol, "1m") for symbol in source.bars]
    plans = make_plan(source, store, series, lambda *_: span)
    return fetch(source, store, plans, watcher=watcher or Quiet())


def assert_stored(store, bars):
    back = store.read("drawn", bars.symbol, "1m")
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(back, name), getattr(bars, name), err_msg=name)
    return back


def test_what_is_served_is_stored_to_the_bit_and_told_with_its_source(bars, store):
    report = bring(ServedBars(bars), store)
    back = assert_stored(store, bars)
    assert (report.ok, back.provenance, back.calendar) == (True, "exchange", "24/7")
    assert report.series["AAAUSDT/1m"].rows_new == 600
    manifest = store.manifest("drawn", "AAAUSDT", "1m")
    assert manifest.sources[0]["source"] == "served"
    assert manifest.sources[0]["rows"] == 600
    assert {part.sources for part in manifest.parts} == {("served",)}


def test_fetching_again_asks_for_nothing_holes_and_the_time_before_the_first_bar_included(
    bars, store
):
    source = ServedBars(bars)
    bring(source, store)
    before = len(source.asked)
    watcher = Quiet()
    report = bring(source, store, watcher=watcher)
    assert len(source.asked) == before
    assert report.ok
    assert watcher.said == [("planned", "AAAUSDT/1m")]


def test_only_what_is_missing_is_asked_for(bars, store):
    store.write(dataclasses.replace(bars.take(slice(100, 200)), provenance="exchange"))
    source = ServedBars(bars, piece_bars=50)
    bring(source, store)
    assert_stored(store, bars)
    assert not {"AAAUSDT-2", "AAAUSDT-3"} & set(source.asked)


def test_a_piece_that_fails_is_told_and_the_next_fetch_brings_it(bars, store):
    source = ServedBars(bars)
    source.broken["AAAUSDT-3"] = FetchError("served: checksum differs")
    watcher = Quiet()
    report = bring(source, store, watcher=watcher)
    assert not report.ok
    assert [(one.piece, one.reason) for one in report.failed] == [
        ("AAAUSDT-3", "served: checksum differs")
    ]
    assert ("failed", "AAAUSDT-3") in watcher.said
    assert len(store.read("drawn", "AAAUSDT", "1m")) == 550  # the hole lies in this piece
    source.broken.clear()
    source.asked.clear()
    assert bring(source, store).ok
    assert source.asked == ["AAAUSDT-3"]
    assert_stored(store, bars)


def test_a_source_out_of_reach_ends_the_fetch_and_keeps_what_came(bars, store):
    source = ServedBars(bars, piece_bars=10, pause_s=0.01)
    source.connections = 1
    source.broken["AAAUSDT-7"] = SourceUnreachableError("served: connection refused")
    report = bring(source, store)
    assert report.stopped == "served: connection refused"
    assert not report.failed
    assert len(source.asked) < 20
    assert 70 <= len(store.read("drawn", "AAAUSDT", "1m")) <= 100  # one may have been under way
    source.broken.clear()
    assert bring(source, store).ok
    assert_stored(store, bars)


def test_ctrl_c_stores_what_came_and_closes_the_source(bars, store):
    source = ServedBars(bars, piece_bars=10)

    class Impatient(Quiet):
        def fetched(self, plan, piece, received_bytes):
            super().fetched(plan, piece, received_bytes)
            if len(self.said) == 10:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(source, store, watcher=Impatient())
    assert source.closed
    stored = store.read("drawn", "AAAUSDT", "1m")
    assert 0 < len(stored) < len(bars)
    again = ServedBars(bars, piece_bars=10)
    assert bring(again, store).ok
    assert len(again.asked) < 61
    assert_stored(store, bars)


def test_a_piece_issued_anew_takes_the_place_of_what_it_brought_before(bars, store):
    source = ServedBars(bars)
    source.versions["AAAUSDT-1"] = "one"
    bring(source, store)
    close = bars.close.copy()
    close[70] = bars.high[70]
    source.bars["AAAUSDT"] = mended = dataclasses.replace(bars, close=close)
    assert bring(source, store).series["AAAUSDT/1m"].pieces == 0
    source.versions["AAAUSDT-1"] = "two"
    report = bring(source, store)
    assert report.series["AAAUSDT/1m"].rows_differing == int(close[70] != bars.close[70]) == 1
    back = assert_stored(store, mended)
    assert back.history == ("1 bar replaced: AAAUSDT-1 came again",)
    assert bring(source, store).series["AAAUSDT/1m"].pieces == 0


def test_bars_that_differ_from_stored_ones_are_passed_over_and_counted(bars, store):
    other = dataclasses.replace(bars, volume=bars.volume + 1, provenance="exchange")
    store.write(other.take(slice(30, 40)))
    report = bring(ServedBars(bars), store)
    assert report.series["AAAUSDT/1m"].rows_differing == 10
    back = store.read("drawn", "AAAUSDT", "1m")
    np.testing.assert_array_equal(back.volume[30:40], other.volume[30:40])
    np.testing.assert_array_equal(back.volume[40:], bars.volume[40:])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda frame: frame.with_columns(high=pl.col("low") * 0.9), "high"),
        (lambda frame: frame.with_columns(close=pl.lit(float("nan"))), "finite"),
        (lambda frame: frame.reverse(), "opens before"),
        (lambda frame: frame.with_columns(pl.col("timestamp").dt.offset_by("1h")), "expected"),
    ],
    ids=["broken OHLC", "no number", "unsorted", "another hour"],
)
def test_bars_that_break_a_rule_are_refused_and_the_others_stored(spoil, words, bars, store):
    source = ServedBars(bars)
    source.broken["AAAUSDT-5"] = spoil
    report = bring(source, store)
    assert words in report.failed[0].reason
    assert len(store.read("drawn", "AAAUSDT", "1m")) == 540


def test_a_full_disk_is_one_line_and_leaves_what_was_there(bars, store, monkeypatch):
    from pyarrow import parquet

    bring(ServedBars(bars.take(slice(0, 100))), store)
    before = store.read("drawn", "AAAUSDT", "1m").digest()

    def full_disk(table, where, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(parquet, "write_table", full_disk)
        with pytest.raises(BarsError, match="cannot be written: No space left on device"):
            bring(ServedBars(bars), store)
    assert store.read("drawn", "AAAUSDT", "1m").digest() == before
    assert bring(ServedBars(bars), store).ok
    assert_stored(store, bars)


def test_two_fetches_at_once_leave_every_bar_once(bars, store):
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(bring, ServedBars(bars, piece_bars=7, pause_s=0.0005), store)
            for _ in range(2)
        ]
    assert all(one.result().ok for one in both)
    assert_stored(store, bars)
    manifest = store.manifest("drawn", "AAAUSDT", "1m")
    there = {path.name for path in store.path("drawn", "AAAUSDT", "1m").iterdir()}
    assert there == {"manifest.json", *(part.file for part in manifest.parts)}


def test_a_reader_beside_a_writer_sees_whole_states_alone(bars, store):
    """States are the beginnings of the series: pieces come one by one, in time order."""
    source = ServedBars(bars, piece_bars=10)
    source.connections = 1
    bring(ServedBars(bars.take(slice(0, 10))), store)
    expected = {bars.take(slice(0, n)).digest(): n for n in range(10, 601)}
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(_one_by_one, source, store)
        seen = []
        while not writing.done():
            digest = store.read("drawn", "AAAUSDT", "1m").digest()
            seen.append(expected[digest])
        writing.result()
    assert seen == sorted(seen)
    assert len(set(seen)) > 3


def _one_by_one(source, store):
    for minutes in range(20, 620, 20):
        bring(source, store, Span(START_MS, START_MS + minutes * MINUTE_MS))


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_fetch_killed_at_any_moment_leaves_a_whole_store(data, tmp_path_factory):
    """Fifty kills at moments spread over a fetch; after the last one a fetch completes the work."""
    root = tmp_path_factory.getbasetemp() / "killed"
    whole = killed_fetch.served().bars
    after_s = data.draw(st.floats(0.1, 0.6))
    child = begin(killed_fetch.run, root)
    time.sleep(after_s)
    child.kill()
    child.join()
    store = BarStore(root)
    for one in store.list():
        stored = store.read(one.venue, one.symbol, one.timeframe)
        rows = np.searchsorted(whole[one.symbol].timestamp, stored.timestamp)
        assert bars_to_frame(stored).equals(bars_to_frame(whole[one.symbol])[rows])
        assert one.rows == len(stored)
    if data.draw(st.booleans()):
        return
    killed_fetch.run(root)
    for bars in whole.values():
        assert_stored(store, bars)
    import shutil

    shutil.rmtree(root)


def test_one_series_that_cannot_be_stored_stops_no_other(bars, store):
    store.write(dataclasses.replace(bars.take(slice(0, 10)), provenance="simulated"))
    other = random_bars(300, seed=5, symbol="BBBUSDT")
    report = bring(ServedBars(bars, other), store)
    assert [(one.series, "never mixed" in one.reason) for one in report.failed] == [
        ("AAAUSDT/1m", True)
    ]
    assert_stored(store, other)


def test_one_series_that_cannot_be_planned_stops_no_other(bars, store):
    source = ServedBars(bars)
    series = [("ZZZUSDT", "1m"), ("AAAUSDT", "1m")]
    source.bars["ZZZUSDT"] = bars
    pieces = source.pieces

    def refuses(symbol, timeframe, **words):
        if symbol == "ZZZUSDT":
            raise FetchError("served: a split since")
        return pieces(symbol, timeframe, **words)

    source.pieces = refuses
    plans = make_plan(source, store, series, lambda *_: EVERYTHING)
    assert [plan.problem for plan in plans] == ["served: a split since", ""]
    report = fetch(source, store, plans)
    assert [(one.series, one.reason) for one in report.failed] == [
        ("ZZZUSDT/1m", "served: a split since")
    ]
    assert_stored(store, bars)


def test_a_source_out_of_reach_ends_the_planning_and_is_let_go(bars, store):
    source = ServedBars(bars)

    def refuses(*_, **__):
        raise SourceUnreachableError("served: connection refused")

    source.pieces = refuses
    with pytest.raises(SourceUnreachableError):
        make_plan(source, store, [("AAAUSDT", "1m")], lambda *_: EVERYTHING)
    assert source.closed


@pytest.mark.parametrize("slow", ["AAAUSDT-0", "AAAUSDT-1"])
def test_of_two_pieces_issued_anew_the_later_in_the_plan_counts(slow, bars, store):
    """They overlap, as a month and one of its days do; which comes first is left to chance."""
    bring(ServedBars(bars), store)
    source = ServedBars(bars, piece_bars=700)

    def anew(volume):
        return dataclasses.replace(bars, volume=bars.volume + volume)

    month = source.pieces("AAAUSDT", "1m", wanted=EVERYTHING, missing=[EVERYTHING], files={})[0]
    both = [
        dataclasses.replace(month, name=f"AAAUSDT-{number}", version="2", replaces=True)
        for number in range(2)
    ]

    def fetch_one(piece, halt):
        time.sleep(0.1 if piece.name == slow else 0.0)
        frame = bars_to_frame(anew(int(piece.name[-1]) + 1))
        return Delivery(piece=piece, frame=frame, answered_to_ms=piece.span.end_ms)

    source.pieces, source.fetch = (lambda *_, **__: both), fetch_one
    assert bring(source, store).ok
    np.testing.assert_array_equal(store.read("drawn", "AAAUSDT", "1m").volume, anew(2).volume)


class Impatient(Quiet):
    """Stands for Ctrl-C at the moment when a piece has come."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def fetched(self, plan, piece, received_bytes):
        if piece.name == self._name:
            raise KeyboardInterrupt


@pytest.mark.parametrize("trouble", [FetchError("served: 503"), None], ids=["it fails", "Ctrl-C"])
def test_what_was_issued_anew_is_not_stored_before_what_it_stands_over(trouble, bars, store):
    """Otherwise the next fetch would put the earlier one, a month, over the later one, its day."""
    bring(ServedBars(bars), store)
    source = ServedBars(bars, piece_bars=700)
    month = source.pieces("AAAUSDT", "1m", wanted=EVERYTHING, missing=[EVERYTHING], files={})[0]
    both = [
        dataclasses.replace(month, name=name, version="2", replaces=True)
        for name in ("month", "day")
    ]
    troubled = True

    def fetch_one(piece, halt):
        if troubled and piece.name == "month":
            if trouble is not None:
                raise trouble
            halt.wait(60)
        volume = bars.volume + 1 + (piece.name == "day")
        frame = bars_to_frame(dataclasses.replace(bars, volume=volume))
        return Delivery(piece=piece, frame=frame, answered_to_ms=piece.span.end_ms)

    source.pieces, source.fetch = (lambda *_, **__: both), fetch_one
    if trouble is None:
        with pytest.raises(KeyboardInterrupt):
            bring(source, store, watcher=Impatient("day"))
    else:
        month_failed, day_waits = bring(source, store).failed
        assert (month_failed.piece, day_waits.piece) == ("month", "day")
        assert "day: came, but it goes over month, which is not stored" in day_waits.reason
    stored = store.read("drawn", "AAAUSDT", "1m")
    manifest = store.manifest("drawn", "AAAUSDT", "1m")
    assert "day" not in manifest.files_of("served")
    assert not np.array_equal(stored.volume, bars.volume + 2)
    troubled = False
    assert bring(source, store).ok
    stored = store.read("drawn", "AAAUSDT", "1m")
    np.testing.assert_array_equal(stored.volume, bars.volume + 2)


def test_a_series_of_which_no_bar_comes_is_told(bars, store):
    source = ServedBars(bars)
    for number in range(11):
        source.broken[f"AAAUSDT-{number}"] = lambda frame: None
    report = bring(source, store)
    assert [(one.series, one.piece) for one in report.failed] == [("AAAUSDT/1m", "")]
    assert report.failed[0].reason.startswith("no bars from ")
    source.broken["AAAUSDT-3"] = FetchError("served: 503")
    assert [one.reason for one in bring(source, store).failed] == ["served: 503"]
    source.broken["AAAUSDT-3"] = SourceUnreachableError("served: banned")
    report = bring(source, store)
    assert (report.failed, report.stopped) == ([], "served: banned")


def test_pieces_without_a_bar_are_remembered_once_there_is_a_series(bars, store):
    source = ServedBars(bars)
    plan, *_ = make_plan(source, store, [("AAAUSDT", "1m")], lambda *_: EVERYTHING)
    arrivals = Arrivals(source, store, plan)
    empty, *others = [source.fetch(piece, Event()) for piece in plan.pieces]
    arrivals.take(empty.piece, dataclasses.replace(empty, frame=None))
    assert list(arrivals.store()) == []
    for delivery in others:
        arrivals.take(delivery.piece, delivery)
    assert [report.rows_new for report in arrivals.store()] == [540]
    before = Span(EVERYTHING.start_ms, empty.piece.span.end_ms)
    assert spans_left([before], store.manifest("drawn", "AAAUSDT", "1m").asked["served"]) == ()


def test_pieces_of_one_fetch_that_contradict_each_other_are_counted(bars, store):
    source = ServedBars(bars)
    source.broken["AAAUSDT-1"] = lambda frame: bars_to_frame(
        bars.take(slice(55, 120))
    ).with_columns(volume=pl.col("volume") + 1)
    pieces = source.pieces

    def wider(*names, **words):
        return [
            dataclasses.replace(one, span=Span(one.span.start_ms - 5 * MINUTE_MS, one.span.end_ms))
            if one.name == "AAAUSDT-1"
            else one
            for one in pieces(*names, **words)
        ]

    source.pieces = wider
    assert bring(source, store).series["AAAUSDT/1m"].rows_differing == 5


def test_a_repair_asks_for_holes_alone_and_nothing_twice(bars, store):
    source = ServedBars(bars)
    source.versions = {f"AAAUSDT-{number}": "one" for number in range(11)}
    thinned = bars_to_frame(bars).filter(pl.int_range(pl.len()).is_between(430, 449).not_())
    store.add(
        "drawn", "AAAUSDT", "1m", Addition(rows=rows_of_frame(thinned), provenance="exchange")
    )
    plans = plan_repairs(source, store, [("AAAUSDT", "1m")])
    assert fetch(source, store, plans).ok
    back = store.read("drawn", "AAAUSDT", "1m")
    assert back.digest() == bars.digest()
    assert set(source.asked) == {"AAAUSDT-3", "AAAUSDT-7"}  # a true hole, and the one to mend


def test_an_unlucky_fetch_completes_whatever_failed_before(store):
    """Session hours, pieces that fail at random: what is missing is asked for until it is there."""
    whole = random_bars(40 * 24 * 60, symbol="AAAUSDT")
    minutes = whole.timestamp // MINUTE_MS
    weekend = np.isin(minutes // 1440 % 7, (2, 3))
    traded = (minutes % 1440 >= 870) & (minutes % 1440 < 1260) & ~weekend
    session = bars_from_frame(
        bars_to_frame(whole).filter(pl.Series(traded)),
        venue="drawn", symbol="AAAUSDT", timeframe="1m", provenance="exchange",
    )  # fmt: skip
    assert session.calendar == "session"
    random = np.random.default_rng(3)
    for _ in range(12):
        source = ServedBars(session, piece_bars=997)
        source.calendar = "auto"
        for number in range(60):
            if random.random() < 0.5:
                source.broken[f"AAAUSDT-{number}"] = FetchError("bad luck")
        bring(source, store)
    source = ServedBars(session, piece_bars=997)
    source.calendar = "auto"
    assert bring(source, store).ok
    assert_stored(store, session)
    source.asked.clear()
    assert bring(source, store).ok
    assert source.asked == []


def test_reissued_pieces_are_stored_as_they_come_also_where_the_source_stops(bars, store):
    whole = ServedBars(bars, piece_bars=10)
    whole.versions = {f"AAAUSDT-{number}": "one" for number in range(61)}
    bring(whole, store)
    mended = dataclasses.replace(bars, volume=bars.volume + 1)
    again = ServedBars(mended, piece_bars=10, pause_s=0.005)
    again.connections = 1
    again.versions = {f"AAAUSDT-{number}": "two" for number in range(61)}
    again.broken["AAAUSDT-20"] = SourceUnreachableError("served: banned")
    assert bring(again, store).stopped
    volume = store.read("drawn", "AAAUSDT", "1m").volume
    np.testing.assert_array_equal(volume[:200], mended.volume[:200])
    again.broken.clear()
    again.asked.clear()
    assert bring(again, store).ok
    assert "AAAUSDT-0" not in again.asked
    assert_stored(store, mended)


def test_a_part_that_is_gone_stops_no_other_series(bars, store):
    other = random_bars(300, seed=5, symbol="BBBUSDT")
    source = ServedBars(bars, other)
    bring(ServedBars(bars.take(slice(0, 300)), other.take(slice(0, 100))), store)
    for part in store.path("drawn", "AAAUSDT", "1m").glob("2024*.parquet"):
        part.unlink()
    report = bring(source, store)
    assert [(one.series, "missing, although" in one.reason) for one in report.failed] == [
        ("AAAUSDT/1m", True)
    ]
    assert_stored(store, other)


def test_what_is_stored_is_told_also_where_another_piece_is_refused(bars, store, monkeypatch):
    pieces = ["AAAUSDT-0", "AAAUSDT-1"]
    before, mended = ServedBars(bars), ServedBars(dataclasses.replace(bars, volume=bars.volume + 1))
    before.versions, mended.versions = dict.fromkeys(pieces, "one"), dict.fromkeys(pieces, "two")
    bring(before, store, Span(EVERYTHING.start_ms, int(bars.timestamp[120])))
    add = BarStore.add

    def refuse_the_first(store, venue, symbol, timeframe, addition):
        if addition.reason.startswith("AAAUSDT-0"):
            raise BarsError("a part of it is damaged")
        return add(store, venue, symbol, timeframe, addition)

    with monkeypatch.context() as patched:
        patched.setattr(BarStore, "add", refuse_the_first)
        report = bring(mended, store)
    assert [one.reason for one in report.failed] == ["a part of it is damaged"]
    series = report.series["AAAUSDT/1m"]
    assert (series.rows_new, series.rows_differing) == (480, 60)
    stored = store.read("drawn", "AAAUSDT", "1m").volume - bars.volume
    np.testing.assert_allclose(stored, np.repeat([0.0, 1.0], [60, 540]))
    mended.asked.clear()
    assert bring(mended, store).ok
    assert mended.asked == ["AAAUSDT-0"]


def come_again(source, frame, **told):
    """Let all bars come at once in the place of the stored ones, and be these."""
    piece = source.pieces("AAAUSDT", "1m", wanted=EVERYTHING, missing=[EVERYTHING], files={})[0]
    source.pieces = lambda *_, **__: [dataclasses.replace(piece, replaces=True, **told)]
    source.broken[piece.name] = lambda _: frame


@pytest.mark.parametrize("n_before", [300, 0], ids=["a later span before", "the same span"])
def test_an_adjusted_past_that_lacks_a_bar_takes_it_away(bars, store, n_before):
    """A bar that stayed would stand at prices of before the dividend."""
    begins = Span(int(bars.timestamp[n_before]), EVERYTHING.end_ms)
    bring(ServedBars(bars, piece_bars=10), store, begins)
    source = ServedBars(bars, piece_bars=700)
    lacking = (
        bars_to_frame(bars)
        .with_columns(pl.col("open", "high", "low", "close") * 0.5)
        .filter(pl.int_range(pl.len()).is_in([305, 599]).not_())
    )
    come_again(source, lacking, whole=True)
    report = bring(source, store)
    assert report.ok
    back = store.read("drawn", "AAAUSDT", "1m")
    assert bars_to_frame(back).equals(lacking)
    assert "2 bars taken away that are not in it: AAAUSDT-0 came again" in back.history
    series = report.series["AAAUSDT/1m"]
    assert series.as_dict()["rows_taken_away"] == 2
    assert (
        "; 2 stored ones taken away: they did not come at the prices of today" in series.summary()
    )


@pytest.mark.parametrize("n_left", [0, 590])
def test_a_piece_issued_anew_that_lacks_bars_at_its_end_or_all_is_told(bars, store, n_left):
    bring(ServedBars(bars), store)
    source = ServedBars(bars, piece_bars=700)
    come_again(source, bars_to_frame(bars)[:n_left] if n_left else None)
    assert bring(source, store).ok
    back = assert_stored(store, bars)
    told = f"{600 - n_left} bars kept that are not in it: AAAUSDT-0 came again"
    assert back.history == (told,)
