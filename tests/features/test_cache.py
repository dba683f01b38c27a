"""Tables are computed once, and never believed when anything about them is not as it was."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from drawn import random_bars
from features.markets import replaced
from walkforge import features
from walkforge.base import FeatureError, UsageError
from walkforge.features import _build_all, _cache, build, build_all, cache_state

BARS = {"ONE": random_bars(1500, seed=1), "TWO": random_bars(900, seed=3)}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """Keep small tables too, in a folder of the test's own."""
    monkeypatch.setenv("WALKFORGE_CACHE", str(tmp_path))
    monkeypatch.delenv("WALKFORGE_CACHE_GIB", raising=False)
    monkeypatch.setattr(_build_all, "LEAST_CACHED_ROWS", 500)
    return tmp_path / "features"


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """Return the list that every computed table adds its number of bars to."""
    numbers = []

    def counting(values, bars, wanted):
        numbers.append(len(bars))
        original(values, bars, wanted)

    original = _build_all.compute
    monkeypatch.setattr(_build_all, "compute", counting)
    return numbers


def entries(cache):
    return sorted(cache.glob("*.npy"))


def assert_right(tables, bars=BARS, set_name="v8"):
    alone = [build(one, set_name).values for one in bars.values()]
    np.testing.assert_array_equal(tables.values, np.concatenate(alone))


def test_a_second_build_computes_nothing_and_gives_the_same_bits(computed, cache):
    first, second = build_all(BARS, "v8"), build_all(BARS, "v8")
    assert sorted(computed) == [900, 1500]
    assert len(entries(cache)) == 2
    assert_right(second)
    np.testing.assert_array_equal(first.values, second.values)
    for symbol in BARS:
        assert second.by_symbol[symbol].dropped == first.by_symbol[symbol].dropped
        np.testing.assert_array_equal(second.by_symbol[symbol].valid, first.by_symbol[symbol].valid)


def test_the_notes_say_what_came_from_where(cache):
    notes = []
    build_all({"ONE": BARS["ONE"]}, "v8", note=notes.append)
    build_all(BARS, "v8", note=notes.append)
    assert notes[0].startswith("features: 1 computed in ")
    assert notes[1] == f"features: 1 of 2 tables from the cache in {cache}"
    assert notes[2].startswith("features: 1 computed in ")


def test_an_entry_is_an_ordinary_array_file(cache):
    table = build_all({"ONE": BARS["ONE"]}, "gru")
    stored = np.load(*entries(cache), allow_pickle=False)
    np.testing.assert_array_equal(stored, table.values)


def test_one_bar_changed_in_its_last_bit_is_computed_again(computed):
    build_all({"ONE": BARS["ONE"]}, "v8")
    close = BARS["ONE"].close.copy()
    close[-1] = np.nextafter(close[-1], 0.0)
    changed = {"ONE": replaced(BARS["ONE"], close=close)}
    assert_right(build_all(changed, "v8"), changed)
    assert computed == [1500, 1500]


def test_another_set_is_computed(computed):
    build_all({"ONE": BARS["ONE"]}, "v8")
    assert_right(build_all({"ONE": BARS["ONE"]}, "gru"), {"ONE": BARS["ONE"]}, "gru")
    assert computed == [1500, 1500]


def test_the_same_bars_with_other_holes_are_computed(computed):
    # A jump over two days is a weekend in one calendar and a hole in the other.
    bars = random_bars(1500, seed=4, timeframe="1h")
    bars = replaced(bars, timestamp=bars.timestamp + 48 * 3_600_000 * (np.arange(1500) > 100))
    for calendar in ("session", "24/7"):
        one = {"ONE": replaced(bars, calendar=calendar)}
        assert_right(build_all(one, "v8"), one)
    assert computed == [1500, 1500]


def test_changed_code_never_meets_an_old_table(computed, monkeypatch):
    build_all({"ONE": BARS["ONE"]}, "v8")
    monkeypatch.setattr(_cache, "_CODE", "another")
    build_all({"ONE": BARS["ONE"]}, "v8")
    assert computed == [1500, 1500]


