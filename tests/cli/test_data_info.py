"""`data info`, `data export` and `data list`, as a user types and sees them."""

import dataclasses
import io
import json
import re

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from command import call
from drawn import random_bars
from walkforge.base import utc_text
from walkforge.cli import _info_words, _stored_words
from walkforge.cli._info_details import print_details
from walkforge.cli._strips import axis_text
from walkforge.market import (
    Addition,
    BarStore,
    Instrument,
    Span,
    bars_to_frame,
    data_info,
    instrument_of,
    rows_of_frame,
    series_info,
    write_funding,
    write_instruments,
)

_DAY_MS = 86_400_000
_BLOCKS = "░▒▓█"


@pytest.fixture
def store(tmp_path):
    """Return a store of two venues, three timeframes, and one series that lies as one file."""
    store = BarStore(tmp_path / "bars")
    store.write(random_bars(3000, holes_at=(1000, 2000)))
    store.write(random_bars(900, timeframe="1h"))
    store.write(random_bars(500, symbol="LATE", holes_at=(100,)))
    path = store.root / "older" / "BTCUSDT" / "1d.parquet"
    path.parent.mkdir(parents=True)
    bars_to_frame(random_bars(60, timeframe="1d")).write_parquet(path)
    return store


def info_of(store, *words):
    status, out, err = call("data", "info", *words, "--store", str(store.root))
    assert status == 0, err
    return out


def seen(width, show, *told):
    """Return the lines that a terminal of a width shows."""
    out = io.StringIO()
    show(Console(file=out, force_terminal=True, width=width, highlight=False), *told)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()


def test_the_whole_store_is_a_line_per_series_under_an_axis_per_venue_and_timeframe(store):
    lines = info_of(store).splitlines()
    named = [line.split()[0] for line in lines if "|" in line]
    assert named == [
        "drawn/LATE/1m", "drawn/RANDOM/1m", "drawn/RANDOM/1h", "older/BTCUSDT/1d"
    ]  # fmt: skip
    strips = {line.split()[0]: line.split("|")[1] for line in lines if "|" in line}
    assert {len(strip) for strip in strips.values()} == {40}
    assert strips["drawn/RANDOM/1h"] == "█" * 40
    late, random = strips["drawn/LATE/1m"], strips["drawn/RANDOM/1m"]
    assert late.endswith(" " * 30), "it ends early on the common axis"
    assert random.count("█") == 38, "two of forty bins have a hole"
    assert "3,000 bars, 2024-01-01 to 2024-01-03, 2 holes, 20 missing bars" in lines[2]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("drawn", 3),
        ("drawn/RANDOM", 2),
        ("drawn/RANDOM/1h", 1),
        ("older/BTCUSDT/1d", 1),
        ("older", 1),
    ],
)
def test_a_venue_a_symbol_and_a_series_are_found_by_name_or_path(store, tmp_path, what, expected):
    by_name = json.loads(info_of(store, what, "--json"))
    by_path = json.loads(call("data", "info", f"{store.root}/{what}", "--json")[1])
    assert by_name == by_path
    assert len(by_name) == expected
    assert {"/".join([one["venue"], one["symbol"], one["timeframe"]])[: len(what)]
            for one in by_name} == {what}  # fmt: skip


def test_a_single_file_of_the_older_layout_is_found_by_its_path(store):
    [one] = json.loads(info_of(store, f"{store.root}/older/BTCUSDT/1d.parquet", "--json"))
    assert (one["symbol"], one["rows"]) == ("BTCUSDT", 60)


def test_a_name_that_is_not_there_is_one_line_with_the_nearest(store):
    status, _, err = call("data", "info", "drawn/RANDM", "--store", str(store.root))
    assert status == 2
    assert "did you mean 'drawn/RANDOM'" in err
    assert len(err.splitlines()) == 1
    status, _, err = call("data", "info", "drawn/RANDOM/5m", "--store", str(store.root))
    assert status == 2
    assert "'drawn/RANDOM/1m'" in err or "'drawn/RANDOM/1h'" in err


def test_no_store_at_all_is_one_line(tmp_path):
    status, _, err = call("data", "info", "--store", str(tmp_path / "none"))
    assert status == 1
    assert len(err.splitlines()) == 1


def test_the_json_holds_everything_that_the_bars_say(store):
    [one] = json.loads(info_of(store, "drawn/RANDOM/1m", "--json"))
    bars = store.read("drawn", "RANDOM", "1m")
    facts = data_info(bars)
    assert one["spans"] == facts["spans"]
    assert one["holes"]["all"] == facts["holes"]["largest"]
    assert (one["rows"], one["first"], one["last"]) == (3000, facts["first"], facts["last"])
    assert one["instrument"] == instrument_of("drawn", "RANDOM", bars).as_dict()
    assert one["funding"] is None
    assert one["size_bytes"] == store.list()[1].size_bytes
    many = json.loads(info_of(store, "--json"))
    told = {one["symbol"]: one["instrument"] for one in many}
    assert told["RANDOM"] is None, "no prices are read for many series"
    assert told["BTCUSDT"]["source"] == "stored defaults"


