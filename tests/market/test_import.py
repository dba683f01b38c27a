"""Files come in whole, whatever their form; the real ones agree with the stored bars."""

import dataclasses
import hashlib
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from drawn import random_bars
from walkforge.base import BarsError
from walkforge.market import (
    Bars,
    BarStore,
    bars_to_frame,
    export_bars,
    import_bars,
    read_folder,
)

KLINE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)
UNITS = {"s": 1 / 1000, "ms": 1, "us": 1000, "ns": 1_000_000}


def kline_lines(bars: Bars, unit: str = "ms") -> list[str]:
    rows = zip(*(getattr(bars, n).tolist() for n in VALUES), strict=True)
    return [
        f"{int(stamp * UNITS[unit])},{','.join(map(repr, values))},"
        f"{int((stamp + 59_999) * UNITS[unit])},1.5,3,0.5,0.7,0"
        for stamp, values in zip(bars.timestamp.tolist(), rows, strict=True)
    ]


VALUES = ("open", "high", "low", "close", "volume")


def assert_holds(store: BarStore, bars: Bars, venue: str = "test", symbol: str = "BTCUSDT"):
    stored = store.read(venue, symbol, bars.timeframe)
    for name in ("timestamp", *VALUES):
        np.testing.assert_array_equal(getattr(stored, name), getattr(bars, name), err_msg=name)


@pytest.mark.parametrize("unit", sorted(UNITS))
@pytest.mark.parametrize("header", [None, KLINE_HEADER])
def test_klines_are_read_with_and_without_header_in_every_unit(unit, header, write_csv, store):
    bars = random_bars(40, holes_at=(25,))
    path = write_csv(*kline_lines(bars, unit), name="BTCUSDT-1m-2024-01.csv", header=header)
    report = import_bars(path, store, venue="test")[0]
    assert_holds(store, bars)
    assert report.stamp_forms == (unit,)
    assert report.as_dict()["holes"] == 1
    assert store.read("test", "BTCUSDT", "1m").provenance == "file"


def test_a_plain_csv_is_read_whatever_the_order_and_case_of_its_columns(write_csv, store):
    path = write_csv(
        "5,100.5,2024-01-01 00:00,99,101,100,extra",
        "6,100.5,2024-01-01 00:01,99,101,100,extra",
        header="Volume,Close,Open Time,LOW,high,Open,note",
        name="BTC_USDT-1m.csv",
    )
    import_bars(path, store, venue="test")
    bars = store.read("test", "BTC_USDT", "1m")
    assert (bars.open[0], bars.high[0], bars.low[0]) == (100, 101, 99)
    assert (bars.close[0], bars.volume[1]) == (100.5, 6)


def test_windows_line_ends_a_byte_order_mark_and_quotes_do_no_harm(tmp_path, store):
    path = tmp_path / "BTCUSDT-1m.csv"
    lines = ['"timestamp","open","high","low","close","volume"']
    lines += [f'"2024-01-01 00:0{i}",100, 101,99 ,100,5' for i in range(3)]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, ""]).encode())
    import_bars(path, store, venue="test")
    np.testing.assert_array_equal(store.read("test", "BTCUSDT", "1m").high, 101)


def test_parquet_named_by_folder_and_timeframe_is_read(tmp_path, store):
    bars = random_bars(40)
    path = tmp_path / "BTCUSDT" / "1m.parquet"
    path.parent.mkdir()
    bars_to_frame(bars).write_parquet(path)
    import_bars(path, store, venue="test")
    assert_holds(store, bars)


def test_bars_of_another_store_keep_their_provenance(tmp_path, store):
    bars = random_bars(40)
    there = BarStore(tmp_path / "there").write(bars).path
    import_bars(there, store, venue="test")
    assert store.read("test", "RANDOM", "1m").provenance == "simulated"


def zipped(folder: Path, bars: Bars, name: str, *, checksum: bool) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.csv", "\n".join(kline_lines(bars)) + "\n")
    if checksum:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / f"{name}.zip.CHECKSUM").write_text(f"{digest}  {name}.zip\n")


