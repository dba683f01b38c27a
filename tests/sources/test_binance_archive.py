"""The real HTTP client fetches from a server that speaks the archive's protocol."""

import csv
import io
import logging
import re
import signal
import threading
import zipfile
from datetime import UTC, datetime
from threading import Event

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from servers.archive import HEADER, ArchiveServer, kline_csv, zip_of
from servers.local import Fault, closed_port
from walkforge.base import TIMEFRAMES_MS, FetchError, SourceUnreachableError, UsageError
from walkforge.market import BarStore, Span, bars_to_frame, read_funding
from walkforge.sources import FetchReport, _http, fetch, fetch_funding, make_plan
from walkforge.sources._archive_files import ArchiveFile
from walkforge.sources._archive_plan import choose_files
from walkforge.sources._binance_archive import DEFAULT_URLS, binance_archive
from walkforge.sources._http import HttpClient

SPOT = "data/spot/{}/klines/BTCUSDT/1h/BTCUSDT-1h-{}.zip"
MONTH = SPOT.format("monthly", "{}")
DAY = SPOT.format("daily", "{}")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def span(start: str, end: str) -> Span:
    return Span(ms(start), ms(end))


def between(frame: pl.DataFrame, start: str, end: str) -> pl.DataFrame:
    moment = pl.col("timestamp").dt.epoch("ms")
    return frame.filter((moment >= ms(start)) & (moment < ms(end)))


def read(path, start: str, end: str) -> pl.DataFrame:
    return between(pl.read_parquet(path), start, end)


class Halt(Event):
    """An Event that does not wait, and is set by the first wait if `at_once`."""

    def __init__(self, *, at_once: bool = False) -> None:
        super().__init__()
        self.at_once = at_once
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        if self.at_once:
            self.set()
        return self.is_set()


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(_http, "FIRST_WAIT_S", 0.0)


@pytest.fixture
def archive():
    with ArchiveServer() as archive:
        yield archive


@pytest.fixture
def connect(archive):
    """Return a function that makes sources and closes them in the end."""
    made = []

    def make(market="spot", **urls):
        made.append(binance_archive(market=market, urls={**archive.urls, **urls}))
        return made[-1]

    yield make
    for source in made:
        source.close()


@pytest.fixture(scope="module")
def hours(shared_data) -> pl.DataFrame:
    """Return BTCUSDT, hours from November 2024 to the noon of 9 February 2025."""
    return read(
        shared_data / "bars/binance/BTCUSDT/1h.parquet", "2024-11-01", "2025-02-09T12:00:00"
    )


WINTER = span("2024-11-01", "2025-02-10")


def pieces(source, *, wanted=WINTER, missing=None, files=None, symbol="BTCUSDT", timeframe="1h"):
    missing = [wanted] if missing is None else missing
    return source.pieces(symbol, timeframe, wanted=wanted, missing=missing, files=files or {})


def fetched(source, found) -> pl.DataFrame:
    deliveries = [source.fetch(piece, Halt()) for piece in found]
    for delivery in deliveries:
        assert delivery.answered_to_ms == delivery.piece.span.end_ms
    return pl.concat([each.frame for each in deliveries if each.frame is not None])


def names(found) -> list[str]:
    return [piece.name.removeprefix("BTCUSDT-1h-").removesuffix(".zip") for piece in found]