def test_a_single_series_tells_where_it_came_from_and_what_it_trades_as(store):
    folder = store.root / "drawn"
    more = store.read("drawn", "RANDOM", "1m").take(slice(0, 10))
    entry = {"source": "made-archive", "file": "a.zip", "version": "1", "rows": 10}
    entry |= {"from": "2024-01-01 00:00", "to": "2024-01-02 00:00"}
    entry |= {"fetched_at": "2026-05-04T03:02:01+00:00"}
    store.add("drawn", "RANDOM", "1m", Addition(
        rows=rows_of_frame(bars_to_frame(more)), provenance="simulated", sources=(entry,),
        history=("mended by hand",),
    ))  # fmt: skip
    told = {"RANDOM": Instrument("RANDOM", 0.25, 0.5, 5.0, maker_fee_frac=-0.0001,
                                 taker_fee_frac=0.0005, funding_interval_h=8.0)}  # fmt: skip
    write_instruments(folder, told, source="made-api", fetched_at="2026-05-05T00:00:00+00:00")
    rates = pl.DataFrame({"timestamp": more.timestamp[[0, 9]], "rate": [1e-4, -1e-4]})
    rates = rates.with_columns(pl.col("timestamp").cast(pl.Datetime("ms", "UTC")))
    write_funding(folder / "RANDOM", rates, entry={"source": "made-api"}, provenance="simulated")
    lines = info_of(store, "drawn/RANDOM/1m").splitlines()
    assert len(lines[1]) == len(lines[2]) == 80
    assert set(lines[2]) <= set(_BLOCKS)
    text = "\n".join(lines)
    for part in (
        "provenance  simulated",
        "calendar    24/7",
        "holes       2 holes, 20 missing bars",
        "10 bars",
        "sources     made-archive: 1 piece, 2026-05-04 03:02",
        "columns     open, high, low, close, volume",
        "history     mended by hand",
        "tick 0.25, lot step 0.5, minimum notional 5",
        "maker fee -0.01 %, taker fee 0.05 %, funding every 8 h",
        "by made-api, 2026-05-05T00:00:00+00:00",
        "funding     2 rates, 2024-01-01 to 2024-01-01, simulated",
    ):
        assert part in text
    first = random_bars(3000, holes_at=(1000, 2000)).timestamp[999:1001]
    assert " to ".join(utc_text(int(at)) for at in first) in text


def test_of_many_holes_the_ten_largest_are_named(store):
    bars = random_bars(400, symbol="HOLES", holes_at=tuple(range(20, 300, 20)))
    store.write(dataclasses.replace(bars, timestamp=np.where(
        np.arange(400) < 100, bars.timestamp, bars.timestamp + 6_000_000
    )))  # fmt: skip
    lines = info_of(store, "drawn/HOLES/1m").splitlines()
    shown = [line for line in lines if re.search(r":\d\d, \d+ bars$", line)]
    assert len(shown) == 10
    assert shown[0].endswith(", 110 bars")
    assert any("and 4 smaller ones" in line for line in lines)


@pytest.mark.parametrize("width", [30, 46, 60, 80, 100, 160])
def test_nothing_is_wider_than_the_terminal_and_nothing_is_left_out(store, width):
    infos = [series_info(one) for one in store.list()]
    lines = seen(width, _info_words.print_infos, infos)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for part in ("drawn, 1m: 2 series", "RANDOM", "3,000", "LATE", "older, 1d"):
        assert part in text
    alone = seen(width, print_details, infos[1], instrument_of("older", "BTCUSDT"), None)
    assert max(map(len, alone)) <= width
    strip = next(line for line in alone if line and set(line) <= set(_BLOCKS))
    assert len(strip) == width
    listed = seen(width, _stored_words.print_stored, store.list())
    assert max(map(len, listed)) <= width
    assert "drawn/RANDOM/1m" in " ".join(listed)
    assert "simulated" in " ".join(listed)


def test_a_single_symbol_has_its_timeframes_on_one_axis(store):
    infos = [series_info(one) for one in store.list() if one.symbol == "RANDOM"]
    lines = seen(100, _info_words.print_infos, infos)
    assert lines[0].strip() == "drawn/RANDOM: 2 series"
    assert [line.split()[0] for line in lines[2:]] == ["1m", "1h"]