def test_a_folder_of_zips_is_joined_by_series_and_checksums_are_counted(tmp_path, store):
    bars, other = random_bars(90), random_bars(20, 5)
    folder = tmp_path / "archive"
    zipped(folder, bars.take(slice(0, 40)), "BTCUSDT-1m-2024-01", checksum=True)
    zipped(folder, bars.take(slice(35, 90)), "BTCUSDT-1m-2024-02", checksum=False)
    zipped(folder, other, "ETHUSDT-1m-2024-01", checksum=True)
    reports = import_bars(folder, store, venue="test")
    assert_holds(store, bars)
    assert_holds(store, other, symbol="ETHUSDT")
    assert [(r.files, r.files_with_checksum) for r in reports] == [(2, 1), (1, 1)]
    assert [(r.written.rows_given, r.written.rows_new) for r in reports] == [(90, 90), (20, 20)]


def test_files_that_contradict_each_other_are_refused_with_both_places(tmp_path, store):
    folder = tmp_path / "archive"
    zipped(folder, random_bars(30, 1), "BTCUSDT-1m-2024-01", checksum=False)
    zipped(folder, random_bars(30, 2).take(slice(20, 30)), "BTCUSDT-1m-2024-02", checksum=False)
    with pytest.raises(BarsError, match=r"2024-02.csv: line 1 \(.*line 21 of .*2024-01.csv has"):
        import_bars(folder, store, venue="test")
    assert store.list() == []