def one_line(error: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def failure(source, piece) -> str:
    with pytest.raises(FetchError) as error:
        source.fetch(piece, Halt())
    return one_line(error)


# What is fetched


def test_fetched_bars_equal_the_served_ones_to_the_bit_over_the_change_to_microseconds(
    archive, connect, hours
):
    archive.add_bars("BTCUSDT", "1h", hours)
    source = connect()
    got = fetched(source, pieces(source))
    assert_frame_equal(got, between(hours, "2024-11-01", "2025-02-09"), check_exact=True)
    with zipfile.ZipFile(io.BytesIO(archive.content(MONTH.format("2025-01")))) as zipped:
        assert zipped.read("BTCUSDT-1h-2025-01.csv").startswith(b"1735689600000000,")


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("market", ["spot", "perpetual"])
def test_minutes_come_to_the_bit_with_and_without_a_header_in_both_units(
    archive, connect, shared_data, header, unit, market
):
    bars = read(shared_data / "bars/binance_um/SOLUSDT/1m.parquet", "2025-06-01", "2025-06-03")
    archive.add_bars("SOLUSDT", "1m", bars, market=market, header=header, unit=unit)
    source = connect(market)
    found = pieces(
        source, wanted=span("2025-06-01", "2025-08-01"), symbol="SOLUSDT", timeframe="1m"
    )
    assert len(found) == 2
    assert_frame_equal(fetched(source, found), bars, check_exact=True)


@pytest.mark.parametrize(
    ("market", "folder", "name", "stored"),
    [
        ("spot", "binance_spot", "BTCUSDT-1h-2024-10-28", "binance/BTCUSDT/1h"),
        ("perpetual", "binance_um", "BTCUSDT-1h-2024-10-28", None),
        ("perpetual", "binance_um", "NEARUSDT-1m-2023-02", "binance_um/NEARUSDT/1m"),
    ],
)
def test_untouched_zips_of_the_archive_parse_to_the_stored_bars(
    archive, connect, shared_data, market, folder, name, stored
):
    content = (shared_data / "raw" / folder / f"{name}.zip").read_bytes()
    symbol, timeframe, *date = name.split("-")
    period = "monthly" if len(date) == 2 else "daily"
    root = "data/spot" if market == "spot" else "data/futures/um"
    archive.put(f"{root}/{period}/klines/{symbol}/{timeframe}/{name}.zip", content)
    source = connect(market)
    found = pieces(
        source, wanted=span("2023-01-01", "2025-01-01"), symbol=symbol, timeframe=timeframe
    )
    assert [piece.name for piece in found] == [f"{name}.zip"]
    got = fetched(source, found)
    assert_frame_equal(got, _slowly_read(content), check_exact=True)
    if stored is not None:
        expected = pl.read_parquet(shared_data / f"bars/{stored}.parquet")
        in_span = pl.col("timestamp").is_between(got["timestamp"][0], got["timestamp"][-1])
        expected = expected.filter(in_span)
        assert_frame_equal(got.drop("volume"), expected.drop("volume"), check_exact=True)
        # The stored hours of BTCUSDT are sums of minutes: their volumes differ in the last digit.
        assert_frame_equal(got, expected, rel_tol=1e-15, abs_tol=0)


def _slowly_read(content: bytes) -> pl.DataFrame:
    with zipfile.ZipFile(io.BytesIO(content)) as zipped:
        rows = list(csv.reader(io.StringIO(zipped.read(zipped.namelist()[0]).decode())))
    rows = [row for row in rows if row[0] != HEADER[0]]
    columns = {name: [float(row[i]) for row in rows] for i, name in enumerate(HEADER[:6]) if i}
    moments = pl.Series([int(row[0]) for row in rows]).cast(pl.Datetime("ms", "UTC"))
    return pl.DataFrame({"timestamp": moments, **columns})


def test_a_delivery_says_where_it_came_from_and_what_it_was(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours)
    source = connect(files=archive.server.url.replace("//", "//user:secret@"))
    piece = pieces(source)[0]
    key = MONTH.format("2024-11")
    assert piece.span == span("2024-11-01", "2024-12-01")
    assert piece.size_bytes == len(archive.content(key))
    delivery = source.fetch(piece, Halt())
    assert delivery.entry["url"] == f"{archive.server.url}/{key}"
    assert archive.content(f"{key}.CHECKSUM").decode().split()[0] == delivery.entry["sha256"]
    assert delivery.entry["checksum_agreed"] is True
    beside = len(archive.content(f"{key}.CHECKSUM"))
    assert delivery.received_bytes == piece.size_bytes + beside


def test_a_file_with_a_header_and_no_bar_is_an_answer_without_bars(archive, connect):
    key = MONTH.format("2024-11")
    archive.put(key, zip_of("BTCUSDT-1h-2024-11.csv", (",".join(HEADER) + "\n").encode()))
    source = connect()
    delivery = source.fetch(pieces(source)[0], Halt())
    assert delivery.frame is None
    assert delivery.answered_to_ms == ms("2024-12-01")


# What is listed


def test_symbols_are_listed_over_pages_delisted_ones_too(archive, connect, hours):
    archive._page_size = 2
    early, late = (
        between(hours, "2024-11-01", "2024-11-20"),
        between(hours, "2025-02-01", "2026-01-01"),
    )
    for symbol in ("ADAUSDT", "BTCUSDT", "ETHUSDT", "XRPUSDT"):
        archive.add_bars(symbol, "1h", hours[-48:], market="spot")
    archive.add_bars("LUNAUSDT", "1h", early, delisted=True)
    archive.add_bars("NEWUSDT", "1h", late)
    source = connect()
    listed = [listing.symbol for listing in source.listings()]
    assert listed == ["ADAUSDT", "BTCUSDT", "ETHUSDT", "LUNAUSDT", "NEWUSDT", "XRPUSDT"]
    assert len(archive.server.requests) >= 4
    assert source.listings() == source.listings()
    assert names(pieces(source, symbol="LUNAUSDT")) == ["LUNAUSDT-1h-2024-11"]


def test_futures_that_expire_are_not_listed_among_perpetuals(archive, connect, hours):
    for symbol in ("BTCUSDT", "BTCUSDT_250328", "1000SHIBUSDT"):
        archive.add_bars(symbol, "1h", hours[-48:], market="perpetual")
    source = connect("perpetual")
    assert [each.symbol for each in source.listings()] == ["1000SHIBUSDT", "BTCUSDT"]


def test_small_pages_change_nothing(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours)
    whole = pieces(connect())
    archive._page_size = 3
    archive.server.forget()
    assert pieces(connect()) == whole
    assert len(archive.server.requests) > 5


def test_the_listing_of_a_series_is_asked_for_once(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours)
    source = connect()
    source.first_ms("BTCUSDT", "1h")
    pieces(source)
    asked = len(archive.server.requests)
    source.first_ms("BTCUSDT", "1h")
    pieces(source, wanted=span("2025-02-01", "2025-02-10"))
    assert asked == len(archive.server.requests) == 4


def test_the_days_before_the_last_month_are_not_listed_for_nothing(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours)
    pieces(connect())
    marker = archive.server.requests[-1].query["marker"]
    assert marker.endswith("/BTCUSDT-1h-2025-02")


@pytest.mark.parametrize("spelling", ["BTC/USDT", "BTC-USDT", "btcusdt", "BTC/USDT:USDT"])
def test_a_symbol_may_be_spelled_as_elsewhere(archive, connect, hours, spelling):
    archive.add_bars("BTCUSDT", "1h", hours)
    source = connect()
    assert source.name_of(spelling) == "BTCUSDT"
    assert source.first_ms(spelling, "1h") == ms("2024-11-01")
    assert {piece.symbol for piece in pieces(source, symbol=spelling)} == {"BTCUSDT"}


def test_an_unlisted_symbol_is_refused_with_the_nearest_name(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours[-48:])
    source = connect()
    with pytest.raises(UsageError, match=r"spot symbol 'BTCUSTD' \(did you mean 'BTCUSDT'\?\)"):
        source.first_ms("BTCUSTD", "1h")
    with pytest.raises(UsageError, match=r"'BTCUSTD' \(did you mean 'BTCUSDT'\?\)"):
        source.name_of("BTC/USTD")
    with pytest.raises(UsageError, match="lists no spot symbol"):
        pieces(source, symbol="../../etc")


def test_a_listed_symbol_without_the_timeframe_has_no_bars(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours[-48:])
    source = connect()
    assert source.first_ms("BTCUSDT", "5m") is None
    assert pieces(source, timeframe="5m") == []
    with pytest.raises(UsageError, match=r"unknown timeframe '7m'.*1m, 3m, 5m"):
        source.first_ms("BTCUSDT", "7m")


def test_the_first_file_may_be_a_day(archive, connect, hours):
    archive.add_bars(
        "BTCUSDT", "1h", between(hours, "2025-01-30", "2025-02-09"), without={"2025-01"}
    )
    assert connect().first_ms("BTCUSDT", "1h") == ms("2025-01-30")


def test_a_month_written_with_one_digit_is_understood(archive, connect, hours):
    bars = between(hours, "2025-01-01", "2025-02-01")
    archive.add_bars("BTCUSDT", "1h", bars)
    content = archive.content(MONTH.format("2025-01"))
    archive.remove(MONTH.format("2025-01"))
    archive.put(MONTH.format("2025-1"), content)
    source = connect()
    found = pieces(source)
    assert names(found) == ["2025-1"]
    assert_frame_equal(fetched(source, found), bars, check_exact=True)


def test_strange_names_in_a_folder_are_passed_over(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", between(hours, "2025-01-01", "2025-02-01"))
    for name in ("2025-13", "2025-02-30", "latest"):
        archive.put(MONTH.format(name), b"")
    assert names(pieces(connect())) == ["2025-01"]


# Which files are asked for


def test_months_come_first_and_days_for_the_rest(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours)
    found = pieces(connect())
    days = [f"2025-02-{day:02}" for day in range(1, 9)]
    assert names(found) == ["2024-11", "2024-12", "2025-01", *days]
    assert [piece.span for piece in found] == sorted(piece.span for piece in found)


def test_only_what_touches_the_missing_spans_is_asked_for(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours)
    missing = [span("2024-12-24", "2024-12-25"), span("2025-02-03T12:00:00", "2025-02-04T01:00:00")]
    found = pieces(connect(), missing=missing)
    assert names(found) == ["2024-12", "2025-02-03", "2025-02-04"]
    assert pieces(connect(), missing=[]) == []
    assert pieces(connect(), missing=[span("2017-01-01", "2024-11-01")]) == []


def test_a_month_that_the_archive_lacks_is_filled_by_its_days(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours, without={"2024-12", "2024-12-24"})
    source = connect()
    found = pieces(source)
    assert len(found) == 2 + 30 + 8
    expected = between(hours, "2024-11-01", "2025-02-09")
    there = expected.filter(pl.col("timestamp").dt.strftime("%Y-%m-%d") != "2024-12-24")
    assert_frame_equal(fetched(source, found), there, check_exact=True)


def test_a_hole_in_the_middle_stays_a_hole(archive, connect, hours):
    bars = pl.concat(
        [between(hours, "2024-11-01", "2024-11-20"), between(hours, "2025-01-07", "2025-02-09")]
    )
    archive.add_bars("BTCUSDT", "1h", bars)
    source = connect()
    found = pieces(source)
    assert names(found)[:2] == ["2024-11", "2025-01"]
    assert_frame_equal(fetched(source, found), bars, check_exact=True)


def versions(found) -> dict[str, str]:
    return {piece.name: piece.version for piece in found}


def test_what_was_fetched_does_not_come_again(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours)
    files = versions(pieces(connect()))
    assert pieces(connect(), missing=[], files=files) == []
    missing = [span("2025-02-09", "2025-02-10")]
    assert pieces(connect(), missing=missing, files=files) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [("2024-12-05", ["2024-12"]), ("2025-02-05", ["2025-02-05"])],
    ids=["a month", "a day"],
)
def test_a_file_that_was_issued_anew_comes_again_and_replaces(
    archive, connect, hours, changed, expected
):
    archive.add_bars("BTCUSDT", "1h", hours)
    files = versions(pieces(connect()))
    moved = pl.col("timestamp").dt.strftime("%Y-%m-%d") == changed
    other = hours.with_columns(pl.when(moved).then(2.0).otherwise(pl.col("volume")).alias("volume"))
    archive.add_bars("BTCUSDT", "1h", other)
    source = connect()
    found = pieces(source, missing=[], files=files)
    assert names(found) == expected
    assert found[0].replaces
    assert found[0].version not in files.values()
    begin = changed[: len(expected[0])]
    served = other.filter(pl.col("timestamp").dt.strftime("%Y-%m-%d").str.starts_with(begin))
    assert_frame_equal(fetched(source, found), served, check_exact=True)
    assert pieces(connect(), wanted=span("2024-11-01", "2024-12-01"), missing=[], files=files) == []


def test_a_month_whose_days_are_all_there_is_not_fetched(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours, without={"2024-12"})
    files = versions(pieces(connect()))
    archive.add_bars("BTCUSDT", "1h", hours)
    assert pieces(connect(), missing=[], files=files) == []


def test_a_month_after_some_of_its_days_has_the_last_word(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours, without={"2024-12"})
    files = versions(pieces(connect(), wanted=span("2024-11-01", "2024-12-11")))
    archive.add_bars("BTCUSDT", "1h", hours)
    found = pieces(connect(), missing=[span("2024-12-11", "2025-01-08")], files=files)
    assert [(piece.name[11:18], piece.replaces) for piece in found] == [
        ("2024-12", True),
        ("2025-01", False),
    ]


# What a month lacks


def lacking(archive, hours, hole) -> pl.DataFrame:
    """Serve bars whose months lack those that `hole` picks, and whose days have them."""
    archive.add_bars("BTCUSDT", "1h", hours)
    poor = hours.filter(~hole)
    with ArchiveServer() as poorer:
        poorer.add_bars("BTCUSDT", "1h", poor)
        for key in poorer.keys:
            if "monthly" in key and key.endswith(".zip"):
                archive.put(key, poorer.content(key))
    return poor


DATE = pl.col("timestamp").dt.strftime("%Y-%m-%d")
HOURS_OF_TWO_DAYS = DATE.is_in(["2024-12-03", "2024-12-24"]) & (pl.col("timestamp").dt.hour() > 6)


def test_what_a_month_lacks_comes_from_the_files_of_its_days(archive, connect, hours):
    lacking(archive, hours, HOURS_OF_TWO_DAYS)
    source = connect()
    (piece,) = pieces(source, wanted=span("2024-12-01", "2025-01-01"))
    archive.server.forget()
    delivery = source.fetch(piece, Halt())
    assert_frame_equal(delivery.frame, between(hours, "2024-12-01", "2025-01-01"), check_exact=True)
    assert delivery.answered_to_ms == ms("2025-01-01")
    assert list(delivery.entry["days"]) == [
        "BTCUSDT-1h-2024-12-03.zip",
        "BTCUSDT-1h-2024-12-24.zip",
    ]
    assert delivery.entry["checksum_agreed"] is True
    asked = [path.rsplit("/", 1)[-1].removeprefix("BTCUSDT-1h-") for path in archive.server.paths]
    names_of_zips = ["2024-12.zip", "2024-12-03.zip", "2024-12-24.zip"]
    assert [name for name in asked if name.endswith(".zip")] == names_of_zips
    assert len(asked) == 2 * len(names_of_zips) + 1  # the checksums, and one page of the listing
    sizes = [len(archive.content(key)) for key in archive.keys if key.endswith("-12-24.zip")]
    assert delivery.received_bytes > piece.size_bytes + sizes[0]


def test_a_month_without_holes_asks_for_nothing_more(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours)
    source = connect()
    found = pieces(source)
    archive.server.forget()
    delivery = source.fetch(found[1], Halt())
    assert "days" not in delivery.entry
    assert len(archive.server.requests) == 2


def test_of_a_bar_in_both_the_month_has_the_last_word(archive, connect, hours):
    poor = lacking(archive, hours, HOURS_OF_TWO_DAYS)
    key = DAY.format("2024-12-24")
    other = between(hours, "2024-12-24", "2024-12-25").with_columns(volume=pl.lit(2.0))
    archive.put(key, zip_of("a.csv", kline_csv(other, 3_600_000, header=False, unit="ms")))
    source = connect()
    (piece,) = pieces(source, wanted=span("2024-12-01", "2025-01-01"))
    got = source.fetch(piece, Halt()).frame
    assert_frame_equal(
        got.join(poor, on="timestamp", how="semi"), between(poor, "2024-12-01", "2025-01-01")
    )
    assert between(got, "2024-12-24T07:00", "2024-12-25")["volume"].unique().to_list() == [2.0]


def test_a_month_comes_without_the_day_that_does_not(archive, connect, hours):
    lacking(archive, hours, HOURS_OF_TWO_DAYS)
    source = connect()
    (piece,) = pieces(source, wanted=span("2024-12-01", "2025-01-01"))
    whole = source.fetch(piece, Halt())
    key = DAY.format("2024-12-24")
    content = archive.content(key)
    for spoilt, checksum in (
        (content, b"ab" * 32),
        (archive.content(DAY.format("2024-12-23")), b""),
    ):
        archive.put(key, spoilt, checksum=checksum)
        delivery = connect().fetch(piece, Halt())
        (name, reason), *others = delivery.failed.items()
        assert (name, others) == ("BTCUSDT-1h-2024-12-24.zip", [])
        assert f"{key}: " in reason
        assert delivery.entry["days"][name] == ""
        assert delivery.entry["days"]["BTCUSDT-1h-2024-12-03.zip"]
        assert 0 < len(whole.frame) - len(delivery.frame) <= 24
    archive.put(key, content, checksum=None)
    delivery = connect().fetch(piece, Halt())
    assert delivery.entry["checksum_agreed"] is False
    assert_frame_equal(delivery.frame, whole.frame)


def test_a_halt_ends_the_wait_for_the_list_of_a_months_days(archive, connect, hours):
    lacking(archive, hours, HOURS_OF_TWO_DAYS)
    source = connect()
    (piece,) = pieces(source, wanted=span("2024-12-01", "2025-01-01"))
    archive.server.fail(Fault("status", "/bucket", status=429, headers={"Retry-After": "2"}))
    with pytest.raises(FetchError, match="interrupted"):
        source.fetch(piece, Halt(at_once=True))


def test_a_month_halted_at_one_of_its_days_does_not_come_without_it(archive, connect, hours):
    lacking(archive, hours, HOURS_OF_TWO_DAYS)
    source = connect()
    (piece,) = pieces(source, wanted=span("2024-12-01", "2025-01-01"))
    archive.server.fail(Fault("status", r"2024-12-24\.zip", status=503))
    with pytest.raises(FetchError, match="interrupted"):
        source.fetch(piece, Halt(at_once=True))


DECEMBER = span("2024-12-01", "2025-01-01")


@pytest.fixture
def bring(connect, tmp_path):
    """Return a function that fetches a span of BTCUSDT into a store.

    It returns the files asked for, those issued anew with a star, and the report.
    """
    store = BarStore(tmp_path)

    def bring(wanted=DECEMBER):
        source = connect()
        source.connections = bring.connections
        plans = make_plan(source, store, [("BTCUSDT", "1h")], lambda *_: wanted)
        report = fetch(source, store, plans)
        found = plans[0].pieces
        stars = ["*" if piece.replaces else "" for piece in found]
        return [name + star for name, star in zip(names(found), stars, strict=True)], report

    bring.store, bring.connections = store, 8
    return bring


def volumes(store, day: str) -> list[float]:
    """Return the different volumes of the 24 hours of a day."""
    bars = store.read("binance", "BTCUSDT", "1h", start_ms=ms(day), end_ms=ms(day) + 86_400_000)
    assert len(bars) == 24
    return sorted(set(bars.volume.tolist()))


def put_anew(archive, hours, name: str, volume: float) -> None:
    """Issue a month or a day anew, with one volume in all of its bars."""
    bars = hours.filter(DATE.str.starts_with(name)).with_columns(volume=pl.lit(volume))
    key = (MONTH if len(name) == 7 else DAY).format(name)
    archive.put(key, zip_of("a.csv", kline_csv(bars, 3_600_000, header=False, unit="ms")))


def test_a_day_that_mended_a_month_comes_again_when_it_is_issued_anew(archive, hours, bring):
    lacking(archive, hours, HOURS_OF_TWO_DAYS)
    assert bring()[0] == ["2024-12"]
    assert bring()[0] == []
    for volume in (2.0, 3.0):
        put_anew(archive, hours, "2024-12-24", volume)
        assert bring()[0] == ["2024-12-24*"]
        assert bring()[0] == []
        assert volumes(bring.store, "2024-12-24") == [volume]
        assert len(bring.store.read("binance", "BTCUSDT", "1h")) == 31 * 24


def test_a_day_that_fails_within_its_month_is_named_and_comes_with_the_next_fetch(
    archive, hours, bring
):
    lacking(archive, hours, HOURS_OF_TWO_DAYS)
    archive.server.fail(Fault("status", r"2024-12-24\.zip", times=10, status=503))
    found, report = bring()
    assert (found, report.ok) == (["2024-12"], False)
    (failed,) = report.failed
    assert (failed.series, failed.piece) == ("BTCUSDT/1h", "BTCUSDT-1h-2024-12-24.zip")
    assert "2024-12-24.zip: answered 503" in failed.reason
    assert len(bring.store.read("binance", "BTCUSDT", "1h")) == 31 * 24 - 17
    found, report = bring()
    assert (found, [one.piece for one in report.failed]) == (["2024-12-24"], [failed.piece])
    found, report = bring()
    assert (found, report.ok) == (["2024-12-24"], True)
    assert bring_back(bring.store).equals(between(hours, "2024-12-01", "2025-01-01"))
    assert bring()[0] == []


def bring_back(store) -> pl.DataFrame:
    return bars_to_frame(store.read("binance", "BTCUSDT", "1h"))


def test_a_day_issued_anew_that_fails_within_its_month_and_by_itself_is_not_forgotten(
    archive, hours, bring
):
    poor = lacking(archive, hours, HOURS_OF_TWO_DAYS)
    bring()
    put_anew(archive, poor, "2024-12", 5.0)
    put_anew(archive, hours, "2024-12-24", 9.0)
    archive.server.fail(Fault("status", r"2024-12-24\.zip", times=10, status=503))
    found, report = bring()
    assert (found, report.ok) == (["2024-12*", "2024-12-24*"], False)
    assert [one.piece for one in report.failed] == ["BTCUSDT-1h-2024-12-24.zip"]
    assert bring()[0] == ["2024-12-24*"]
    assert bring()[0] == []
    assert volumes(bring.store, "2024-12-24") == [9.0]


def test_a_day_that_fails_within_its_month_and_comes_by_itself_has_come(archive, hours, bring):
    poor = lacking(archive, hours, HOURS_OF_TWO_DAYS)
    bring()
    put_anew(archive, poor, "2024-12", 5.0)
    put_anew(archive, hours, "2024-12-24", 9.0)
    # One after the other, the month first.
    archive.server.fail(Fault("status", r"2024-12-24\.zip", times=5, status=503))
    bring.connections = 1
    found, report = bring()
    assert (found, report.failed) == (["2024-12*", "2024-12-24*"], [])
    assert bring()[0] == []
    assert volumes(bring.store, "2024-12-24") == [9.0]


def test_a_day_that_failed_within_its_month_issued_anew_replaces_what_it_brought_before(
    archive, hours, bring
):
    poor = lacking(archive, hours, HOURS_OF_TWO_DAYS)
    bring()
    put_anew(archive, poor, "2024-12", 5.0)
    archive.server.fail(Fault("status", r"2024-12-24\.zip", times=5, status=503))
    found, report = bring()
    assert (found, report.ok) == (["2024-12*"], False)
    assert bring()[0] == []  # the bars of the day are there in the version that it has
    put_anew(archive, hours, "2024-12-24", 9.0)
    assert bring()[0] == ["2024-12-24*"]
    assert volumes(bring.store, "2024-12-24") == [9.0]
    assert bring()[0] == []


def test_a_day_that_failed_within_its_month_leaves_it_the_last_word(archive, hours, bring):
    lacking(archive, hours, HOURS_OF_TWO_DAYS)
    put_anew(archive, hours, "2024-12-24", 9.0)
    archive.server.fail(Fault("status", r"2024-12-24\.zip", times=5, status=503))
    bring()
    bring()
    served = between(hours, "2024-12-24", "2024-12-24T07:00")["volume"].to_list()
    assert volumes(bring.store, "2024-12-24") == sorted([*served, 9.0])


def test_of_a_month_and_a_day_issued_anew_the_day_counts_also_where_the_month_failed(
    archive, hours, bring
):
    archive.add_bars("BTCUSDT", "1h", between(hours, "2024-11-01", "2024-12-15"))
    bring()
    archive.add_bars("BTCUSDT", "1h", hours)
    bring()
    put_anew(archive, hours, "2024-12", 5.0)
    put_anew(archive, hours, "2024-12-05", 9.0)
    archive.server.fail(Fault("status", r"2024-12\.zip", times=5, status=503))
    both = ["2024-12*", "2024-12-05*"]
    found, report = bring()
    assert (found, report.ok) == (both, False)
    assert 9.0 not in volumes(bring.store, "2024-12-05")
    found, report = bring()
    assert (found, report.ok) == (both, True)
    assert volumes(bring.store, "2024-12-05") == [9.0]
    assert volumes(bring.store, "2024-12-06") == [5.0]
    assert bring()[0] == []


def test_a_month_issued_anew_without_a_bar_changes_none_and_the_history_says_so(
    archive, hours, bring
):
    archive.add_bars("BTCUSDT", "1h", hours)
    bring(span("2024-11-01", "2025-01-01"))
    for key in [key for key in archive.keys if "/daily/" in key and key.endswith(".zip")]:
        archive.remove(key)
    archive.put(MONTH.format("2024-12"), zip_of("a.csv", (",".join(HEADER) + "\n").encode()))
    found, report = bring()
    assert (found, report.ok) == (["2024-12*"], True)
    assert bring_back(bring.store).equals(between(hours, "2024-11-01", "2025-01-01"))
    assert bring.store.manifest("binance", "BTCUSDT", "1h").history == (
        "744 bars kept that are not in it: BTCUSDT-1h-2024-12.zip came again",
    )
    assert bring()[0] == []


def test_a_month_without_a_bar_is_no_series_and_told(archive, bring):
    archive.put(MONTH.format("2024-12"), zip_of("a.csv", (",".join(HEADER) + "\n").encode()))
    _, report = bring()
    (failed,) = report.failed
    assert failed.reason == (
        "no bars from 2024-12-01 00:00 to 2025-01-01 00:00. Ask for another span."
    )


def test_what_a_first_month_has_before_the_first_file_of_a_day_is_fetched(archive, hours, bring):
    early = {f"2024-11-{day:02}" for day in range(1, 15)}
    archive.add_bars("BTCUSDT", "1h", hours, without=early)
    found, report = bring(span("2024-11-01", "2024-11-10"))
    assert (found, report.ok) == (["2024-11"], True)
    assert bring_back(bring.store).equals(between(hours, "2024-11-01", "2024-12-01"))


def test_a_first_month_that_failed_is_not_answered_for_by_the_days_that_begin_late(
    archive, hours, bring
):
    early = {f"2024-11-{day:02}" for day in range(1, 15)}
    archive.add_bars("BTCUSDT", "1h", hours, without=early)
    archive.server.fail(Fault("status", r"2024-11\.zip", times=5, status=503))
    assert not bring(span("2024-10-01", "2025-01-01"))[1].ok
    assert bring(span("2024-11-01", "2024-11-10"))[0] == ["2024-11"]


@pytest.mark.parametrize("first", ["2024-12-10T07:00:00", "2024-12-10", "2024-12-01T09:00:00"])
def test_nothing_is_looked_for_before_the_first_bar(archive, connect, hours, first):
    archive.add_bars("BTCUSDT", "1h", between(hours, first, "2025-02-09"))
    source = connect()
    found = pieces(source)
    archive.server.forget()
    assert "days" not in source.fetch(found[0], Halt()).entry
    assert len(archive.server.requests) == 2


def test_the_first_days_that_the_first_month_lacks_come_too(archive, connect, hours):
    lacking(archive, hours, DATE < "2024-11-04")
    source = connect()
    assert_frame_equal(
        source.fetch(pieces(source)[0], Halt()).frame, between(hours, "2024-11-01", "2024-12-01")
    )


def test_after_the_end_of_a_delisted_symbol_nothing_is_downloaded(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", between(hours, "2024-11-01", "2024-11-20"), delisted=True)
    source = connect()
    found = pieces(source)
    archive.server.forget()
    assert len(source.fetch(found[0], Halt()).frame) == 19 * 24
    assert [path[-7:] for path in archive.server.paths] == ["-11.zip", "HECKSUM", "/bucket"]


def test_a_month_that_was_fetched_gives_way_to_its_days_and_nothing_comes_twice(
    archive, connect, hours
):
    lacking(archive, hours, DATE == "2024-12-24")
    files = versions(pieces(connect(), wanted=span("2024-11-01", "2025-02-01")))
    hole = span("2024-12-24", "2024-12-25")
    found = pieces(connect(), wanted=hole, missing=[hole], files=files)
    assert names(found) == ["2024-12-24"]
    files |= versions(found)
    assert pieces(connect(), wanted=hole, missing=[hole], files=files) == []
    archive.remove(DAY.format("2024-12-24"))
    assert pieces(connect(), wanted=hole, missing=[hole], files=files) == []


class Drawn:
    """The files of a series as they were drawn; months are 3 days long to be seen through."""

    def __init__(self, months: dict[int, str], days: dict[int, str]) -> None:
        self.monthly = [self._file(f"m{at}", months[at]) for at in sorted(months)]
        self._days = [self._file(f"d{at}", days[at]) for at in sorted(days)]
        begins = [file.span.start_ms for file in (*self.monthly, *self._days)]
        self.begin_ms = min(begins, default=None)

    def daily(self, from_ms: int) -> list[ArchiveFile]:
        return [file for file in self._days if file.span.start_ms >= from_ms // 3 * 3]

    def span_of(self, name: str) -> Span:
        at = int(name[1:])
        return Span(3 * at, 3 * at + 3) if name[0] == "m" else Span(at, at + 1)

    def _file(self, name: str, version: str) -> ArchiveFile:
        return ArchiveFile(name, name, self.span_of(name), version, None)


NAMES = [*(f"m{at}" for at in range(6)), *(f"d{at}" for at in range(18))]
VERSION = st.sampled_from(["one", "two"])
BITS = st.lists(st.booleans(), min_size=18, max_size=18)


@settings(max_examples=300)
@given(
    months=st.dictionaries(st.integers(0, 5), VERSION),
    days=st.dictionaries(st.integers(0, 17), VERSION),
    held=st.dictionaries(st.sampled_from(NAMES), VERSION | st.just("")),
    missing=BITS,
    wanted=st.tuples(st.integers(0, 17), st.integers(1, 18)).filter(lambda two: two[0] < two[1]),
)
def test_the_files_chosen_are_enough_and_none_is_idle(months, days, held, missing, wanted):
    series, limits = Drawn(months, days), Span(*wanted)
    open_days = [i for i in range(*wanted) if missing[i]]
    spans = [Span(i, i + 1) for i in open_days]
    chosen = choose_files(series, wanted=limits, missing=spans, files=held)
    taken = {file.name for file, _ in chosen}
    current = {file.name: file.version for file in (*series.monthly, *series._days)}
    assert len(taken) == len(chosen)
    for i in open_days:
        ways = {f"m{i // 3}"} if i // 3 in months else set()
        ways |= {f"d{i}"} if i in days else set()
        ways = {name for name in ways if held.get(name) != current[name]}
        assert not ways or ways & taken, f"day {i} could be had from {ways}"
    for file, replaces in chosen:
        assert held.get(file.name) != file.version
        anew = file.name in held
        inside = range(file.span.start_ms, file.span.end_ms)
        assert anew or set(inside) & set(open_days)
        assert replaces or not held.get(file.name)
    touching = {n for n in held if set(range(*series.span_of(n))) & set(range(*wanted))}
    for name in touching & current.keys():
        assert name in taken or held[name] == current[name]


# Weeks


def test_weeks_are_refused_for_they_are_made_of_days(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours)
    with pytest.raises(UsageError, match=r"has no whole weeks: .* fetch 1d, of which") as error:
        connect().first_ms("BTCUSDT", "1w")
    assert one_line(error)
    with pytest.raises(UsageError, match="has no whole weeks"):
        pieces(connect(), timeframe="1w")


# Failures


@pytest.fixture
def one_piece(archive, connect, hours):
    """Return a source and its piece for November 2024."""
    archive.add_bars("BTCUSDT", "1h", hours)
    source = connect()
    piece = pieces(source)[0]
    archive.server.forget()
    return source, piece


@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset", times=2),
        Fault("truncated", times=2),
        Fault("status", status=503, times=2),
        Fault("status", status=429, headers={"Retry-After": "1"}, times=2),
    ],
    ids=lambda fault: fault.kind,
)
@pytest.mark.parametrize("path", [r"\.zip$", r"\.CHECKSUM$"])
def test_passing_failures_leave_no_trace(archive, one_piece, hours, fault, path):
    source, piece = one_piece
    archive.server.fail(Fault(fault.kind, path, fault.times, fault.status, fault.headers))
    assert_frame_equal(
        source.fetch(piece, Halt()).frame, between(hours, "2024-11-01", "2024-12-01")
    )
    assert len(archive.server.requests) == 4


def test_passing_failures_of_the_listing_leave_no_trace(archive, connect, hours):
    archive.add_bars("BTCUSDT", "1h", hours)
    whole = pieces(connect())
    for kind in ("reset", "truncated", "status"):
        archive.server.fail(Fault(kind, "/bucket"))
    assert pieces(connect()) == whole


def test_a_lasting_failure_of_one_file_names_it(archive, one_piece):
    source, piece = one_piece
    archive.server.fail(Fault("status", r"\.zip$", times=99))
    words = failure(source, piece)
    assert words.startswith(f"{archive.server.url}/{MONTH.format('2024-11')}: answered 500")


def test_an_archive_that_cannot_be_reached_is_told_in_one_line(connect):
    url = f"http://user:secret@127.0.0.1:{closed_port()}"
    source = connect(files=url, listing=url)
    with pytest.raises(SourceUnreachableError) as error:
        source.first_ms("BTCUSDT", "1h")
    assert "cannot be reached" in one_line(error)
    assert "secret" not in one_line(error)


def test_a_hanging_archive_is_given_up(archive, one_piece):
    source, piece = one_piece
    source._client.close()
    source._client = HttpClient(connections=1, read_s=0.05)
    archive.server.fail(Fault("hang", times=99))
    assert "no answer for 0.05 s (5 tries)" in failure(source, piece)


def test_a_ban_ends_the_fetch(archive, one_piece):
    source, piece = one_piece
    archive.server.fail(Fault("status", status=418, headers={"Retry-After": "60"}, times=99))
    with pytest.raises(SourceUnreachableError, match="bans this address until"):
        source.fetch(piece, Halt())
    assert len(archive.server.requests) == 1


def test_a_halt_ends_the_wait_between_tries(archive, one_piece):
    source, piece = one_piece
    archive.server.fail(Fault("status", status=500, times=99))
    with pytest.raises(FetchError, match="interrupted"):
        source.fetch(piece, Halt(at_once=True))
    assert len(archive.server.requests) == 1


def test_a_checksum_that_is_wrong_once_is_asked_for_again(archive, one_piece, hours):
    source, piece = one_piece
    wrong = b"0" * 64 + b"  BTCUSDT-1h-2024-11.zip\n"
    archive.server.fail(Fault("status", r"\.CHECKSUM$", status=200, body=wrong))
    delivery = source.fetch(piece, Halt())
    assert_frame_equal(delivery.frame, between(hours, "2024-11-01", "2024-12-01"))
    assert delivery.entry["checksum_agreed"] is True
    assert [path[-9:] for path in archive.server.paths] == ["24-11.zip", ".CHECKSUM"] * 2


def test_a_checksum_that_stays_wrong_is_an_error_with_both_digests(archive, connect, one_piece):
    source, piece = one_piece
    key = MONTH.format("2024-11")
    true = archive.content(f"{key}.CHECKSUM").decode()
    archive.put(key, archive.content(key), checksum=b"ab" * 32 + b"  BTCUSDT-1h-2024-11.zip\n")
    words = failure(source, piece)
    assert f"SHA-256 {true[:12]}... differs from {'ab' * 6}... in its .CHECKSUM" in words
    assert "nothing of it is stored" in words


def test_a_file_without_a_checksum_is_taken_and_remembered_as_such(archive, one_piece, hours):
    source, piece = one_piece
    key = MONTH.format("2024-11")
    archive.put(key, archive.content(key), checksum=None)
    delivery = source.fetch(piece, Halt())
    assert delivery.entry["checksum_agreed"] is False
    assert_frame_equal(delivery.frame, between(hours, "2024-11-01", "2024-12-01"))


@pytest.mark.parametrize("checksum", [b" ", b"sixty-four hex digits\n", b"\xff" * 64])
def test_a_checksum_file_without_a_checksum_is_an_error(archive, one_piece, checksum):
    source, piece = one_piece
    key = MONTH.format("2024-11")
    archive.put(key, archive.content(key), checksum=checksum)
    assert "CHECKSUM: no SHA-256 in it, expected 64 hex digits" in failure(source, piece)


def test_a_truncated_zip_is_an_error_with_and_without_a_checksum(archive, one_piece):
    source, piece = one_piece
    key = MONTH.format("2024-11")
    whole = archive.content(key)
    for checksum in (b"", None):
        archive.put(key, whole[:-1000], checksum=checksum)
        words = failure(source, piece)
        assert f"{key}: damaged or not a zip" in words


@pytest.mark.parametrize("path", [r"\.zip$", r"\.CHECKSUM$"])
def test_a_web_page_instead_of_a_file_is_told(archive, one_piece, path):
    source, piece = one_piece
    archive.server.fail(Fault("html", path, times=99))
    words = failure(source, piece)
    assert "a web page ('Login') came instead of a" in words
    assert "--url" in words


def test_a_web_page_instead_of_the_listing_is_told(archive, connect):
    archive.server.fail(Fault("html", times=99))
    with pytest.raises(FetchError, match=r"a web page \('Login'\) came instead of a listing"):
        connect().first_ms("BTCUSDT", "1h")


ENTITIES = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>
<ListBucketResult><Contents><Key>&b;</Key></Contents></ListBucketResult>"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no element found"),
        (b"<ListBucketResult><Contents>", "no element found"),
        (b"<Error><Code>AccessDenied</Code></Error>", "it is a 'Error', expected a ListBucket"),
        (ENTITIES, "it declares a document type"),
        (ENTITIES.decode().encode("utf-16"), "it declares a document type"),
        (b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "without a name"),
        (b"<ListBucketResult><Contents><Size>much</Size></Contents></ListBucketResult>", "much"),
    ],
)
def test_what_is_no_listing_is_refused(archive, connect, body, words):
    archive.server.fail(Fault("status", status=200, body=body, times=99))
    with pytest.raises(FetchError, match=r"/bucket: the listing of data/spot/.* cannot be read"):
        connect().first_ms("BTCUSDT", "1h")
    with pytest.raises(FetchError, match=words):
        connect().first_ms("BTCUSDT", "1h")


