"""Columns beside the five of bars stay with them: in slices, exports, imports and stores."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from drawn import random_bars
from walkforge.base import BarsError, UsageError
from walkforge.market import (
    EXPORT_FORMS,
    Addition,
    BarStore,
    bars_to_frame,
    export_bars,
    import_bars,
    read_bars_file_frame,
    read_folder,
    resample,
    rows_of_frame,
    series_info,
)

NAME = ("drawn", "RANDOM", "1m")


def raw_close_of(bars):
    """Return what was paid, with hard digits, unknown in every seventh bar."""
    raw = bars.close * (0.1 + 0.2)
    raw[::7] = np.nan
    return raw


def with_raw_close(n_bars=60):
    bars = random_bars(n_bars)
    return dataclasses.replace(bars, more={"raw_close": raw_close_of(bars), "dividend": bars.low})


def stored_raw(store, venue="drawn"):
    frame = store.scan(venue, *NAME[1:], columns=["raw_close"]).collect()
    return frame["raw_close"].to_numpy()


@pytest.mark.parametrize("form", EXPORT_FORMS)
def test_every_stored_column_goes_out_and_comes_back_to_the_bit(tmp_path, store, form):
    bars = with_raw_close()
    frame = bars_to_frame(bars)
    store.add(*NAME, Addition(rows=rows_of_frame(frame), provenance="simulated"))
    read = read_folder(store.root / "drawn", timeframe="1m")["RANDOM"]
    [report] = export_bars([read], tmp_path / "out", form=form)
    assert read_bars_file_frame(report.path, timeframe="1m").frame.equals(frame)
    import_bars(report.path, store, venue="other")
    back = store.read("other", "RANDOM", "1m")
    assert back.digest() == bars.digest()
    assert store.manifest("other", *NAME[1:]).columns == (*frame.columns[1:],)
    for name, values in bars.more.items():
        np.testing.assert_array_equal(back.more[name], values)
    np.testing.assert_array_equal(stored_raw(store, "other"), bars.more["raw_close"])


def test_a_number_that_is_unknown_is_an_empty_cell_of_a_csv(tmp_path):
    export_bars([with_raw_close(8)], tmp_path, form="csv")
    lines = (tmp_path / "RANDOM-1m.csv").read_text().splitlines()
    assert lines[0].endswith("volume,raw_close,dividend,provenance")
    empty = [line.split(",")[6] == "" for line in lines[1:]]
    assert empty == [True, *[False] * 6, True]


def test_a_slice_has_its_rows_of_the_further_columns_and_longer_bars_have_none():
    bars = with_raw_close()
    part = bars.take(slice(10, 20))
    np.testing.assert_array_equal(part.more["raw_close"], raw_close_of(bars)[10:20])
    np.testing.assert_array_equal(
        bars.between(int(bars.timestamp[50]), None).more["raw_close"], raw_close_of(bars)[50:]
    )
    assert resample(bars, "5m").more == {}
    assert resample(bars, "1m") is bars


def test_a_further_column_of_another_length_is_refused():
    with pytest.raises(BarsError, match="19 values in 'raw_close', expected 20"):
        dataclasses.replace(random_bars(20), more={"raw_close": np.zeros(19)})


def test_parts_of_another_store_bring_their_further_columns(tmp_path, store):
    bars = with_raw_close()
    there = BarStore(tmp_path / "there")
    import_bars(there.write(bars).path, store, venue="drawn")
    np.testing.assert_array_equal(stored_raw(store), bars.more["raw_close"])


def test_of_two_files_with_equal_bars_each_gives_what_the_other_lacks(tmp_path, store):
    bars = with_raw_close()
    first = bars.take(slice(0, 40))
    for name, one in (
        ("a", dataclasses.replace(first, more={"dividend": first.more["dividend"]})),
        ("b", bars.take(slice(20, 60))),
    ):
        export_bars([one], tmp_path / "in" / name)
    import_bars(tmp_path / "in", store, venue="drawn")
    back = store.read(*NAME)
    np.testing.assert_array_equal(back.more["dividend"], bars.more["dividend"])
    np.testing.assert_array_equal(back.more["raw_close"][20:], bars.more["raw_close"][20:])
    assert np.isnan(back.more["raw_close"][:20]).all()


def test_of_several_files_the_first_that_knows_a_number_tells_it(tmp_path, store):
    bars = random_bars(4)
    nan = np.nan
    for name, known in (("a", [nan] * 4), ("b", [1, nan, 1, nan]), ("c", [2, 2, nan, nan])):
        one = dataclasses.replace(bars, more={"dividend": np.array(known, dtype=float)})
        export_bars([one], tmp_path / "in" / name)
    export_bars([bars], tmp_path / "in" / "d")
    import_bars(tmp_path / "in", store, venue="drawn")
    np.testing.assert_array_equal(store.read(*NAME).more["dividend"], [1, 2, 1, nan])


def test_further_columns_of_somebody_elses_file_stay_behind(tmp_path, store):
    frame = bars_to_frame(with_raw_close())
    frame.write_parquet(tmp_path / "RANDOM-1m.parquet")
    frame.write_csv(tmp_path / "OTHER-1m.csv")
    import_bars(tmp_path, store, venue="drawn")
    assert store.read(*NAME).more == store.read("drawn", "OTHER", "1m").more == {}


@pytest.mark.parametrize("form", EXPORT_FORMS)
def test_words_beside_the_bars_are_no_column_of_a_store(tmp_path, store, form):
    told = bars_to_frame(with_raw_close()).with_columns(
        note=pl.lit("a word"), provenance=pl.lit("simulated")
    )
    path = tmp_path / f"RANDOM-1m.{form}"
    getattr(told, f"write_{form}")(path)
    import_bars(path, store, venue="drawn")
    assert list(store.read(*NAME).more) == ["raw_close", "dividend"]


def test_a_single_file_of_ours_shows_all_of_its_columns(store):
    bars = with_raw_close()
    [report] = export_bars([bars], store.root / "drawn" / "RANDOM")
    report.path.rename(report.path.with_name("1m.parquet"))
    np.testing.assert_array_equal(store.read(*NAME).more["raw_close"], bars.more["raw_close"])
    np.testing.assert_array_equal(stored_raw(store), bars.more["raw_close"])
    assert series_info(store.list()[0]).columns[5:] == ("raw_close", "dividend")
    with pytest.raises(UsageError, match=r"one file,.*did you mean 'raw_close'"):
        store.scan(*NAME, columns=["raw_clos"])
    store.write(random_bars(70).take(slice(60, 70)))
    assert np.isnan(stored_raw(store)[60:]).all()
    np.testing.assert_array_equal(stored_raw(store)[:60], bars.more["raw_close"])


def test_a_file_with_two_columns_open_is_read_and_added_to(store):
    bars = random_bars(20)
    path = store.root / "drawn" / "RANDOM" / "1m.parquet"
    path.parent.mkdir(parents=True)
    frame = bars_to_frame(bars)
    told = frame.rename({"open": "Open"}).with_columns(
        open=pl.col("close"), provenance=pl.lit("simulated")
    )
    told.write_parquet(path)
    store.write(random_bars(30).take(slice(20, 30)))
    assert len(store.read(*NAME)) == 30
    assert path.exists()
