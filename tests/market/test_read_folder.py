"""A folder SYMBOL/TIMEFRAME.parquet is read directly, with errors that help."""

import dataclasses
import shutil

import numpy as np
import pytest

from drawn import START_MS, random_bars
from walkforge.base import BarsError, UsageError
from walkforge.market import (
    BarStore,
    data_info,
    read_folder,
    read_venues,
    resample,
    venues_by_symbol,
)


@pytest.fixture
def folder(store: BarStore):
    for symbol in ("AAAUSDT", "BBBUSDT"):
        store.write(random_bars(600, symbol=symbol))
    store.write(random_bars(40, 1, symbol="CCCUSDT", timeframe="1h"))
    return store.root / "drawn"


def test_all_symbols_that_have_the_timeframe_are_read_in_order(folder):
    bars = read_folder(folder, timeframe="1m")
    assert list(bars) == ["AAAUSDT", "BBBUSDT"]
    assert bars["AAAUSDT"].name == "drawn/AAAUSDT/1m"


def test_named_symbols_come_in_the_order_named(folder):
    assert list(read_folder(folder, timeframe="1m", symbols=["BBBUSDT", "AAAUSDT"])) == [
        "BBBUSDT",
        "AAAUSDT",
    ]


def test_a_missing_timeframe_is_made_from_shorter_bars_and_said(folder):
    bars = read_folder(folder, timeframe="15m", symbols=["AAAUSDT"])["AAAUSDT"]
    expected = resample(random_bars(600), "15m")
    np.testing.assert_array_equal(bars.close, expected.close)
    assert data_info(bars)["repairs"] == ["resampled from 1m"]


def test_the_source_with_the_most_complete_bars_is_taken(store):
    bars = random_bars(600)
    store.write(bars.take(slice(0, 100)))
    longer = dataclasses.replace(resample(bars, "5m"), history=())
    store.write(longer)
    found = read_folder(store.root / "drawn", timeframe="15m")["RANDOM"]
    assert found.history == ("resampled from 5m",)
    early = read_folder(store.root / "drawn", timeframe="15m", end_ms=START_MS + 60 * 60_000)
    assert early["RANDOM"].history == ("resampled from 1m",)


def test_a_range_is_cut_on_opening_times(folder):
    start, end = START_MS + 60_000 * 10, START_MS + 60_000 * 20
    bars = read_folder(folder, timeframe="1m", start_ms=start, end_ms=end)["AAAUSDT"]
    assert (bars.timestamp[0], bars.timestamp[-1], len(bars)) == (start, end - 60_000, 10)


def test_a_symbol_that_is_not_there_is_named_with_the_nearest(folder):
    with pytest.raises(BarsError, match=r"no symbol 'aaausd' \(did you mean 'AAAUSDT'\?\); there"):
        read_folder(folder, timeframe="1m", symbols=["aaausd"])


def test_a_timeframe_without_a_way_to_it_is_named_with_what_is_there(folder):
    with pytest.raises(BarsError, match="no bars of 1m and none that add up to it; there are 1h"):
        read_folder(folder, timeframe="1m", symbols=["CCCUSDT"])
    with pytest.raises(UsageError, match="unknown timeframe '2m'"):
        read_folder(folder, timeframe="2m")


def test_an_empty_range_is_named_with_what_is_there(folder):
    with pytest.raises(BarsError, match=r"from 2030-01-01 00:00; there is 2024-01-01"):
        read_folder(folder, timeframe="1m", symbols=["AAAUSDT"], start_ms=1_893_456_000_000)
    with pytest.raises(BarsError, match=r"no bars of 1m from 2030-01-01 00:00"):
        read_folder(folder, timeframe="1m", start_ms=1_893_456_000_000)


def test_one_folder_too_high_is_explained(folder, tmp_path):
    with pytest.raises(BarsError, match="perhaps one of its folders is meant: drawn"):
        read_folder(folder.parent, timeframe="1m")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BarsError, match=r"expected SYMBOL/TIMEFRAME\.parquet below it"):
        read_folder(tmp_path / "empty", timeframe="1m")


