"""A folder of files is a source: what is new in it or changed is fetched, and nothing twice."""

import dataclasses
import os
import shutil
from pathlib import Path
from threading import Event

import numpy as np
import polars as pl
import pytest

from drawn import random_bars
from served import Quiet
from walkforge.base import BarsError, FetchError, UsageError, parse_utc_ms
from walkforge.market import (
    BarStore,
    Span,
    bars_to_frame,
    export_bars,
    read_bars_file_frame,
    simulate,
)
from walkforge.sources import fetch, make_plan, make_source
from walkforge.sources._files import files

FIELDS = ("timestamp", "open", "high", "low", "close", "volume")
YEARS = Span(parse_utc_ms("2010-01-01"), parse_utc_ms("2026-01-01"))


def bring(source, store, series):
    plans = make_plan(source, store, [series], lambda *_: YEARS)
    return plans[0], fetch(source, store, plans, watcher=Quiet())


def pieces_of(source, symbol, timeframe, span=YEARS, missing=None, known=None):
    missing = [span] if missing is None else missing
    return source.pieces(symbol, timeframe, wanted=span, missing=missing, files=known or {})


@pytest.fixture
def downloads(shared_data, tmp_path):
    """Return a folder of real downloads: two months as CSV, and a day as a zip."""
    folder = tmp_path / "downloads"
    shutil.copytree(shared_data / "raw/binance_spot", folder / "spot")
    return folder


def write_csv(path, bars):
    path.parent.mkdir(parents=True, exist_ok=True)
    bars_to_frame(bars).write_csv(path)
    return path


def test_real_downloads_come_to_the_bit_and_only_once(downloads, shared_data, tmp_path):
    store = BarStore(tmp_path / "store")
    plan, report = bring(files(downloads, venue="binance"), store, ("BTCUSDT", "1h"))
    assert report.ok
    assert [piece.name for piece in plan.pieces] == [
        f"{downloads}/spot/BTCUSDT-1h-2023-01.csv",
        f"{downloads}/spot/BTCUSDT-1h-2023-02.csv",
        f"{downloads}/spot/BTCUSDT-1h-2024-10-28.zip",
    ]
    stored = store.read("binance", "BTCUSDT", "1h")
    known = pl.read_parquet(shared_data / "bars/binance/BTCUSDT/1h.parquet")
    served = known.filter(pl.col("timestamp").is_in(bars_to_frame(stored)["timestamp"].implode()))
    assert len(stored) == len(served) == (31 + 28 + 1) * 24
    for name in FIELDS[1:5]:
        np.testing.assert_array_equal(getattr(stored, name), served[name])
    # The shared volumes of the day were summed in another order.
    np.testing.assert_allclose(stored.volume, served["volume"], rtol=1e-15)
    assert (stored.provenance, stored.venue) == ("file", "binance")
    again, _ = bring(files(downloads, venue="binance"), store, ("BTCUSDT", "1h"))
    assert again.pieces == ()


def test_a_files_span_is_the_month_or_day_of_its_name_else_that_of_its_bars(tmp_path):
    bars = random_bars(48, symbol="AAAUSDT")
    start_ms = int(bars.timestamp[0])
    write_csv(tmp_path / "AAAUSDT-1m-2024-01.csv", bars)
    write_csv(tmp_path / "BBBUSDT-1m-2024-01-01.csv", bars)
    write_csv(tmp_path / "CCCUSDT-1m.csv", bars)
    source = files(tmp_path, venue="drawn")
    spans = [pieces_of(source, f"{name}USDT", "1m")[0].span for name in ("AAA", "BBB", "CCC")]
    assert spans == [
        Span(parse_utc_ms("2024-01-01"), parse_utc_ms("2024-02-01")),
        Span(parse_utc_ms("2024-01-01"), parse_utc_ms("2024-01-02")),
        Span(start_ms, start_ms + 48 * 60_000),
    ]
    assert source.first_ms("CCCUSDT", "1m") == start_ms
    assert [one.symbol for one in source.listings()] == ["AAAUSDT", "BBBUSDT", "CCCUSDT"]


def test_a_month_of_december_ends_with_the_year(tmp_path):
    write_csv(tmp_path / "AAAUSDT-1m-2023-12.csv", random_bars(5))
    (piece,) = pieces_of(files(tmp_path, venue="drawn"), "AAAUSDT", "1m")
    assert piece.span.end_ms == parse_utc_ms("2024-01-01")


