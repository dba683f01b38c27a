"""One damaged series of a store is told, exit 1, and the others are seen all the same."""

import dataclasses
import json
from pathlib import Path

import pytest

from command import call
from drawn import random_bars
from walkforge.market import BarStore, bars_to_frame

NAMES = ("AAA", "BBB", "CCC")


def cut(place: Path) -> None:
    part = next(place.glob("2*.parquet"))
    part.write_bytes(part.read_bytes()[:-200])


def take_a_part(place: Path) -> None:
    next(place.glob("2*.parquet")).unlink()


def take_all_parts(place: Path) -> None:
    for part in place.glob("2*.parquet"):
        part.unlink()


def flip_a_byte(place: Path) -> None:
    part = next(place.glob("2*.parquet"))
    content = bytearray(part.read_bytes())
    content[100] ^= 255
    part.write_bytes(bytes(content))


def cut_the_manifest(place: Path) -> None:
    manifest = place / "manifest.json"
    manifest.write_text(manifest.read_text()[:-30])


@pytest.fixture
def store(tmp_path):
    """Return a store of three series, each with a hole."""
    store = BarStore(tmp_path / "bars")
    for number, name in enumerate(NAMES):
        bars = random_bars(1500, seed=number, symbol=name, timeframe="1h", holes_at=(400,))
        store.write(dataclasses.replace(bars, provenance="file"))
    return store


@pytest.fixture(params=[cut, take_a_part, take_all_parts, flip_a_byte, cut_the_manifest])
def damaged(request, store):
    request.param(store.path("drawn", "BBB", "1h"))
    return store


def test_a_check_finds_the_damage_and_what_the_others_have(damaged):
    status, out, err = call("data", "check", str(damaged.root), "--json")
    assert (status, err) == (1, "")
    reports = {Path(one["source"]).parent.name: one for one in json.loads(out)}
    kinds = {name: [found["kind"] for found in one["findings"]] for name, one in reports.items()}
    assert kinds == {"AAA": ["gaps"], "BBB": ["damaged"], "CCC": ["gaps"]}
    found = reports["BBB"]["findings"][0]
    assert (found["severity"], reports["BBB"]["usable"]) == ("error", False)
    assert str(damaged.path("drawn", "BBB", "1h")) in found["words"]
    assert "bring its bars in again" in found["words"]
    status, out, _ = call("data", "check", str(damaged.root), "--allow", "notes")
    assert status == 1
    assert out.count(": 10 missing bars\n") == 2


def test_a_file_that_cannot_be_read_stops_no_check_of_a_folder(tmp_path):
    (tmp_path / "AAA-1m.csv").write_text("")
    bars_to_frame(random_bars(50)).write_csv(tmp_path / "BBB-1m.csv")
    status, out, _ = call("data", "check", str(tmp_path))
    assert status == 1
    assert "damaged" in out
    assert "the file is empty, expected bars" in out
    assert "50 bars of 1m" in out


def test_info_shows_the_others_and_tells_the_damage(damaged):
    status, out, err = call("data", "info", "--store", str(damaged.root))
    assert status == 1
    shown = [line.split()[0] for line in out.splitlines() if "|" in line]
    assert shown == ["drawn/AAA/1h", "drawn/CCC/1h"]
    (told,) = err.splitlines()
    assert told.startswith(f"walkforge: error: {damaged.path('drawn', 'BBB', '1h')}")
    status, out, err = call("data", "info", "--store", str(damaged.root), "--json")
    assert (status, [one["symbol"] for one in json.loads(out)]) == (1, ["AAA", "CCC"])


def test_info_of_the_damaged_series_alone_is_one_line(damaged):
    status, out, err = call("data", "info", "drawn/BBB", "--store", str(damaged.root))
    assert (status, out, len(err.splitlines())) == (1, "", 1)


def test_damage_elsewhere_is_not_told_of_another_series(damaged):
    status, out, err = call("data", "info", "drawn/AAA", "--store", str(damaged.root))
    assert (status, err) == (0, "")
    assert "1,500 bars" in out


def test_a_repair_mends_the_others_and_says_what_it_left_out(damaged, tmp_path):
    for number, name in enumerate(NAMES):
        whole = random_bars(1510, seed=9 + number, symbol=name, timeframe="1h")
        folder = tmp_path / "files" / name
        folder.mkdir(parents=True)
        bars_to_frame(whole).write_csv(folder / "1h.csv")
    words = ("--from", "files", "--folder", str(tmp_path / "files"), "--exchange", "drawn")
    status, out, err = call("data", "repair", str(damaged.root), *words)
    assert status == 1
    assert f"walkforge: error: BBB/1h: {damaged.path('drawn', 'BBB', '1h')}" in err
    for name in ("AAA", "CCC"):
        assert damaged.holes("drawn", name, "1h") == (), out