@pytest.mark.parametrize(
    ("days", "width", "text"),
    [
        (731, 21, "2024-01-01 2025-12-31"),
        (731, 40, f"2024-01-01{'2024-12-31':^20}2025-12-31"),
        (731, 15, "2024-01 2025-12"),
        (731, 12, "2024-01     "),
        (1, 24, "01-01 00:00  01-01 23:59"),
    ],
)
def test_an_axis_tells_its_ends_and_its_middle_where_there_is_room(days, width, text):
    start = 1_704_067_200_000
    assert axis_text(Span(start, start + days * _DAY_MS), width) == text


def test_the_list_in_a_pipe_is_a_plain_line_per_series(store):
    status, out, _ = call("data", "list", "--store", str(store.root))
    assert status == 0
    assert out.splitlines() == [one.summary() for one in store.list()]
    plain = json.loads(call("data", "list", "--store", str(store.root), "--json")[1])
    assert plain == [one.as_dict() for one in store.list()]


def test_the_list_on_a_wide_terminal_says_who_brought_the_bars_and_when(store):
    entry = {"source": "made-archive", "file": "a.zip", "version": "1"}
    rows = rows_of_frame(bars_to_frame(random_bars(5)))
    store.add("made", "BTC-USD", "1m", Addition(
        rows=rows, provenance="exchange", sources=(entry,)
    ))  # fmt: skip
    heads, *lines = seen(140, _stored_words.print_stored, store.list())
    assert heads.split() == [
        "Series", "Bars", "First", "Last", "Size", "Provenance", "Sources", "Fetched"
    ]  # fmt: skip
    made = next(line for line in lines if line.startswith("made/BTC-USD/1m"))
    assert re.search(r"\b5 .* exchange +made-archive +\d{4}-\d\d-\d\d \d\d:\d\d", made)


def test_an_empty_list_is_no_table(tmp_path):
    assert seen(100, _stored_words.print_stored, []) == []


def test_export_writes_resampled_bars_of_several_series_in_a_range(store, tmp_path):
    out = tmp_path / "out"
    words = ["drawn/RANDOM", "drawn/LATE", "--timeframe", "5m", "--as", "csv", "--out", str(out)]
    words += ["--since", "2024-01-01T01:00", "--until", "2024-01-01T03:00"]
    status, said, err = call("data", "export", *words, "--store", str(store.root))
    assert status == 0, err
    assert sorted(path.name for path in out.iterdir()) == ["LATE-5m.csv", "RANDOM-5m.csv"]
    table = pl.read_csv(out / "RANDOM-5m.csv", try_parse_dates=True)
    assert len(table) == 24
    assert str(table["timestamp"][0]) == "2024-01-01 01:00:00+00:00"
    assert set(table["provenance"]) == {"simulated"}
    assert said.splitlines()[0].startswith(f"{out / 'RANDOM-5m.csv'}: 24 bars of drawn/RANDOM/5m")
    again = call("data", "export", *words, "--store", str(store.root))
    assert again[0] == 2
    assert "is there already; nothing was written. Say --force" in again[2]
    status, said, _ = call(
        "data", "export", *words, "--force", "--json", "--store", str(store.root)
    )
    assert status == 0
    assert [one["rows"] for one in json.loads(said)] == [24, 22], "two of LATE are in its hole"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["RANDOM"], "'RANDOM' is no series; write VENUE/SYMBOL"),
        (["drawn/RANDOM/1m"], "'drawn/RANDOM/1m' is no series; write VENUE/SYMBOL"),
        (["drwan/RANDOM"], "no venue 'drwan' (did you mean 'drawn'?); there are drawn, older"),
        (["drawn/RANDOM", "--as", "xls"], "unknown format 'xls'"),
        (["drawn/RANDOM", "--since", "soon"], "'soon' is not a time"),
        (["drawn/RANDOM", "--since", "2024-02-01", "--until", "2024-01-01"], "is not before"),
    ],
)
def test_wrong_words_are_one_line_and_write_nothing(store, tmp_path, words, found):
    out = tmp_path / "out"
    words = [*words, "--timeframe", "1m", "--out", str(out), "--store", str(store.root)]
    status, _, err = call("data", "export", *words)
    assert status == 2
    assert found in err
    assert len(err.splitlines()) == 1
    assert not out.exists()


def test_a_symbol_that_is_not_there_is_named_with_the_nearest(store, tmp_path):
    words = ["drawn/RANDM", "--timeframe", "1m", "--out", str(tmp_path / "out")]
    status, _, err = call("data", "export", *words, "--store", str(store.root))
    assert status == 1
    assert "no symbol 'RANDM' (did you mean 'RANDOM'?)" in err


@pytest.mark.parametrize("command", ["info", "export"])
def test_every_command_has_help_with_an_example(command):
    status, out, _ = call("data", command, "--help")
    assert status == 0
    assert f"Example: walkforge data {command} " in " ".join(out.split())