def test_a_listing_that_goes_in_circles_is_left(archive, connect):
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated>"
        b"<Contents><Key>data/x</Key></Contents></ListBucketResult>"
    )
    archive.server.fail(Fault("status", status=200, body=page, times=99))
    with pytest.raises(FetchError, match="goes in circles"):
        connect().listings()
    assert len(archive.server.requests) == 2


def test_a_bucket_that_is_not_there_is_told(archive, connect):
    source = connect(listing=f"{archive.server.url}/elsewhere")
    with pytest.raises(FetchError, match=r"/elsewhere: the listing of .* is not there \(404\)"):
        source.listings()


def test_a_file_that_is_listed_but_not_there_is_told(archive, one_piece):
    source, piece = one_piece
    archive.lose(MONTH.format("2024-11"))
    assert "2024-11.zip: listed, but not there (404); try again later" in failure(source, piece)


def test_bars_outside_the_month_of_a_file_are_refused(archive, one_piece, hours):
    source, piece = one_piece
    archive.put(MONTH.format("2024-11"), archive.content(MONTH.format("2024-12")))
    words = failure(source, piece)
    assert "744 bars lie outside its span, the first opens at 2024-12-01 00:00" in words
    assert "expected 2024-11-01 00:00 to 2024-12-01 00:00" in words


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ("1730419200000,1,2,1,1,x,0,0,0,0,0,0\n", "column 'volume' holds 'x', expected a number"),
        ("1730419200000,1,2,3,1,5,0,0,0,0,0,0\n", "low"),
        ("1730419200000,1,2,1,1,5\n", "no header line and 6 columns"),
        ("1730419200001,1,2,1,1,5,0,0,0,0,0,0\n", "grid"),
        ("", "the file is empty"),
    ],
)
def test_odd_cells_are_refused_with_their_place(archive, one_piece, cells, words):
    source, piece = one_piece
    key = MONTH.format("2024-11")
    archive.put(key, zip_of("BTCUSDT-1h-2024-11.csv", cells.encode()))
    told = failure(source, piece)
    assert f"{key}/BTCUSDT-1h-2024-11.csv" in told
    assert words in told


