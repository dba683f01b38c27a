"""`data fetch` and `data repair --from` as a user calls them, against a local archive."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

from command import call
from drawn import random_bars
from servers.archive import ArchiveServer
from servers.local import Fault, closed_port
from walkforge.base import parse_utc_ms
from walkforge.cli._fetching import read_urls
from walkforge.market import BarStore, bars_from_frame, bars_to_frame, read_funding, simulate

SINCE = ("--since", "2024-01-01", "--until", "2024-04-10")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
OFTEN_STORED = """
from walkforge.cli import main
from walkforge.sources import _fetch
_fetch._STORE_EVERY_S = 0.1
main()
"""
FIELDS = ("timestamp", "open", "high", "low", "close", "volume")


@pytest.fixture(scope="module")
def hours(shared_data) -> dict[str, pl.DataFrame]:
    """Return the real hours of three coins in the first hundred days of 2024."""
    begin, end = pl.datetime(2024, 1, 1, time_zone="UTC"), pl.datetime(2024, 4, 10, time_zone="UTC")
    return {
        symbol: pl.read_parquet(shared_data / "bars/binance" / symbol / "1h.parquet").filter(
            pl.col("timestamp").is_between(begin, end, closed="left")
        )
        for symbol in SYMBOLS
    }


@pytest.fixture(scope="module")
def three_coins(hours):
    """Return an archive that is copied and not served."""
    archive = ArchiveServer()
    for symbol, frame in hours.items():
        archive.add_bars(symbol, "1h", frame)
    return archive


@pytest.fixture
def archive(three_coins, monkeypatch):
    monkeypatch.setattr("walkforge.sources._http.FIRST_WAIT_S", 0.0)
    with ArchiveServer(page_size=20, like=three_coins) as server:
        words = " ".join(f"{key}={url}" for key, url in server.urls.items())
        monkeypatch.setenv("WALKFORGE_URLS", words)
        yield server


@pytest.fixture
def place(tmp_path):
    return tmp_path / "bars"


def fetch(place, *words):
    return call("data", "fetch", *words, "--store", str(place))


def assert_equal_bits(place, frame, symbol, venue="binance", timeframe="1h"):
    back = BarStore(place).read(venue, symbol, timeframe)
    np.testing.assert_array_equal(back.timestamp, frame["timestamp"].dt.epoch("ms").to_numpy())
    for name in FIELDS[1:]:
        np.testing.assert_array_equal(getattr(back, name), frame[name].to_numpy(), err_msg=name)
    return back


def before(frame, month, day):
    return frame.filter(pl.col("timestamp") < pl.datetime(2024, month, day, time_zone="UTC"))


def funding_of(frame):
    """Return a rate for every eighth hour, each another."""
    return frame.filter(pl.col("timestamp").dt.hour() % 8 == 0).select(
        "timestamp", rate=pl.lit(0.0001) + pl.int_range(pl.len()) * 1e-7
    )


def zips(archive):
    return [path for path in archive.server.paths if path.endswith(".zip")]


def test_three_coins_come_to_the_bit_and_a_second_time_nothing_is_downloaded(archive, place, hours):
    words = ("binance-archive", *SYMBOLS, "--timeframe", "1h", *SINCE)
    status, out, _ = fetch(place, *words)
    assert status == 0, out
    for symbol, frame in hours.items():
        back = assert_equal_bits(place, frame, symbol)
        assert (back.provenance, back.calendar) == ("exchange", "24/7")
        assert f"binance/{symbol}/1h: {len(frame):,} new bars" in out
    archive.server.forget()
    status, out, err = fetch(place, *words)
    assert status == 0
    assert zips(archive) == []
    assert "everything that was asked for is stored already" in err


def test_a_dry_run_tells_and_changes_nothing(archive, place):
    words = ("binance-archive", "BTCUSDT", "BTC/USDT", "--timeframe", "1h", *SINCE, "--dry-run")
    status, out, _ = fetch(place, *words)
    assert status == 0
    assert "BTCUSDT/1h: 2024-01-01 00:00 to 2024-04-10 00:00, 12 pieces" in out
    assert out.endswith("nothing was changed\n")
    assert not place.exists()
    assert zips(archive) == []
    _, out, _ = fetch(place, *words, "--json")
    plan = json.loads(out)
    assert [one["symbol"] for one in plan] == ["BTCUSDT"]
    assert plan[0]["pieces"][0] == "BTCUSDT-1h-2024-01.zip"
    assert plan[0]["size_bytes"] > 10_000


def test_update_brings_what_is_new_and_nothing_else(archive, place, hours):
    early = ("--since", "2024-01-01", "--until", "2024-03-01")
    fetch(place, "binance-archive", "BTCUSDT", "ETHUSDT", "--timeframe", "1h", *early)
    archive.server.forget()
    status, _, _ = fetch(place, "binance-archive", "--update")
    assert status == 0
    assert_equal_bits(place, hours["BTCUSDT"], "BTCUSDT")
    assert_equal_bits(place, hours["ETHUSDT"], "ETHUSDT")
    assert not [name for name in zips(archive) if "2024-01" in name or "2024-02" in name]
    assert [one.symbol for one in BarStore(place).list()] == ["BTCUSDT", "ETHUSDT"]


def test_an_update_brings_what_failed_in_the_middle_before(archive, place, hours):
    fetch(place, "binance-archive", "BTCUSDT", "--timeframe", "1h", *SINCE[:3], "2024-03-20")
    key = "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-04-03.zip"
    good = archive.content(key)
    archive.put(key, good, checksum=b"ab" * 32)
    status, _, err = fetch(place, "binance-archive", "--update")
    assert status == 1
    assert "the same command fetches the rest" in err
    assert len(BarStore(place).holes("binance", "BTCUSDT", "1h")) == 1
    archive.put(key, good)
    status, _, err = fetch(place, "binance-archive", "--update")
    assert status == 0, err
    assert_equal_bits(place, hours["BTCUSDT"], "BTCUSDT")


def test_an_update_asks_once_for_holes_that_nobody_was_asked_about(archive, place, hours):
    day = pl.datetime(2024, 2, 10, time_zone="UTC")
    bars = hours["BTCUSDT"].filter(~pl.col("timestamp").is_between(day, day + pl.duration(days=1)))
    BarStore(place).write(
        bars_from_frame(bars, venue="binance", symbol="BTCUSDT", timeframe="1h", calendar="24/7")
    )
    fetch(place, "binance-archive", "--update")
    assert_equal_bits(place, hours["BTCUSDT"], "BTCUSDT")
    archive.server.forget()
    status, _, _ = fetch(place, "binance-archive", "--update")
    assert status == 0
    assert zips(archive) == []


def test_an_update_of_files_brings_a_new_file_from_before_the_first_bar(place, tmp_path, hours):
    folder = tmp_path / "downloads"
    folder.mkdir()
    words = ("files", "--folder", str(folder), "--exchange", "binance")
    frame, begins = hours["BTCUSDT"], pl.datetime(2024, 2, 1, time_zone="UTC")
    frame.filter(pl.col("timestamp") >= begins).write_csv(folder / "BTCUSDT-1h-late.csv")
    assert fetch(place, *words)[0] == 0
    frame.filter(pl.col("timestamp") < begins).write_csv(folder / "BTCUSDT-1h-early.csv")
    status, out, err = fetch(place, *words, "--update")
    assert (status, "744 new bars" in out) == (0, True), err
    assert_equal_bits(place, frame, "BTCUSDT")


@pytest.mark.parametrize("words", [["--timeframe", "4h"], ["ETHUSDT"]])
def test_an_update_of_what_is_not_stored_tells_which_series_are(archive, place, words):
    fetch(place, "binance-archive", "BTCUSDT", "--timeframe", "1h", *SINCE)
    status, _, err = fetch(place, "binance-archive", *words, "--update")
    assert status == 2
    told = "none of the stored series of binance is meant; there are BTCUSDT/1h"
    assert err.splitlines()[-1].endswith(told)


def test_a_universe_fetches_the_assets_of_the_sources_venue(archive, place, tmp_path):
    universe = tmp_path / "mine.yaml"
    entry = "{{venue: {}, category: c, currency: USDT, calendar: 24/7, symbols: {}}}"
    universe.write_text(
        "assets:\n"
        f"  - {entry.format('binance', '{SOLUSDT: {listed: 2024-03-01, delisted: 2024-04-01}}')}\n"
        f"  - {entry.format('binance', '[GONEUSDT]')}\n"
        f"  - {entry.format('yahoo', '[AAPL]')}\n"
    )
    words = ("binance-archive", "--universe", str(universe), "--timeframe", "1h", *SINCE)
    status, _, err = fetch(place, *words)
    assert status == 0, err
    assert "assets of other venues, left out: 1" in err
    assert "binance-archive does not list GONEUSDT: left out" in err
    stored = BarStore(place).list()
    assert [(one.symbol, one.rows) for one in stored] == [("SOLUSDT", 31 * 24)]


def test_perpetuals_bring_their_funding_rates(archive, place, hours):
    frame = hours["BTCUSDT"]
    archive.add_bars("BTCUSDT", "1h", frame, market="perpetual")
    rates = funding_of(frame)
    archive.add_funding("BTCUSDT", rates)
    words = ("binance-archive", "BTCUSDT", "--market", "perpetual", "--timeframe", "1h", *SINCE)
    status, out, err = fetch(place, *words)
    assert status == 0, err
    assert_equal_bits(place, frame, "BTCUSDT", venue="binance_um")
    funding = read_funding(place / "binance_um" / "BTCUSDT")
    np.testing.assert_array_equal(funding.rate, rates["rate"].to_numpy())
    assert f"BTCUSDT funding: {len(rates)} new rates" in out
    _, out, _ = fetch(place, *words)
    assert "BTCUSDT funding: 0 new rates" in out


def test_an_update_brings_funding_that_was_published_after_its_bars(archive, place, hours):
    frame, rates = hours["BTCUSDT"], funding_of(hours["BTCUSDT"])
    archive.add_bars("BTCUSDT", "1h", before(frame, 2, 20), market="perpetual")
    archive.add_funding("BTCUSDT", before(rates, 2, 1))
    words = ("binance-archive", "--market", "perpetual")
    fetch(place, *words, "BTCUSDT", "--timeframe", "1h", *SINCE)
    for month, day, published in ((3, 5, 3), (3, 20, 3), (4, 2, 4)):
        archive.add_bars("BTCUSDT", "1h", before(frame, month, day), market="perpetual")
        archive.add_funding("BTCUSDT", before(rates, published, 1))
        status, _, err = fetch(place, *words, "--update")
        assert status == 0, err
        stored = read_funding(place / "binance_um" / "BTCUSDT").rate
        np.testing.assert_array_equal(stored, before(rates, published, 1)["rate"].to_numpy())


def test_funding_that_begins_late_is_not_downloaded_again(archive, place, hours):
    frame = hours["BTCUSDT"].filter(pl.col("timestamp") >= pl.datetime(2024, 2, 3, time_zone="UTC"))
    archive.add_bars("BTCUSDT", "1h", frame, market="perpetual")
    archive.add_funding("BTCUSDT", before(funding_of(frame), 4, 1))
    words = ("binance-archive", "BTCUSDT", "--market", "perpetual", "--timeframe", "1h", *SINCE)
    fetch(place, *words)
    archive.server.forget()
    fetch(place, *words)
    assert not [name for name in zips(archive) if "fundingRate-2024-0" in name]


def test_what_failed_is_named_exits_1_and_comes_the_next_time(archive, place, hours):
    archive.server.fail(Fault("html", path=r"BTCUSDT-1h-2024-02\.zip$", times=9))
    words = ("binance-archive", "BTCUSDT", "--timeframe", "1h", *SINCE)
    status, _, err = fetch(place, *words)
    assert status == 1
    assert "walkforge: error: BTCUSDT/1h: " in err
    assert "2024-02.zip" in err
    assert "what has come is stored; the same command fetches the rest" in err
    assert len(BarStore(place).read("binance", "BTCUSDT", "1h")) == len(hours["BTCUSDT"]) - 29 * 24
    archive.server.forget()
    status, _, _ = fetch(place, *words)
    assert status == 0
    assert [name.rsplit("/")[-1] for name in zips(archive)] == ["BTCUSDT-1h-2024-02.zip"]
    assert_equal_bits(place, hours["BTCUSDT"], "BTCUSDT")


def test_a_source_out_of_reach_is_one_line_without_secrets(place, monkeypatch):
    monkeypatch.setattr("walkforge.sources._http.FIRST_WAIT_S", 0.0)
    address = f"http://user:secret@127.0.0.1:{closed_port()}"
    urls = ("--url", f"files={address}", "--url", f"listing={address}/bucket")
    status, out, err = fetch(place, "binance-archive", "BTCUSDT", *urls)
    assert status == 1
    error = [line for line in err.splitlines() if "error" in line]
    assert len(error) == 1
    assert "127.0.0.1" in error[0]
    assert "secret" not in err + out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["binance-archive", "BTCUSD"], "did you mean 'BTCUSDT'?"),
        (["binance-archive", "BTCUSDT", "--timeframe", "7m"], "unknown timeframe '7m'"),
        (["binance-archive", "BTCUSDT", "--since", "yesterday"], "'yesterday' is not a time"),
        (["binance-archive", "BTCUSDT", "--since", "1d", "--until", "2d"], "does not lie before"),
        (["binance-archive"], "name the symbols"),
        (["binance-archive", "--update"], "no stored series of binance"),
        (["binance-archive", "A", "--universe", "case_c"], "not both"),
        (["binance-archive", "BTCUSDT", "--url", "files"], "expected KEY=URL"),
        (["binance-archiv", "BTCUSDT"], "did you mean 'binance-archive'?"),
        (["ccxt", "BTC-USD"], "--exchange"),
        (["files"], "--folder"),
        (["yahoo", "AAPL", "--market", "perpetual"], "yahoo has no --market perpetual"),
        (["sample", "--exchange", "kraken"], "sample has no --exchange"),
        (["binance-archive", "BTCUSDT", "--kind", "gbm"], "has no --kind"),
        (["binance-archive", "BTCUSDT", "--until", "2y"], "1y before now, does not lie before"),
        (["binance-archive", "BTCUSDT", "--url", "api=http://x"], "'api'"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(words, error, archive, place):
    status, _, err = fetch(place, *words)
    assert status == 2
    assert error in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_hole_is_fetched_from_a_source_that_has_it(archive, place, hours):
    store, frame = BarStore(place), hours["BTCUSDT"]
    with_hole = bars_of(frame).take(slice(0, 500)), bars_of(frame).take(slice(530, len(frame)))
    for piece in with_hole:
        store.write(piece)
    status, out, err = call(
        "data", "repair", str(place / "binance" / "BTCUSDT"), "--from", "binance-archive"
    )
    assert status == 0, err
    assert "30 new bars" in out
    assert_equal_bits(place, frame, "BTCUSDT")
    assert store.holes("binance", "BTCUSDT", "1h") == ()


def test_simulated_and_sample_bars_are_fetched_like_any_other(place):
    words = ("simulated", "AAA", "BBB", "--kind", "gbm", "--seed", "3", *SINCE)
    status, _, err = fetch(place, *words)
    assert status == 0, err
    back = BarStore(place).read("simulated", "AAA", "1h")
    whole = simulate(
        "gbm", n_bars=5 * 365 * 24, seed=3, symbol="AAA", timeframe="1h", start="2020-01-01"
    )
    first_ms, last_ms = int(back.timestamp[0]), int(back.timestamp[-1])
    assert len(back) == 100 * 24
    assert back.digest() == whole.between(first_ms, last_ms + 1).digest()
    assert back.provenance == "simulated"
    status, _, err = fetch(place, "sample", "--timeframe", "1d")  # all there is: it is little
    assert status == 0, err
    assert BarStore(place).read("index", "SP500", "1d").timestamp[0] < 946_684_800_000
    assert {one.provenance for one in BarStore(place).list()} == {"sample", "simulated"}


def test_a_span_without_bars_is_no_success(archive, place):
    words = ("binance-archive", "BTCUSDT", "--timeframe", "1h", "--since", "2025-01-01")
    status, _, err = fetch(place, *words)
    assert status == 1
    assert "BTCUSDT/1h: no bars from 2025-01-01 00:00 to" in err
    assert "its bars begin 2024-01-01 00:00. Ask for another span." in err
    assert not BarStore(place).list()


def test_an_address_without_a_key_is_refused_without_its_password(place):
    for words in (["--url", "https://user:secret@host/files"], ["--url", "files=ftp://u:secret@h"]):
        status, out, err = fetch(place, "binance-archive", "BTCUSDT", *words)
        assert status == 2
        assert "expected KEY=URL" in err
        assert "secret" not in err + out


def test_addresses_of_other_sources_in_the_environment_do_not_matter(archive, place, monkeypatch):
    others = "ccxt.api=http://127.0.0.1:9 yahoo.api=http://127.0.0.1:9"
    monkeypatch.setenv("WALKFORGE_URLS", f"{os.environ['WALKFORGE_URLS']} {others}")
    status, _, err = fetch(place, "binance-archive", "BTCUSDT", "--timeframe", "1h", *SINCE)
    assert status == 0, err
    assert fetch(place, "simulated", "AAA", "--since", "10d")[0] == 0


@pytest.mark.parametrize("words", ["ccxt.api={0} api={1}", "api={1} ccxt.api={0}"])
def test_an_address_for_one_source_counts_before_one_for_all(words, monkeypatch):
    monkeypatch.setenv("WALKFORGE_URLS", words.format("http://one", "http://all"))
    assert read_urls(None, "ccxt") == {"api": "http://one"}
    assert read_urls(None, "yahoo") == {"api": "http://all"}
    assert read_urls(["api=http://named"], "ccxt") == {"api": "http://named"}


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("listings", "listing"), ("binance-archive.file", "binance-archive.files")],
)
def test_an_address_in_the_environment_that_no_source_knows_is_refused(
    archive, place, monkeypatch, key, nearest
):
    words = f"{os.environ['WALKFORGE_URLS']} {key}=http://user:secret@127.0.0.1:9"
    monkeypatch.setenv("WALKFORGE_URLS", words)
    status, _, err = fetch(place, "binance-archive", "BTCUSDT", "--timeframe", "1h", *SINCE)
    assert status == 2
    told = f"unknown key in WALKFORGE_URLS {key!r} (did you mean {nearest!r}?); choose one of api, "
    assert told in err.splitlines()[-1]
    assert "secret" not in err
    assert archive.server.paths == []


def test_an_update_of_a_universe_ends_where_its_assets_do(archive, place, tmp_path, hours):
    universe = tmp_path / "mine.yaml"
    universe.write_text(
        "assets:\n  - {venue: binance, category: c, currency: USDT, calendar: 24/7, "
        "symbols: {BTCUSDT: {delisted: 2024-03-10}}}\n"
    )
    early = ("--since", "2024-02-01", "--until", "2024-02-10")
    fetch(place, "binance-archive", "BTCUSDT", "--timeframe", "1h", *early)
    status, _, err = fetch(place, "binance-archive", "--update", "--universe", str(universe))
    assert status == 0, err
    # Whole months and days come as they are; what the archive has after the end does not.
    assert BarStore(place).list()[0].last_ms < parse_utc_ms("2024-04-01")


def test_assets_that_ended_before_the_span_are_told(archive, place, tmp_path):
    universe = tmp_path / "mine.yaml"
    universe.write_text(
        "assets:\n  - {venue: binance, category: c, currency: USDT, calendar: 24/7, "
        "symbols: {BTCUSDT: {delisted: 2023-12-31}, ETHUSDT: {listed: 2020-01-01}}}\n"
    )
    words = ("binance-archive", "--universe", str(universe), "--timeframe", "1h", *SINCE)
    status, _, err = fetch(place, *words)
    assert status == 0, err
    told = "delisted before --since 2024-01-01 00:00, left out: BTCUSDT; without them these are"
    assert told in err
    assert [one.symbol for one in BarStore(place).list()] == ["ETHUSDT"]


def test_what_was_renamed_before_the_span_is_no_loss(archive, place, tmp_path):
    universe = tmp_path / "mine.yaml"
    universe.write_text(
        "assets:\n  - {venue: binance, category: c, currency: USDT, calendar: 24/7, "
        "symbols: {BTCUSDT: {renamed: 2023-12-31}, ETHUSDT: {listed: 2020-01-01}}}\n"
    )
    words = ("binance-archive", "--universe", str(universe), "--timeframe", "1h", *SINCE)
    status, _, err = fetch(place, *words)
    assert status == 0, err
    assert "renamed before --since 2024-01-01 00:00, left out: BTCUSDT" in err
    assert "survivors" not in err


def test_a_damaged_series_is_left_out_of_an_update_and_the_others_come(archive, place, hours):
    early = ("--since", "2024-01-01", "--until", "2024-03-01")
    fetch(place, "binance-archive", "BTCUSDT", "ETHUSDT", "--timeframe", "1h", *early)
    (place / "binance" / "BTCUSDT" / "1h" / "manifest.json").write_text("{")
    status, _, err = fetch(place, "binance-archive", "--update")
    assert status == 1
    assert "walkforge: error: BTCUSDT/1h: " in err
    assert "manifest.json: damaged" in err
    assert_equal_bits(place, hours["ETHUSDT"], "ETHUSDT")


@pytest.mark.usefixtures("in_front")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_fetch_cut_off_in_the_middle_goes_on_with_the_same_command(number, place, tmp_path):
    bars = random_bars(90 * 24 * 60, symbol="AAAUSDT")
    with ArchiveServer() as archive:
        archive.add_bars("AAAUSDT", "1m", bars_to_frame(bars))
        archive.server.fail(Fault("hang", path=r"2024-03.*\.zip$", times=50))
        words = [
            *(sys.executable, "-c", OFTEN_STORED, "data", "fetch", "binance-archive", "AAAUSDT"),
            *("--timeframe", "1m", "--since", "2024-01-01", "--until", "2024-03-31"),
            *("--store", str(place)),
        ]
        urls = " ".join(f"{key}={url}" for key, url in archive.urls.items())
        environment = {**os.environ, "WALKFORGE_URLS": urls}
        child = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
        patience = time.monotonic() + 60
        while not BarStore(place).list() and time.monotonic() < patience:
            time.sleep(0.05)
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
        if number == signal.SIGINT:
            assert child.returncode == 130
            assert "what has come is stored; the same command goes on from there" in err
        stored = BarStore(place).read("binance", "AAAUSDT", "1m")
        assert 0 < len(stored) < len(bars)
        months = set(stored.timestamp.astype("M8[ms]").astype("M8[M]").astype(str))
        archive.server.forget()
        done = subprocess.run(words, env=environment, check=False, timeout=120)
        assert done.returncode == 0
        assert months
        assert not [name for name in zips(archive) if name[-11:-4] in months]
        assert BarStore(place).read("binance", "AAAUSDT", "1m").digest() == bars.digest()


def bars_of(frame):
    from walkforge.market import bars_from_frame

    return bars_from_frame(
        frame, venue="binance", symbol="BTCUSDT", timeframe="1h", provenance="exchange"
    )