def test_a_new_file_is_fetched_and_a_changed_one_takes_the_place_of_its_bars(tmp_path):
    store, folder = BarStore(tmp_path / "store"), tmp_path / "in"
    bars = random_bars(100, symbol="AAAUSDT")
    first = write_csv(folder / "AAAUSDT-1m-part1.csv", bars.take(slice(0, 60)))
    bring(files(folder, venue="drawn"), store, ("AAAUSDT", "1m"))
    write_csv(folder / "AAAUSDT-1m-part2.csv", bars.take(slice(60, 100)))
    plan, _ = bring(files(folder, venue="drawn"), store, ("AAAUSDT", "1m"))
    assert [(piece.name, piece.replaces) for piece in plan.pieces] == [
        (f"{folder}/AAAUSDT-1m-part2.csv", False)
    ]
    assert len(store.read("drawn", "AAAUSDT", "1m")) == 100
    frame = bars_to_frame(bars.take(slice(0, 60))).with_columns(volume=pl.col("volume") + 1.0)
    frame.write_csv(first)
    os.utime(first, ns=(1, 1))
    plan, report = bring(files(folder, venue="drawn"), store, ("AAAUSDT", "1m"))
    assert [(piece.name, piece.replaces) for piece in plan.pieces] == [(str(first), True)]
    assert report.ok
    stored = store.read("drawn", "AAAUSDT", "1m")
    np.testing.assert_allclose(stored.volume[:60], bars.volume[:60] + 1)
    np.testing.assert_array_equal(stored.volume[60:], bars.volume[60:])


def test_a_changed_file_that_waits_for_a_damaged_one_is_named(tmp_path):
    store, folder = BarStore(tmp_path / "store"), tmp_path / "in"
    bars = random_bars(100, symbol="AAAUSDT")
    whole = write_csv(folder / "AAAUSDT-1m-2024-01.csv", bars)
    part = write_csv(folder / "AAAUSDT-1m-part.csv", bars.take(slice(20, 30)))
    bring(files(folder, venue="drawn"), store, ("AAAUSDT", "1m"))
    bars_to_frame(bars.take(slice(20, 30))).with_columns(volume=pl.lit(7.0)).write_csv(part)
    text = whole.read_text()
    whole.write_text("garbage\n1\n")
    for path in (whole, part):
        os.utime(path, ns=(1, 1))
    _, report = bring(files(folder, venue="drawn"), store, ("AAAUSDT", "1m"))
    damaged, waiting = report.failed
    assert (damaged.piece, waiting.piece) == (str(whole), str(part))
    assert f"it goes over {whole}, which is not stored" in waiting.reason
    whole.write_text(text)
    _, report = bring(files(folder, venue="drawn"), store, ("AAAUSDT", "1m"))
    assert report.ok
    assert set(store.read("drawn", "AAAUSDT", "1m").volume[20:30]) == {7.0}


def test_a_hole_is_filled_from_new_files_and_no_file_is_read_twice(tmp_path):
    folder, bars = tmp_path / "in", random_bars(100, symbol="AAAUSDT")
    holed = bars.take(np.r_[0:30, 60:100])
    write_csv(folder / "AAAUSDT-1m.csv", holed)
    source, store = files(folder, venue="drawn"), BarStore(tmp_path / "store")
    bring(source, store, ("AAAUSDT", "1m"))
    hole = Span(int(bars.timestamp[30]), int(bars.timestamp[60]))
    held = store.manifest("drawn", "AAAUSDT", "1m").files_of("files")
    assert pieces_of(source, "AAAUSDT", "1m", hole, known=held) == []
    more = write_csv(folder / "AAAUSDT-1m-more.csv", bars.take(slice(30, 60)))
    found = pieces_of(files(folder, venue="drawn"), "AAAUSDT", "1m", hole, known=held)
    assert [(piece.name, piece.replaces) for piece in found] == [(str(more), False)]