@pytest.mark.parametrize("inside", [[], ["readme.txt"], ["a.csv", "b.csv"]])
def test_a_zip_without_exactly_one_table_is_refused(archive, one_piece, inside):
    source, piece = one_piece
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for name in inside:
            zipped.writestr(name, "words")
    archive.put(MONTH.format("2024-11"), packed.getvalue())
    assert "CSV files inside, expected one" in failure(source, piece)


def test_secrets_in_the_address_are_in_no_message_and_no_log(archive, connect, hours, caplog):
    caplog.set_level(logging.INFO)
    archive.add_bars("BTCUSDT", "1h", hours)
    secret = {key: url.replace("//", "//user:secret@") for key, url in archive.urls.items()}
    source = connect(**secret)
    piece = pieces(source)[0]
    told = [str(source.fetch(piece, Halt()).entry), str(piece)]
    for fault in (
        Fault("status", status=403, times=99),
        Fault("status", times=99),
        Fault("html", times=99),
        Fault("truncated", times=99),
    ):
        archive.server.forget()
        archive.server.fail(fault)
        told.append(failure(source, piece))
        with pytest.raises(FetchError) as error:
            connect(**secret).listings()
        told.append(one_line(error))
    assert not [words for words in told if "secret" in words or "user" in words]
    assert "secret" not in caplog.text
    assert archive.server.requests[0].headers["Authorization"].startswith("Basic ")


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_zip_is_read_rightly_or_refused(data):
    from walkforge.base import BarsError
    from walkforge.market import bars_frame_of_zip

    content = bytearray(zip_of("a.csv", b"1730419200000,1,2,1,1,5,0,0,0,0,0,0\n"))
    true = bars_frame_of_zip(bytes(content), "a.zip", "1h")
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        got = bars_frame_of_zip(bytes(content), "a.zip", "1h")
    except BarsError as error:
        assert "a.zip" in str(error)  # noqa: PT017
    else:
        assert_frame_equal(got, true)