def test_the_digest_of_the_code_follows_every_file_of_the_room(tmp_path):
    room = Path(features.__file__).parent
    copy = tmp_path / "walkforge"
    shutil.copytree(room.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    ask = "from walkforge.features import _cache; print(_cache._CODE, _cache.__file__)"

    def digest():
        done = subprocess.run(
            [sys.executable, "-c", ask],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert str(tmp_path) in done.stdout
        return done.stdout.split()[0]

    before = digest()
    assert before == _cache._CODE
    with (copy / "features" / "_rolling.py").open("a") as file:
        file.write("\n# changed\n")
    assert digest() != before


def flip_a_bit(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "first byte": lambda path: flip_a_bit(path, 0),
    "shape": lambda path: flip_a_bit(path, 70),
    "first value": lambda path: flip_a_bit(path, 128),
    "some value": lambda path: flip_a_bit(path, 100_000),
    "last byte": lambda path: flip_a_bit(path, -1),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "another table": lambda path: np.save(path, np.ones((1500, 72), np.float32)),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_noticed_computed_again_and_replaced(damage, computed, cache):
    one, notes = {"ONE": BARS["ONE"]}, []
    build_all(one, "v8")
    DAMAGES[damage](*entries(cache))
    assert_right(build_all(one, "v8", note=notes.append), one)
    assert computed == [1500, 1500]
    assert "computed again, because the cache cannot be used" in notes[0]
    if damage != "a folder":
        assert_right(build_all(one, "v8"), one)
        assert computed == [1500, 1500]


def test_bars_that_are_refused_leave_nothing_behind(cache):
    absurd = replaced(BARS["ONE"], volume=np.full(1500, 1e308))
    for _ in range(2):
        with pytest.raises(FeatureError, match="mfi_14 = nan"):
            build_all({"ONE": absurd}, "v8")
        assert entries(cache) == []


def test_a_writer_that_is_interrupted_leaves_no_entry(cache, monkeypatch):
    build_all({"TWO": BARS["TWO"]}, "v8")

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_cache.zlib, "crc32", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _cache.write_entry(cache / "table.npy", build(BARS["ONE"], "gru").values)
    assert [path.name for path in cache.iterdir()] == [entries(cache)[0].name]


@pytest.mark.parametrize("folder", ["a file", "under a file"])
def test_a_cache_that_cannot_be_written_costs_the_caching_and_one_line(
    folder, tmp_path, monkeypatch, computed
):
    (tmp_path / "file").write_text("")
    place = {"a file": "file", "under a file": "file/deeper"}[folder]
    monkeypatch.setenv("WALKFORGE_CACHE", str(tmp_path / place))
    notes = []
    for _ in range(2):
        assert_right(build_all(BARS, "v8", note=notes.append))
    assert sorted(computed) == [900, 900, 1500, 1500]
    assert sum("cannot be written" in note for note in notes) == 2


def test_a_full_disk_costs_the_caching_and_one_line(monkeypatch, cache):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_build_all, "write_entry", full)
    notes = []
    assert_right(build_all(BARS, "v8", note=notes.append))
    assert sum("No space left on device" in note for note in notes) == 1


def test_the_least_recently_used_go_when_the_limit_is_reached(monkeypatch, cache):
    bars = {f"S{i}": random_bars(1000, seed=i) for i in range(4)}
    size = 1000 * 17 * 4 + 200
    monkeypatch.setenv("WALKFORGE_CACHE_GIB", str(3 * size / 2**30))
    found = []
    for symbol in ("S0", "S1", "S2", "S0", "S3"):
        before = set(entries(cache))
        build_all({symbol: bars[symbol]}, "gru")
        found.append(set(entries(cache)) - before)
        for path in entries(cache):  # as if a minute had passed since
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 60 * 10**9))
    assert [len(new) for new in found] == [1, 1, 1, 0, 1]
    assert set(entries(cache)) == found[0] | found[2] | found[4]
    assert cache_state().n_bytes <= cache_state().limit_bytes