def test_of_another_folder_a_file_of_the_same_name_adds_its_bars(tmp_path, monkeypatch):
    store, bars = BarStore(tmp_path / "store"), random_bars(100, symbol="AAAUSDT")
    write_csv(tmp_path / "one/AAAUSDT-1m.csv", bars.take(slice(0, 60)))
    overlapping = bars_to_frame(bars.take(slice(50, 100))).with_columns(pl.col("volume") + 1.0)
    (tmp_path / "two").mkdir()
    overlapping.write_csv(tmp_path / "two/AAAUSDT-1m.csv")
    bring(files(tmp_path / "one", venue="drawn"), store, ("AAAUSDT", "1m"))
    plan, report = bring(files(tmp_path / "two", venue="drawn"), store, ("AAAUSDT", "1m"))
    assert [piece.replaces for piece in plan.pieces] == [False]
    assert report.series["AAAUSDT/1m"].rows_new == 40
    assert report.series["AAAUSDT/1m"].rows_differing == 10
    stored = store.read("drawn", "AAAUSDT", "1m")
    np.testing.assert_array_equal(stored.volume[:60], bars.volume[:60])
    np.testing.assert_array_equal(stored.volume[60:], bars.volume[60:] + 1)
    # Both are known from now on, however their folder is written.
    monkeypatch.chdir(tmp_path / "one")
    for folder in (".", "../two"):
        again, _ = bring(files(Path(folder), venue="drawn"), store, ("AAAUSDT", "1m"))
        assert again.pieces == ()


def test_a_folder_that_moved_is_compared_again_and_nothing_is_lost(tmp_path):
    store, bars = BarStore(tmp_path / "store"), random_bars(100, symbol="AAAUSDT")
    write_csv(tmp_path / "one/AAAUSDT-1m.csv", bars)
    bring(files(tmp_path / "one", venue="drawn"), store, ("AAAUSDT", "1m"))
    (tmp_path / "one").rename(tmp_path / "two")
    plan, report = bring(files(tmp_path / "two", venue="drawn"), store, ("AAAUSDT", "1m"))
    assert [piece.replaces for piece in plan.pieces] == [False]
    assert (report.series["AAAUSDT/1m"].rows_new, report.ok) == (0, True)
    assert store.read("drawn", "AAAUSDT", "1m").digest() == bars.digest()


def test_files_outside_of_what_is_wanted_are_left_alone(downloads):
    source = files(downloads, venue="binance")
    february = Span(parse_utc_ms("2023-02-01"), parse_utc_ms("2023-03-01"))
    names = [piece.name for piece in pieces_of(source, "BTCUSDT", "1h", february)]
    assert names == [f"{downloads}/spot/BTCUSDT-1h-2023-02.csv"]
    (piece,) = pieces_of(source, "BTCUSDT", "1h", february)
    known = {piece.name: piece.version}
    assert pieces_of(source, "BTCUSDT", "1h", february, missing=[], known=known) == []


def test_a_delivery_tells_digest_and_checksum(shared_data):
    source = files(shared_data / "raw/binance_um", venue="binance_um")
    (piece,) = pieces_of(source, "NEARUSDT", "1m")
    delivery = source.fetch(piece, Event())
    assert len(delivery.frame) == 28 * 1440
    assert delivery.entry["checksum_agreed"]
    assert delivery.entry["sha256"].startswith("79c89524cd59")
    assert delivery.received_bytes == piece.size_bytes == 1_288_168
    assert delivery.answered_to_ms == piece.span.end_ms


def stored_parquet(folder, bars):
    BarStore(folder).write(bars)
    return folder


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_exported_simulated_bars_stay_simulated(form, tmp_path):
    store = BarStore(tmp_path / "store")
    bars = random_bars(50, symbol="AAAUSDT")
    store.write(bars)
    export_bars([store.read("drawn", "AAAUSDT", "1m")], tmp_path / "out", form=form)
    source = files(tmp_path / "out", venue="mine")
    assert source.provenance == "simulated"
    assert bring(source, store, ("AAAUSDT", "1m"))[1].ok
    back = store.read("mine", "AAAUSDT", "1m")
    assert (back.provenance, back.digest()) == ("simulated", bars.digest())


def test_simulated_bars_stay_simulated_when_their_files_are_copied(tmp_path):
    folder = stored_parquet(tmp_path / "one", simulate("regimes", n_bars=50, symbol="AAAUSDT"))
    source, store = files(folder, venue="elsewhere"), BarStore(tmp_path / "store")
    assert source.provenance == "simulated"
    assert bring(source, store, ("AAAUSDT", "1h"))[1].ok
    stored = store.read("elsewhere", "AAAUSDT", "1h")
    assert (stored.provenance, len(stored)) == ("simulated", 50)
    write_csv(folder / "AAAUSDT-1h-more.csv", random_bars(5))
    with pytest.raises(BarsError, match="its files are file and simulated; these are never mixed"):
        _ = files(folder, venue="elsewhere").provenance


def test_what_is_said_to_be_real_is_only_a_file_beside_files(tmp_path):
    bars = dataclasses.replace(random_bars(50, symbol="AAAUSDT"), provenance="exchange")
    folder = stored_parquet(tmp_path / "one", bars)
    assert files(folder, venue="v").provenance == "exchange"
    write_csv(folder / "AAAUSDT-1m-more.csv", bars)
    assert files(folder, venue="v").provenance == "file"