# What a user says


def test_unknown_words_are_refused(archive):
    with pytest.raises(UsageError, match=r"unknown market 'spott' \(did you mean 'spot'\?\)"):
        binance_archive(market="spott", urls=archive.urls)
    with pytest.raises(UsageError, match=r"unknown URL 'file'.*'files'"):
        binance_archive(urls={"file": "http://127.0.0.1"})
    with pytest.raises(UsageError, match="the URL of 'listing' is"):
        binance_archive(urls={"listing": "127.0.0.1"})
    assert set(archive.urls) == set(DEFAULT_URLS)


def test_a_source_says_what_it_is(connect):
    spot, perpetual = connect(), connect("perpetual")
    assert (spot.name, spot.venue, perpetual.venue) == ("binance-archive", "binance", "binance_um")
    assert (spot.provenance, spot.calendar, spot.connections) == ("exchange", "24/7", 8)
    assert spot.limits
    assert set(TIMEFRAMES_MS) >= {"1m", "1h", "1w"}


# Funding


@pytest.fixture
def perpetual(archive, connect, hours):
    """Return a source of perpetuals that lists BTCUSDT."""
    archive.add_bars("BTCUSDT", "1h", hours[-48:], market="perpetual")
    return connect("perpetual")


@pytest.fixture
def rates() -> pl.DataFrame:
    first, last = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 3, 31, 16, tzinfo=UTC)
    moments = pl.datetime_range(first, last, "8h", time_unit="ms", eager=True)
    values = [(-1) ** i * (i % 37) / 1e6 + 1e-8 * i for i in range(len(moments))]
    return pl.DataFrame({"timestamp": moments, "rate": values})


