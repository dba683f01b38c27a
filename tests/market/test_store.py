"""The store holds what was written, adds, never overwrites, and survives a kill."""

import dataclasses
import itertools
import re
import signal
import subprocess
import sys
import textwrap

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import random_bars
from walkforge.base import BarsError, UsageError
from walkforge.market import (
    Addition,
    BarStore,
    Span,
    bars_to_frame,
    check_path,
    data_info,
    import_bars,
    read_folder,
    rows_of_frame,
    simulate,
    spans_left,
)
from walkforge.market._frames import write_parquet

FIELDS = ("timestamp", "open", "high", "low", "close", "volume")


def assert_same_bars(one, other):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def snapshot(folder):
    """The files of a series by name; locks, which stay, are no part of it."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def real(bars):
    return dataclasses.replace(bars, provenance="file")


def test_what_was_written_is_read_with_its_names_provenance_and_history(store):
    bars = dataclasses.replace(random_bars(50, holes_at=(20,)), history=("mended",))
    report = store.write(bars)
    back = store.read("drawn", "RANDOM", "1m")
    assert_same_bars(back, bars)
    for name in ("venue", "symbol", "timeframe", "provenance", "calendar", "history"):
        assert getattr(back, name) == getattr(bars, name)
    assert (report.rows_new, report.rows_total, report.holes) == (50, 50, 1)
    assert report.missing_bars == 10
    assert back.digest() == bars.digest()


def test_the_layout_is_that_of_a_folder_of_bars(store):
    bars = random_bars(50)
    report = store.write(bars)
    assert report.path == store.root / "drawn" / "RANDOM" / "1m"
    assert_same_bars(read_folder(store.root / "drawn", timeframe="1m")["RANDOM"], bars)
    part = store.manifest("drawn", "RANDOM", "1m").parts[0]
    assert re.fullmatch(r"2024-01\.[0-9a-f]{12}\.parquet", part.file)
    schema = pl.read_parquet_schema(report.path / part.file)
    assert schema["timestamp"] == pl.Datetime("ms", "UTC")
    assert list(schema) == list(FIELDS)


def test_simulated_bars_stay_simulated_for_ever(store):
    store.write(simulate("gbm", n_bars=600, timeframe="1m"))
    back = read_folder(store.root / "simulated", timeframe="5m")["SIMUSDT"]
    assert back.take(slice(0, 9)).provenance == "simulated"
    assert data_info(back)["repairs"][-1] == "resampled from 1m"


@settings(max_examples=20, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 59), min_size=2, max_size=4, unique=True), seed=st.integers(0, 9)
)
def test_overlapping_pieces_in_any_order_give_the_whole(cuts, seed, tmp_path_factory):
    bars = random_bars(60, seed, holes_at=(30,))
    store = BarStore(tmp_path_factory.mktemp("store"))
    edges = [0, *sorted(cuts), 60]
    pieces = [slice(max(0, a - 3), b) for a, b in itertools.pairwise(edges)]
    for number in np.random.default_rng(seed).permutation(len(pieces)):
        store.write(bars.take(pieces[number]))
    assert_same_bars(store.read("drawn", "RANDOM", "1m"), bars)


def test_a_bar_that_contradicts_a_stored_one_is_refused_and_nothing_changes(store):
    bars = random_bars(30)
    path = store.write(bars).path
    before = snapshot(path)
    close = bars.close.copy()
    close[25] = bars.low[25]
    other = dataclasses.replace(bars, close=close).take(slice(20, 30))
    with pytest.raises(BarsError, match=r"2024-01-01 00:25: close .* stored is"):
        store.write(other)
    assert snapshot(path) == before


def test_a_volume_that_differs_by_rounding_is_no_contradiction(store):
    bars = random_bars(30)
    store.write(bars)
    report = store.write(dataclasses.replace(bars, volume=np.nextafter(bars.volume, np.inf)))
    assert report.rows_new == 0
    assert_same_bars(store.read("drawn", "RANDOM", "1m"), bars)


def test_a_write_that_adds_nothing_leaves_the_file_alone(store):
    bars = random_bars(30)
    manifest = store.write(bars).path / "manifest.json"
    before = manifest.stat().st_mtime_ns, snapshot(manifest.parent)
    assert store.write(bars.take(slice(5, 20))).rows_new == 0
    assert (manifest.stat().st_mtime_ns, snapshot(manifest.parent)) == before


def test_real_and_simulated_bars_are_never_mixed(store):
    bars = random_bars(30)
    store.write(bars.take(slice(0, 20)))
    with pytest.raises(BarsError, match="stored bars are 'simulated', the new ones 'file'"):
        store.write(real(bars.take(slice(20, 30))))
    assert len(store.read("drawn", "RANDOM", "1m")) == 20


def test_bars_from_an_exchange_and_from_files_join_as_the_weaker_claim(store):
    bars = random_bars(30)
    store.write(dataclasses.replace(bars.take(slice(0, 20)), provenance="exchange"))
    store.write(real(bars.take(slice(20, 30))))
    assert store.read("drawn", "RANDOM", "1m").provenance == "file"


def test_a_series_that_is_not_there_is_named_with_the_nearest(store):
    store.write(random_bars(10))
    with pytest.raises(BarsError, match=r"no bars of drawn/RANDON/1m \(did you mean"):
        store.read("drawn", "RANDON", "1m")


def test_the_list_names_every_series(store):
    store.write(random_bars(10))
    store.write(random_bars(20, symbol="OTHER", timeframe="1h"))
    listed = [(s.symbol, s.timeframe, s.rows, s.provenance) for s in store.list()]
    assert listed == [("OTHER", "1h", 20, "simulated"), ("RANDOM", "1m", 10, "simulated")]
    assert store.list()[1].summary() == (
        "drawn/RANDOM/1m: 10 bars, 2024-01-01 00:00 to 2024-01-01 00:09, simulated"
    )
    assert BarStore(store.root / "nowhere").list() == []


def test_a_write_that_fails_half_way_leaves_the_old_state(store, monkeypatch):
    from pyarrow import parquet

    bars = random_bars(40)
    path = store.write(bars.take(slice(0, 20))).path
    before = snapshot(path)

    def full_disk(table, where, **options):
        where.write_bytes(b"PAR1 half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "write_table", full_disk)
    with pytest.raises(BarsError, match=r"RANDOM/1m: cannot be written: No space left"):
        store.write(bars)
    assert snapshot(path) == before


@pytest.mark.parametrize("moment", ["while writing", "before the rename", "before the manifest"])
def test_a_killed_import_leaves_the_old_state(moment, store, write_csv):
    path = store.write(real(random_bars(20))).path
    before = snapshot(path)
    source = write_csv(
        *(f"2024-01-01 01:{minute:02},100,101,99,100,5" for minute in range(30)),
        name="RANDOM-1m.csv",
    )
    script = textwrap.dedent(f"""
        import os, pathlib, signal
        from pyarrow import parquet
        from walkforge.market import BarStore, import_bars

        def die(*_, **__):
            os.kill(os.getpid(), signal.SIGKILL)

        def write_half(table, where, **options):
            pathlib.Path(where).write_bytes(b"PAR1 half a file")
            die()

        if {moment!r} == "while writing":
            parquet.write_table = write_half
        elif {moment!r} == "before the rename":
            pathlib.Path.replace = die
        else:
            from walkforge.market import _writing
            _writing.write_manifest = die
        store = BarStore(pathlib.Path({str(store.root)!r}))
        import_bars(pathlib.Path({str(source)!r}), store, venue="drawn")
    """)
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    left = snapshot(path)
    assert {name: left[name] for name in before} == before
    assert [series.rows for series in store.list()] == [20]
    assert len(read_folder(store.root / "drawn", timeframe="1m")["RANDOM"]) == 20
    import_bars(source, store, venue="drawn")
    assert len(store.read("drawn", "RANDOM", "1m")) == 50
    assert len(snapshot(path)) == 2  # one part and the manifest: what the kill left is gone


def test_a_foreign_file_in_the_store_counts_as_a_file(store):
    path = store.root / "drawn" / "RANDOM" / "1m.parquet"
    path.parent.mkdir(parents=True)
    bars_to_frame(random_bars(20)).write_parquet(path)
    assert store.read("drawn", "RANDOM", "1m").provenance == "file"
    with pytest.raises(BarsError, match="never mixed"):
        store.write(random_bars(30))


def test_a_series_in_one_file_goes_into_parts_with_all_that_it_tells(store):
    bars = real(random_bars(3000))
    path = store.root / "drawn" / "RANDOM" / "1m.parquet"
    path.parent.mkdir(parents=True)
    told = {
        "provenance": "file",
        "calendar": "24/7",
        "calendar_named": "24/7",
        "history": ["mended"],
        "sources": [{"file": "a.csv", "sha256": "ab", "imported_at": "2024-01-01"}],
    }
    write_parquet(path, bars_to_frame(bars.take(slice(0, 2000))), told)
    assert store.list()[0].rows == 2000
    report = store.write(bars.take(slice(1500, 3000)))
    assert (report.rows_new, report.rows_total) == (1000, 3000)
    assert not path.exists()
    manifest = store.manifest("drawn", "RANDOM", "1m")
    assert manifest.calendar_named == "24/7"
    assert manifest.sources[0]["fetched_at"] == "2024-01-01"
    back = store.read("drawn", "RANDOM", "1m")
    assert_same_bars(back, bars)
    assert back.history == ("mended",)


def test_a_refused_addition_leaves_a_series_in_one_file_as_it_is(store):
    bars = real(random_bars(40))
    path = store.root / "drawn" / "RANDOM" / "1m.parquet"
    path.parent.mkdir(parents=True)
    bars_to_frame(bars).write_parquet(path)
    before = path.read_bytes()
    with pytest.raises(BarsError, match="stored is"):
        store.write(dataclasses.replace(bars, close=bars.open, high=bars.high * 2))
    assert path.read_bytes() == before
    assert not path.with_suffix("").exists()


def test_months_are_parts_and_a_write_touches_its_own_alone(store):
    whole = simulate("gbm", n_bars=24 * 90, timeframe="1h", start="2024-01-01")
    store.write(whole.take(slice(0, 24 * 40)))
    first = {part.file for part in store.manifest("simulated", "SIMUSDT", "1h").parts}
    store.write(whole)
    parts = store.manifest("simulated", "SIMUSDT", "1h").parts
    assert [part.file[:7] for part in parts] == ["2024-01", "2024-02", "2024-03"]
    assert len(first & {part.file for part in parts}) == 1
    assert_same_bars(store.read("simulated", "SIMUSDT", "1h"), whole)


def test_daily_bars_lie_in_years(store):
    whole = simulate("gbm", n_bars=800, timeframe="1d", start="2022-06-01")
    store.write(whole)
    parts = store.manifest("simulated", "SIMUSDT", "1d").parts
    assert [part.file[:5] for part in parts] == ["2022.", "2023.", "2024."]


@settings(max_examples=25, deadline=None)
@given(start=st.integers(-5, 2400), length=st.integers(0, 900))
def test_a_range_reads_what_cutting_the_whole_leaves(start, length, tmp_path_factory):
    store = BarStore(tmp_path_factory.getbasetemp() / "ranges")
    whole = random_bars(2400, symbol="HOLES", holes_at=(700, 1500))
    store.write(whole)
    first_ms = int(whole.timestamp[0]) + start * 60_000
    last_ms = first_ms + length * 60_000
    assert_same_bars(
        store.read("drawn", "HOLES", "1m", start_ms=first_ms, end_ms=last_ms),
        whole.between(first_ms, last_ms),
    )
    lazily = store.scan(
        "drawn", "HOLES", "1m", columns=["close"], start_ms=first_ms, end_ms=last_ms
    )
    assert lazily.collect()["close"].to_list() == whole.between(first_ms, last_ms).close.tolist()


def test_a_part_that_was_cut_short_or_taken_away_is_named(store):
    path = store.write(random_bars(30)).path
    part = path / store.manifest("drawn", "RANDOM", "1m").parts[0].file
    part.write_bytes(part.read_bytes()[:-5])
    with pytest.raises(BarsError, match=rf"{part.name}: SHA-256 .*: damaged"):
        store.read("drawn", "RANDOM", "1m")
    with pytest.raises(BarsError, match=rf"{part.name}: \d+ bytes, expected \d+: damaged"):
        store.scan("drawn", "RANDOM", "1m")
    part.unlink()
    with pytest.raises(BarsError, match="missing, although the manifest names it"):
        store.read("drawn", "RANDOM", "1m")


def test_a_part_whose_bytes_changed_is_refused_and_found_by_a_check(store):
    path = store.write(random_bars(3000)).path
    part = path / store.manifest("drawn", "RANDOM", "1m").parts[0].file
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 1
    part.write_bytes(content)
    with pytest.raises(BarsError, match=rf"{part.name}: SHA-256 .*: damaged"):
        store.read("drawn", "RANDOM", "1m")
    report = check_path(path)[0]
    assert report.findings[0].kind == "damaged"
    assert part.name in report.lines()[0]
    assert not report.usable


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 99}', '{"format": 1, "venue": 3}'])
def test_a_damaged_manifest_is_named_with_the_way_out(text, store):
    path = store.write(random_bars(30)).path
    (path / "manifest.json").write_text(text)
    with pytest.raises(BarsError, match=r"manifest.json: damaged, .* Move the folder away"):
        store.read("drawn", "RANDOM", "1m")


def test_a_bar_issued_anew_takes_the_place_of_the_stored_one(store):
    bars = random_bars(30)
    store.write(bars)
    volume = bars.volume.copy()
    volume[7] += 1
    other = dataclasses.replace(bars, volume=volume)
    assert store.write(other, on_conflict="keep").rows_differing == 1
    assert_same_bars(store.read("drawn", "RANDOM", "1m"), bars)
    assert store.write(other, on_conflict="replace").rows_differing == 1
    assert_same_bars(store.read("drawn", "RANDOM", "1m"), other)


def test_columns_beside_the_five_are_kept_and_empty_where_nobody_knew_them(store):
    bars = random_bars(30)
    store.write(bars.take(slice(0, 10)))
    frame = bars_to_frame(bars).with_columns(raw_close=pl.col("close") * 2)
    addition = Addition(rows=rows_of_frame(frame[5:]), provenance="simulated")
    store.add("drawn", "RANDOM", "1m", addition)
    raw = store.scan("drawn", "RANDOM", "1m", columns=["raw_close"]).collect()["raw_close"]
    assert raw[:5].is_nan().all()
    assert raw[5:].to_list() == (bars.close[5:] * 2).tolist()


def test_what_was_asked_for_is_remembered_by_source_also_where_nothing_was(store):
    bars = random_bars(60, holes_at=(20,))
    first_ms, minute = int(bars.timestamp[0]), 60_000
    whole = Span(first_ms - 10 * minute, first_ms + 100 * minute)
    store.write(bars)
    name = ("drawn", "RANDOM", "1m")
    covered = store.covered(*name, whole, "one")
    assert covered == (
        Span(first_ms, first_ms + 20 * minute),
        Span(first_ms + 30 * minute, first_ms + 70 * minute),
    )
    addition = Addition(
        rows=rows_of_frame(bars_to_frame(bars.take(slice(0, 0)))),
        provenance="simulated",
        asked=(Span(first_ms + 15 * minute, first_ms + 35 * minute),),
        asked_of="one",
    )
    store.add(*name, addition)
    assert store.covered(*name, whole, "one") == (Span(first_ms, first_ms + 70 * minute),)
    assert store.covered(*name, whole, "another") == covered
    assert spans_left([whole], covered)[1] == Span(first_ms + 20 * minute, first_ms + 30 * minute)


def test_a_pause_in_which_a_source_stopped_answering_is_asked_for_again(store):
    """Tuesday is no hole by the calendar of a session; but here nobody ever asked for it."""
    days = simulate("gbm", n_bars=40, timeframe="1d", start="2024-01-01")
    weekdays = np.array([day // 86_400_000 % 7 not in (2, 3) for day in days.timestamp])
    rows = rows_of_frame(bars_to_frame(days).filter(pl.Series(weekdays)))
    monday_ms = int(days.timestamp[14])
    day_ms = 86_400_000
    for kept, span in (
        (rows.timestamp <= monday_ms, Span(0, monday_ms + day_ms)),
        (rows.timestamp >= monday_ms + 2 * day_ms, Span(monday_ms + 2 * day_ms, 2**42)),
    ):
        store.add(
            "simulated",
            "AAA",
            "1d",
            Addition(
                rows=rows.take(kept),
                provenance="simulated",
                calendar="auto",
                asked=(span,),
                asked_of="one",
            ),
        )
    assert store.manifest("simulated", "AAA", "1d").calendar == "session"
    whole = Span(int(rows.timestamp[0]), int(rows.timestamp[-1]))
    missing = spans_left([whole], store.covered("simulated", "AAA", "1d", whole, "one"))
    assert missing == (Span(monday_ms + day_ms, monday_ms + 2 * day_ms),)
    again = store.covered("simulated", "AAA", "1d", whole, "another")
    assert spans_left([whole], again) == missing


def test_files_of_others_in_a_series_folder_stay(store):
    bars = random_bars(60)
    path = store.write(bars.take(slice(0, 30))).path
    own = path / "notes.parquet"
    own.write_bytes(b"mine")
    store.write(bars)
    assert own.read_bytes() == b"mine"
    assert len([file for file in path.iterdir() if file.suffix == ".parquet"]) == 2


def test_parts_that_lost_their_manifest_are_never_cleared_away(store):
    path = store.write(random_bars(30)).path
    (path / "manifest.json").unlink()
    before = snapshot(path)
    with pytest.raises(BarsError, match=r"1 part of a series without its manifest.json. Put that"):
        store.write(random_bars(60).take(slice(40, 60)))
    assert snapshot(path) == before
    other = BarStore(store.root.parent / "rescued")
    import_bars(path, other, venue="drawn")
    back = other.read("drawn", "RANDOM", "1m")
    assert_same_bars(back, random_bars(30))
    assert back.provenance == "simulated"


def test_a_damaged_part_is_not_made_good_by_the_next_write(store):
    bars = random_bars(3000)
    path = store.write(bars.take(slice(0, 2000))).path
    part = path / store.manifest("drawn", "RANDOM", "1m").parts[0].file
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 1
    part.write_bytes(content)
    with pytest.raises(BarsError, match=rf"{part.name}: SHA-256 .*: damaged"):
        store.write(bars)
    assert store.list()[0].rows == 2000


def test_other_columns_of_a_single_file_go_into_the_parts(store):
    bars = real(random_bars(40))
    path = store.root / "drawn" / "RANDOM" / "1m.parquet"
    path.parent.mkdir(parents=True)
    frame = bars_to_frame(bars).with_columns(
        quote_volume=pl.col("close") * pl.col("volume"), trades=pl.int_range(pl.len())
    )
    frame[:30].write_parquet(path)
    store.write(bars)
    assert not path.exists()
    trades = store.scan("drawn", "RANDOM", "1m", columns=["trades"]).collect()["trades"]
    assert trades[:30].to_list() == list(range(30))
    kept = store.scan("drawn", "RANDOM", "1m", columns=["quote_volume"]).collect()["quote_volume"]
    assert kept[:30].to_list() == frame["quote_volume"][:30].to_list()
    assert kept[30:].is_nan().all()
    with pytest.raises(UsageError, match="did you mean 'quote_volume'"):
        store.scan("drawn", "RANDOM", "1m", columns=["quote_volum"])


def test_a_single_file_with_more_than_numbers_stays_where_it_is(store):
    bars = real(random_bars(40))
    path = store.root / "drawn" / "RANDOM" / "1m.parquet"
    path.parent.mkdir(parents=True)
    bars_to_frame(bars)[:30].with_columns(note=pl.lit("a word")).write_parquet(path)
    store.write(bars)
    assert len(store.read("drawn", "RANDOM", "1m")) == 40
    assert pl.read_parquet(path)["note"][0] == "a word"


def test_weeks_keep_the_calendar_that_was_said(store):
    weeks = simulate("gbm", n_bars=60, timeframe="1w", start="2024-01-01")
    store.write(weeks.take(slice(0, 30)))
    store.write(weeks)
    assert store.read("simulated", "SIMUSDT", "1w").calendar == "24/7"


def test_a_kill_before_the_single_file_goes_leaves_it_to_the_next_writer(store, monkeypatch):
    bars = real(random_bars(40))
    path = store.root / "drawn" / "RANDOM" / "1m.parquet"
    path.parent.mkdir(parents=True)
    bars_to_frame(bars.take(slice(0, 30))).write_parquet(path)
    content = path.read_bytes()
    store.write(bars)
    path.write_bytes(content)  # as if the kill had come before it went
    store.write(bars)
    assert not path.exists()
    bars_to_frame(random_bars(5)).write_parquet(path)  # somebody's own
    store.write(bars)
    assert path.exists()


def test_a_calendar_that_only_the_bars_tell_is_settled_with_the_first_write(store):
    days = simulate("gbm", n_bars=60 * 24, timeframe="1h", start="2024-01-01")
    hours = days.timestamp // 3_600_000
    session = (hours % 24 >= 14) & (hours % 24 < 21) & ~np.isin(hours // 24 % 7, (2, 3))
    rows = rows_of_frame(bars_to_frame(days).filter(pl.Series(session)))
    addition = Addition(rows=rows, provenance="simulated", calendar="auto")
    store.add("simulated", "AAA", "1h", addition)
    week = store.read("simulated", "AAA", "1h", start_ms=int(rows.timestamp[20]),
                      end_ms=int(rows.timestamp[60]))  # fmt: skip
    assert (week.calendar, len(week.segments)) == ("session", 1)


def test_what_a_file_issued_anew_no_longer_has_is_kept_and_counted(store):
    bars = random_bars(30)
    store.write(bars)
    keep = np.delete(np.arange(30), [7, 8])
    rows = rows_of_frame(bars_to_frame(bars)).take(keep)
    addition = Addition(
        rows=rows, provenance="simulated", on_conflict="replace", reason="it came again"
    )
    store.add("drawn", "RANDOM", "1m", addition)
    back = store.read("drawn", "RANDOM", "1m")
    assert_same_bars(back, bars)
    assert back.history == ("2 bars kept that are not in it: it came again",)