def test_all_venues_are_read_and_the_longest_series_of_a_symbol_counts(store):
    store.write(random_bars(600, symbol="AAAUSDT"))
    for symbol, n_bars in (("AAAUSDT", 500), ("BBBUSDT", 300)):
        bars = random_bars(n_bars, 1, symbol=symbol)
        store.write(dataclasses.replace(bars, venue="another"))
    found = read_venues(store.root, timeframe="1m")
    assert {s: (one.venue, len(one)) for s, one in found.items()} == {
        "AAAUSDT": ("drawn", 600),
        "BBBUSDT": ("another", 300),
    }
    assert list(read_venues(store.root, timeframe="1m", symbols=["BBBUSDT"])) == ["BBBUSDT"]
    # Where only one of them has bars in the range, that one counts.
    late = read_venues(store.root, timeframe="1m", start_ms=START_MS + 550 * 60_000)
    assert {s: one.venue for s, one in late.items()} == {"AAAUSDT": "drawn"}


@pytest.fixture
def twins(store):
    """AAAUSDT at two venues with 600 and 500 bars, and BBBUSDT at the second alone."""
    for venue, symbol, n_bars in (
        ("drawn", "AAAUSDT", 600),
        ("another", "AAAUSDT", 500),
        ("another", "BBBUSDT", 300),
    ):
        store.write(dataclasses.replace(random_bars(n_bars, symbol=symbol), venue=venue))
    return store.root


def test_the_venues_of_a_symbol_are_told_without_a_file_being_opened(twins):
    manifest = twins / "drawn" / "AAAUSDT" / "1m" / "manifest.json"
    manifest.write_bytes(b"no bars")
    expected = {"AAAUSDT": ["another", "drawn"], "BBBUSDT": ["another"]}
    assert venues_by_symbol(twins, "1m") == venues_by_symbol(twins, "1h") == expected
    manifest.parent.rename(twins / "drawn" / "AAAUSDT" / "1d")
    assert venues_by_symbol(twins, "1h") == {"AAAUSDT": ["another"], "BBBUSDT": ["another"]}


def test_of_a_symbol_whose_venue_is_named_no_other_venue_counts(twins):
    venue_of = {"AAAUSDT": "another"}
    found = read_venues(twins, timeframe="1m", venue_of=venue_of)
    assert {s: (one.venue, len(one)) for s, one in found.items()} == {
        "AAAUSDT": ("another", 500),
        "BBBUSDT": ("another", 300),
    }
    late_ms = START_MS + 550 * 60_000
    with pytest.raises(BarsError, match=r"no bars of 1m from .* of AAAUSDT at another"):
        read_venues(twins, timeframe="1m", symbols=["AAAUSDT"], start_ms=late_ms, venue_of=venue_of)


def test_one_venues_folder_in_place_of_the_one_above_is_explained(twins):
    with pytest.raises(BarsError, match=r"/drawn: .* one venue's bars: the folder above is meant"):
        read_venues(twins / "drawn", timeframe="1m")
    (twins / "empty").mkdir()
    with pytest.raises(BarsError, match=r"expected VENUE/SYMBOL/TIMEFRAME\.parquet below it$"):
        read_venues(twins / "empty", timeframe="1m")


def test_what_no_venue_has_is_named(store):
    store.write(random_bars(60, symbol="AAAUSDT"))
    with pytest.raises(BarsError, match="no bars of 1m of GONE at any venue"):
        read_venues(store.root, timeframe="1m", symbols=["AAAUSDT", "GONE"])
    with pytest.raises(BarsError, match=r"no bars of 1m from .* at any venue"):
        read_venues(store.root, timeframe="1m", start_ms=START_MS + 60 * 60_000)
    with pytest.raises(BarsError, match="no such folder"):
        read_venues(store.root / "gone", timeframe="1m")


def test_a_broken_file_is_refused_with_its_path_and_row(folder):
    from walkforge.market import bars_to_frame

    frame = bars_to_frame(random_bars(600, symbol="AAAUSDT"))
    shutil.rmtree(folder / "AAAUSDT" / "1m")
    frame[[0, 2, 1]].write_parquet(folder / "AAAUSDT" / "1m.parquet")
    with pytest.raises(BarsError, match=r"1m.parquet: row 2 .* opens before row 1"):
        read_folder(folder, timeframe="1m")


def test_the_real_minute_bars_are_read_whole(shared_data):
    bars = read_folder(shared_data / "bars/binance", timeframe="1m", symbols=["BTCUSDT"])["BTCUSDT"]
    assert len(bars) == 519_931
    assert (bars.venue, bars.provenance, bars.calendar) == ("binance", "file", "24/7")
    info = data_info(bars)
    assert info["segments"] == info["holes"]["count"] + 1 > 1