@pytest.mark.parametrize("late_ms", [0, 3, 499, -2])
def test_funding_comes_to_the_bit_at_whole_seconds(archive, perpetual, rates, late_ms):
    archive.add_funding("BTCUSDT", rates[1:], late_ms=late_ms)
    got = perpetual.funding("BTC/USDT", span("2024-01-20", "2024-03-10T08:00:00"), Halt()).frame
    assert_frame_equal(got, between(rates, "2024-01-20", "2024-04-01"), check_exact=True)


def test_only_the_months_of_the_span_are_downloaded(archive, perpetual, rates):
    archive.add_funding("BTCUSDT", rates)
    got = perpetual.funding("BTCUSDT", span("2024-02-03", "2024-02-04"), Halt()).frame
    assert_frame_equal(got, between(rates, "2024-02-03", "2024-03-01"))
    assert [path for path in archive.server.paths if path.endswith(".zip")] == [
        "/data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-02.zip"
    ]
    assert (
        perpetual.funding("BTCUSDT", span("2025-02-03", "2025-02-04"), Halt()).frame.schema
        == rates.schema
    )


@pytest.mark.parametrize(
    ("start", "downloaded"),
    [
        ("2024-02-29T16:00:00.001", ["2024-03"]),  # right after the last rate of February
        ("2024-02-29T20:00:00.001", ["2024-03"]),
        ("2024-02-29T08:00:00.001", ["2024-02", "2024-03"]),
        ("2024-02-29T16:00:00.000", ["2024-02", "2024-03"]),
        ("2024-02-29T18:30:00.000", ["2024-02", "2024-03"]),  # no rate is known there
    ],
)
def test_a_month_whose_last_rate_is_known_is_not_downloaded_again(
    archive, perpetual, rates, start, downloaded
):
    archive.add_funding("BTCUSDT", rates)
    got = perpetual.funding("BTCUSDT", span(start, "2024-04-01"), Halt()).frame
    assert_frame_equal(got, between(rates, start, "2024-04-01"))
    zips = [path[-11:-4] for path in archive.server.paths if path.endswith(".zip")]
    assert sorted(zips) == downloaded