def test_tables_larger_than_the_cache_push_nothing_out(monkeypatch, cache):
    build_all({"TWO": BARS["TWO"]}, "v8")
    kept = entries(cache)
    monkeypatch.setenv("WALKFORGE_CACHE_GIB", "0.0005")
    notes = []
    assert_right(build_all(BARS, "v8", note=notes.append))
    assert entries(cache) == kept
    assert "set WALKFORGE_CACHE_GIB to keep them" in notes[0]


def test_a_limit_of_zero_turns_the_cache_off_without_a_word(monkeypatch, cache):
    monkeypatch.setenv("WALKFORGE_CACHE_GIB", "0")
    notes = []
    build_all(BARS, "v8", note=notes.append)
    assert not cache.exists()
    assert [note[:20] for note in notes] == ["features: 2 computed"]


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_an_impossible_limit_is_refused_with_its_name(monkeypatch, text):
    monkeypatch.setenv("WALKFORGE_CACHE_GIB", text)
    with pytest.raises(UsageError, match=f"WALKFORGE_CACHE_GIB is '{text}', expected GiB"):
        build_all(BARS, "v8")


def test_files_of_others_in_the_folder_stay(monkeypatch, cache):
    cache.mkdir()
    mine = cache / "thesis.npy"
    mine.write_bytes(bytes(500_000))
    monkeypatch.setenv("WALKFORGE_CACHE_GIB", "0.0002")
    build_all({"ONE": BARS["ONE"]}, "gru")
    build_all({"TWO": BARS["TWO"]}, "gru")
    assert mine.exists()
    assert cache_state().n_entries == len(entries(cache)) - 1


def test_what_a_killed_writer_left_counts_and_goes_first(monkeypatch, cache):
    build_all({"ONE": BARS["ONE"]}, "v8")
    part = entries(cache)[0].with_suffix("").with_name(entries(cache)[0].stem + "x1_y.part")
    part.write_bytes(bytes(200_000))
    os.utime(part, (0, 0))
    assert cache_state().n_entries == 2
    monkeypatch.setenv("WALKFORGE_CACHE_GIB", "0.0007")
    build_all({"TWO": BARS["TWO"]}, "v8")
    assert not part.exists()
    assert len(entries(cache)) == 2


def test_many_writers_and_readers_of_one_entry_all_get_the_right_table(cache):
    one = {"ONE": BARS["ONE"]}
    expected = build(BARS["ONE"], "v8").values
    with ThreadPoolExecutor(8) as pool:
        for tables in pool.map(lambda _: build_all(one, "v8"), range(24)):
            np.testing.assert_array_equal(tables.values, expected)
    assert [path.name for path in cache.iterdir()] == [entries(cache)[0].name]


def test_two_symbols_with_the_same_bars_share_an_entry(cache):
    twins = {"A": BARS["ONE"], "B": BARS["ONE"]}
    assert_right(build_all(twins, "v8"), twins)
    assert_right(build_all(twins, "v8"), twins)
    assert len(entries(cache)) == 1


def test_without_the_cache_nothing_is_read_or_written(computed, cache):
    for _ in range(2):
        build_all(BARS, "v8", cached=False)
    assert len(computed) == 4
    assert not cache.exists()


def test_the_state_tells_folder_number_and_size(cache):
    assert cache_state() == features.CacheState(cache, 0, 0, 4 * 2**30)
    build_all(BARS, "gru")
    sizes = [path.stat().st_size for path in entries(cache)]
    assert cache_state() == features.CacheState(cache, 2, sum(sizes), 4 * 2**30)
    assert sum(sizes) == pytest.approx(2400 * 17 * 4, abs=1000)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"WALKFORGE_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a/features"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/walkforge/features"),
        ({"HOME": "/c"}, "/c/.cache/walkforge/features"),
        (
            {"WALKFORGE_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"},
            "/c/.cache/walkforge/features",
        ),
    ],
)
def test_the_folder_is_where_the_variables_say(monkeypatch, variables, expected):
    for name in ("WALKFORGE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_state().folder == Path(expected)
