"""The store holds what was written, adds, never overwrites, and survives a kill."""

import dataclasses
import itertools
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
from walkforge.base import BarsError
from walkforge.market import BarStore, bars_to_frame, data_info, read_folder, simulate

FIELDS = ("timestamp", "open", "high", "low", "close", "volume")


def assert_same_bars(one, other):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


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
    assert report.path == store.root / "drawn" / "RANDOM" / "1m.parquet"
    assert_same_bars(read_folder(store.root / "drawn", timeframe="1m")["RANDOM"], bars)
    schema = pl.read_parquet_schema(report.path)
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
    before = path.read_bytes()
    close = bars.close.copy()
    close[25] = bars.low[25]
    other = dataclasses.replace(bars, close=close).take(slice(20, 30))
    with pytest.raises(BarsError, match=r"row 5 \(2024-01-01 00:25\) has close .* row 25 of"):
        store.write(other)
    assert path.read_bytes() == before


def test_a_volume_that_differs_by_rounding_is_no_contradiction(store):
    bars = random_bars(30)
    store.write(bars)
    report = store.write(dataclasses.replace(bars, volume=np.nextafter(bars.volume, np.inf)))
    assert report.rows_new == 0
    assert_same_bars(store.read("drawn", "RANDOM", "1m"), bars)


def test_a_write_that_adds_nothing_leaves_the_file_alone(store):
    bars = random_bars(30)
    path = store.write(bars).path
    before = path.stat().st_mtime_ns, path.read_bytes()
    assert store.write(bars.take(slice(5, 20))).rows_new == 0
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


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
    before = path.read_bytes()

    def full_disk(table, where, **options):
        where.write_bytes(b"PAR1 half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "write_table", full_disk)
    with pytest.raises(BarsError, match=r"1m.parquet: cannot be written: No space left"):
        store.write(bars)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["1m.parquet"]


@pytest.mark.parametrize("moment", ["while writing", "before the rename"])
def test_a_killed_import_leaves_the_old_state(moment, store, write_csv):
    store.write(real(random_bars(20)))
    path = store.path("drawn", "RANDOM", "1m")
    before = path.read_bytes()
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
        else:
            pathlib.Path.replace = die
        store = BarStore(pathlib.Path({str(store.root)!r}))
        import_bars(pathlib.Path({str(source)!r}), store, venue="drawn")
    """)
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert [series.rows for series in store.list()] == [20]
    assert len(read_folder(store.root / "drawn", timeframe="1m")["RANDOM"]) == 20


def test_a_foreign_file_in_the_store_counts_as_a_file(store):
    path = store.path("drawn", "RANDOM", "1m")
    path.parent.mkdir(parents=True)
    bars_to_frame(random_bars(20)).write_parquet(path)
    assert store.read("drawn", "RANDOM", "1m").provenance == "file"
    with pytest.raises(BarsError, match="never mixed"):
        store.write(random_bars(30))