@pytest.mark.parametrize("interval", ["8h", "4h", "1h"])
def test_no_rate_is_lost_where_a_fetch_ends_in_the_last_hours_of_a_month(
    archive, perpetual, interval, tmp_path
):
    first, last = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 29, 23, tzinfo=UTC)
    moments = pl.datetime_range(first, last, interval, time_unit="ms", eager=True)
    archive.add_funding("BTCUSDT", pl.DataFrame({"timestamp": moments, "rate": 1e-4}))
    store = BarStore(tmp_path)
    folder = tmp_path / "binance_um" / "BTCUSDT"
    folder.mkdir(parents=True)
    for end in ("2024-01-31T18:00", "2024-03-01", "2024-03-01"):
        archive.server.forget()
        report = FetchReport()
        fetch_funding(perpetual, store, {"BTCUSDT": span("2024-01-01", end)}, report)
        assert report.ok
    assert not [path for path in archive.server.paths if path.endswith(".zip")]
    stored = read_funding(folder).timestamp
    assert stored.tolist() == moments.dt.epoch("ms").to_list()


class Interrupting(Halt):
    """The first wait interrupts the main thread as Ctrl-C does; each goes on until it is set."""

    def __init__(self) -> None:
        super().__init__()
        self._first = threading.Lock()

    def wait(self, timeout: float | None = None) -> bool:
        if self._first.acquire(blocking=False):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        self.waits.append(Event.wait(self, 20.0))
        return self.is_set()