def test_an_interrupted_import_leaves_the_store_as_it_was(tmp_path, store, monkeypatch):
    from walkforge.market import _import

    folder = tmp_path / "archive"
    zipped(folder, random_bars(30), "AAAUSDT-1m-2024-01", checksum=False)
    zipped(folder, random_bars(30), "BBBUSDT-1m-2024-01", checksum=False)
    read_raw_file = _import.read_raw_file

    def interrupted_at_the_second(path):
        if path.name.startswith("BBB"):
            raise KeyboardInterrupt
        return read_raw_file(path)

    monkeypatch.setattr(_import, "read_raw_file", interrupted_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        import_bars(folder, store, venue="test")
    assert list(store.root.rglob("*.parquet")) == []
    assert store.list() == []


class Later(datetime):
    """A clock that is a day ahead."""

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(days=1)


def test_importing_again_changes_nothing_and_says_so(write_csv, store, monkeypatch):
    path = write_csv(*kline_lines(random_bars(40)), header=None)
    first = import_bars(path, store, venue="test")[0]
    manifest = first.written.path / "manifest.json"
    before = manifest.read_bytes()
    monkeypatch.setattr("walkforge.market._import.datetime", Later)
    again = import_bars(path, store, venue="test")[0]
    assert (again.written.rows_new, again.written.rows_total) == (0, 40)
    assert manifest.read_bytes() == before
    assert "0 new bars, 40 known before; now 40 bars" in again.summary()


def test_the_store_remembers_each_source_with_digest_and_time(write_csv, store):
    bars = random_bars(40)
    for part in (slice(0, 30), slice(20, 40)):
        path = write_csv(
            *kline_lines(bars.take(part)), name=f"BTCUSDT-1m-{part.start}.csv", header=None
        )
        report = import_bars(path, store, venue="test")[0]
    manifest = store.manifest("test", "BTCUSDT", "1m")
    sources = manifest.sources
    assert [source["file"] for source in sources] == ["BTCUSDT-1m-0.csv", "BTCUSDT-1m-20.csv"]
    assert sources[1]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sources[1]["fetched_at"].endswith("+00:00")
    assert not sources[1]["checksum_agreed"]
    assert [part.sources for part in manifest.parts] == [("file",)]
    assert report.written.rows_total == manifest.rows == 40


def test_names_given_for_one_file_win_over_its_name(write_csv, store):
    path = write_csv(*kline_lines(random_bars(40)), name="XBT-1h.csv", header=None)
    import_bars(path, store, venue="test", symbol="BTCUSDT", timeframe="1m")
    assert len(store.read("test", "BTCUSDT", "1m")) == 40


def test_daily_bars_of_an_exchange_may_open_at_its_own_hour(write_csv, store):
    days = [f"2024-01-{day:02} 14:30,100,101,99,100,5" for day in (8, 9, 10, 11, 12, 15, 16)]
    path = write_csv(*days, name="ACME-1d.csv")
    with pytest.raises(BarsError, match="does not open on the 1d grid"):
        import_bars(path, store, venue="test")
    import_bars(path, store, venue="test", calendar="session")
    assert len(store.read("test", "ACME", "1d").segments) == 1


def test_weeks_of_a_stock_in_single_files_join_as_a_session_market(write_csv, tmp_path, store):
    for first in (1, 8, 15, 22):
        days = [f"2024-01-{day:02},100,101,99,100,5" for day in range(first, first + 5)]
        write_csv(*days, name=f"weeks/ACME-1d-{first:02}.csv")
    report = import_bars(tmp_path / "weeks", store, venue="test")[0]
    bars = store.read("test", "ACME", "1d")
    assert (bars.calendar, len(bars), len(bars.segments)) == ("session", 20, 1)
    assert report.written.holes == 0


def test_a_calendar_that_was_named_is_kept_through_several_files_and_later_imports(
    write_csv, tmp_path, store
):
    def week(first: int, name: str) -> None:
        days = [f"2024-01-{day:02},100,101,99,100,5" for day in range(first, first + 6)]
        write_csv(*days, name=name)  # Monday to Saturday: told by itself, 24/7

    for first in (1, 8, 15):
        week(first, f"weeks/ACME-1d-{first:02}.csv")
    import_bars(tmp_path / "weeks", store, venue="test")
    assert store.read("test", "ACME", "1d").calendar == "24/7"
    import_bars(tmp_path / "weeks", store, venue="test", calendar="session")
    bars = store.read("test", "ACME", "1d")
    assert (bars.calendar, len(bars.segments)) == ("session", 1)
    week(22, "ACME-1d-22.csv")
    report = import_bars(tmp_path / "ACME-1d-22.csv", store, venue="test")[0]
    assert store.read("test", "ACME", "1d").calendar == "session"
    assert (report.written.rows_new, report.written.holes) == (6, 0)


def test_a_named_calendar_goes_before_that_of_another_store(tmp_path, store):
    there = BarStore(tmp_path / "there").write(random_bars(40)).path
    import_bars(there, store, venue="test", calendar="session")
    assert store.read("test", "RANDOM", "1m").calendar == "session"


def test_a_calendar_that_all_files_tell_is_believed_whatever_their_stamps_show(tmp_path, store):
    days = random_bars(40, timeframe="1d")  # Saturdays and Sundays among them
    there = BarStore(tmp_path / "there")
    there.write(dataclasses.replace(days, calendar="session"))
    path = BarStore(tmp_path / "there").path("drawn", "RANDOM", "1d")
    assert len(import_bars(path, store, venue="one")) == 1
    for number, rows in enumerate((slice(0, 20), slice(20, 40))):
        part = dataclasses.replace(days.take(rows), calendar="session")
        export_bars([part], tmp_path / "parts" / str(number))
    import_bars(tmp_path / "parts", store, venue="several")
    for venue in ("one", "several"):
        assert store.read(venue, "RANDOM", "1d").calendar == "session"


def test_the_real_spot_files_agree_with_the_stored_bars(shared_data, store):
    report = import_bars(shared_data / "raw/binance_spot", store, venue="binance")[0]
    assert report.written.rows_total == report.written.rows_new == 1440
    _agree(store.read("binance", "BTCUSDT", "1h"), shared_data / "bars/binance")


def test_the_real_futures_zip_agrees_with_the_stored_bars_and_its_checksum(shared_data, store):
    path = shared_data / "raw/binance_um/NEARUSDT-1m-2023-02.zip"
    report = import_bars(path, store, venue="binance_um")[0]
    assert (report.written.rows_new, report.files_with_checksum) == (40_320, 1)
    _agree(store.read("binance_um", "NEARUSDT", "1m"), shared_data / "bars/binance_um")


def _agree(bars: Bars, folder: Path) -> None:
    stored = read_folder(folder, timeframe=bars.timeframe, symbols=[bars.symbol])[bars.symbol]
    rows = np.isin(stored.timestamp, bars.timestamp)
    np.testing.assert_array_equal(stored.timestamp[rows], bars.timestamp)
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(stored, name)[rows], getattr(bars, name))
    # Eight of the stored volumes are off by one in the last binary digit.
    np.testing.assert_allclose(stored.volume[rows], bars.volume, rtol=1e-15)