def test_symbols_may_be_written_as_elsewhere(tmp_path):
    write_csv(tmp_path / "BTC_USDT-15m.csv", random_bars(5, timeframe="15m"))
    source = files(tmp_path, venue="drawn")
    assert [source.name_of(name) for name in ("BTC/USDT", "btc-usdt", "BTCUSDT")] == [
        "BTC_USDT"
    ] * 3
    assert pieces_of(source, "BTC/USDT", "15m")[0].symbol == "BTC_USDT"


def test_what_is_not_there_is_named(downloads, tmp_path):
    source = files(downloads, venue="binance")
    with pytest.raises(UsageError, match=r"no file of 'BTCUSD' \(did you mean 'BTCUSDT'\?\)"):
        source.name_of("BTCUSD")
    with pytest.raises(UsageError, match="no 1m bars of BTCUSDT; there are 1h"):
        source.first_ms("BTCUSDT", "1m")
    with pytest.raises(BarsError, match="no such file or folder"):
        files(tmp_path / "nothing", venue="v").listings()
    write_csv(tmp_path / "odd/prices.csv", random_bars(5))
    with pytest.raises(UsageError, match=r"prices.csv: the name does not tell symbol and timefr"):
        files(tmp_path / "odd", venue="v").listings()


def test_bad_files_fail_alone_with_their_reason(tmp_path):
    bars = random_bars(30, symbol="AAAUSDT")
    good = write_csv(tmp_path / "in/AAAUSDT-1m-2024-01.csv", bars)
    shutil.copy(good, tmp_path / "in/AAAUSDT-1m-2024-03.csv")
    (tmp_path / "in/AAAUSDT-1m-2024-02.zip").write_bytes(b"PK\x03\x04 half of a zip")
    source = files(tmp_path / "in", venue="drawn")
    whole, broken, strange = pieces_of(source, "AAAUSDT", "1m")
    assert len(source.fetch(whole, Event()).frame) == 30
    with pytest.raises(FetchError, match=r"2024-02\.zip: damaged or not a zip"):
        source.fetch(broken, Event())
    with pytest.raises(FetchError, match=r"30 bars lie outside its span, .* expected 2024-03-01"):
        source.fetch(strange, Event())
    _, report = bring(source, BarStore(tmp_path / "store"), ("AAAUSDT", "1m"))
    assert [failed.piece for failed in report.failed] == [broken.name, strange.name]
    assert len(BarStore(tmp_path / "store").read("drawn", "AAAUSDT", "1m")) == 30


def test_a_file_is_read_as_a_frame_with_its_origin(tmp_path):
    bars = random_bars(20, symbol="AAAUSDT")
    found = read_bars_file_frame(write_csv(tmp_path / "AAAUSDT-1m.csv", bars), timeframe="1m")
    assert found.frame.equals(bars_to_frame(bars))
    assert (found.provenance, found.checksum_agreed) == ("file", False)
    with pytest.raises(BarsError, match="1h"):
        read_bars_file_frame(tmp_path / "AAAUSDT-1m.csv", timeframe="1h")


def test_it_is_found_by_its_name(tmp_path):
    source = make_source("files", folder=tmp_path, exchange="kraken")
    assert (source.name, source.venue, source.calendar) == ("files", "kraken", "auto")


def test_an_export_keeps_its_calendar_its_history_and_where_it_comes_from(tmp_path):
    """Days that open at 14:00: by the source's own calendar they would lie off the grid."""
    whole = simulate("gbm", n_bars=60, symbol="AAA", timeframe="1d", start="2024-01-01")
    weekdays = (whole.timestamp // 86_400_000 + 3) % 7 < 5
    bars = dataclasses.replace(
        whole.take(weekdays),
        timestamp=whole.timestamp[weekdays] + 14 * 3_600_000,
        calendar="session",
        history=("split by hand",),
    )
    export_bars([bars], tmp_path / "out")
    store = BarStore(tmp_path / "store")
    source = files(tmp_path / "out", venue="simulated")
    _, report = bring(source, store, ("AAA", "1d"))
    assert report.ok, report.failed
    back = store.read("simulated", "AAA", "1d")
    np.testing.assert_array_equal(back.timestamp, bars.timestamp)
    assert back.calendar == "session"
    assert back.provenance == "simulated"
    assert "split by hand" in back.history