@pytest.mark.usefixtures("in_front")
def test_ctrl_c_ends_the_waits_for_funding(archive, perpetual, rates):
    archive.add_funding("BTCUSDT", rates)
    archive.server.fail(Fault("status", "fundingRate-2024", 9, 429, {"Retry-After": "250"}))
    halt = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        perpetual.funding("BTCUSDT", span("2024-01-01", "2024-04-01"), halt)
    assert halt.is_set()  # which ends every wait under way


def test_a_perpetual_without_funding_files_has_no_rates(perpetual):
    assert len(perpetual.funding("BTCUSDT", WINTER, Halt()).frame) == 0
    with pytest.raises(UsageError, match=r"no perpetual symbol 'BTCUSD' \(did you mean 'BTCUSDT'"):
        perpetual.funding("BTCUSD", WINTER, Halt())


def test_spot_has_no_funding(connect):
    with pytest.raises(UsageError, match="spot has no funding rates; name the market: perpetual"):
        connect().funding("BTCUSDT", WINTER, Halt())


FUNDING = "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-11.zip"
TITLES = "calc_time,funding_interval_hours,last_funding_rate\n"


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ("calc_time,rate\n1,2\n", "the columns are calc_time, rate, expected calc_time, last_fund"),
        (TITLES + "1730419200000,8,high\n", "row 0 holds 1730419200000, high, expected"),
        (TITLES + "1730419200000,8,0.1\n,8,0.1\n", "row 1 holds None, 0.1, expected milliseconds"),
        (TITLES + "1730419200000,8,nan\n", "row 0 holds"),
        (TITLES + "1730419200000,8,1\n1730419200009,8,2\n", "two funding rates for 2024-11-01 00"),
        (TITLES + "1730419200000,8,1,1,1,1\n", "not a proper CSV file"),
    ],
)
def test_odd_funding_is_refused(archive, perpetual, cells, words):
    archive.put(FUNDING, zip_of("BTCUSDT-fundingRate-2024-11.csv", cells.encode()))
    ((month, reason),) = perpetual.funding("BTCUSDT", WINTER, Halt()).failed.items()
    assert month == span("2024-11-01", "2024-12-01")
    assert re.search(words, reason)
    assert f"{archive.server.url}/{FUNDING}: " in reason
    assert "\n" not in reason


def test_damaged_funding_is_named_and_the_other_months_come(archive, perpetual, rates):
    archive.add_funding("BTCUSDT", rates)
    key = FUNDING.replace("2024-11", "2024-02")
    archive.put(key, archive.content(key)[:-30])
    got = perpetual.funding("BTCUSDT", span("2024-01-01", "2024-04-01"), Halt())
    (reason,) = got.failed.values()
    assert "2024-02.zip: damaged or not a zip" in reason
    assert_frame_equal(got.frame, rates.filter(pl.col("timestamp").dt.month() != 2))
    archive.put(key, archive.content(key), checksum=b"cd" * 32)
    got = perpetual.funding("BTCUSDT", span("2024-01-01", "2024-04-01"), Halt())
    assert "differs from cdcdcdcdcdcd..." in got.failed[span("2024-02-01", "2024-03-01")]


@pytest.mark.parametrize("month", ["2024-01", "2024-02", "2024-03"])
def test_a_damaged_month_of_funding_alone_is_asked_for_again(
    archive, perpetual, rates, month, tmp_path
):
    archive.add_funding("BTCUSDT", rates)
    key = FUNDING.replace("2024-11", month)
    whole = archive.content(key)
    archive.put(key, whole[:-30])
    folder = tmp_path / "binance_um" / "BTCUSDT"
    folder.mkdir(parents=True)

    def bring():
        archive.server.forget()
        report, wanted = FetchReport(), span("2024-01-01", "2024-04-01")
        fetch_funding(perpetual, BarStore(tmp_path), {"BTCUSDT": wanted}, report)
        zips = [path[-11:-4] for path in archive.server.paths if path.endswith(".zip")]
        return sorted(zips), report

    zips, report = bring()
    assert zips == ["2024-01", "2024-02", "2024-03"]
    assert [(one.series, one.piece) for one in report.failed] == [("BTCUSDT", "funding")]
    assert f"{month}.zip: damaged" in report.failed[0].reason
    missing = len(rates.filter(pl.col("timestamp").dt.strftime("%Y-%m") == month))
    assert report.funding == {"BTCUSDT": len(rates) - missing}
    assert bring()[0] == [month]
    archive.put(key, whole)
    zips, report = bring()
    assert (zips, report.ok, report.funding) == ([month], True, {"BTCUSDT": missing})
    assert read_funding(folder).timestamp.tolist() == rates["timestamp"].dt.epoch("ms").to_list()
    assert bring()[0] == []
