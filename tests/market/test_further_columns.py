"""Columns beside the five of bars stay with them: in slices, exports, imports and stores."""

import dataclasses
import json

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
    repair_bars,
    resample,
    rows_of_frame,
    series_info,
)
from walkforge.market._parts import read_part

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


ODD_NAMES = ["*", "^.*$", "^x$", "a,b", 'q"x', "new\nline", "nul\0", "", " lead", "end."]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_column_of_an_odd_name_stays_out_of_stores_and_is_named(tmp_path, store, name):
    """To polars some of them are patterns, and others do not come back from a CSV."""
    bars = with_raw_close()
    odd = bars_to_frame(bars).with_columns(
        pl.Series(name, bars.open), provenance=pl.lit("simulated")
    )
    odd.write_parquet(tmp_path / "RANDOM-1m.parquet")
    [report] = import_bars(tmp_path / "RANDOM-1m.parquet", store, venue="drawn")
    assert report.columns_left_out == (name,)
    assert report.as_dict()["columns_left_out"] == [name]
    assert report.summary().endswith(f"; columns of odd names left out: {name!r}")
    assert list(store.read(*NAME).more) == ["raw_close", "dividend"]
    assert len(store.scan(*NAME).collect()) == len(bars)


@pytest.mark.parametrize("name", ["*", "^.*$", "^x$", ""])
def test_an_odd_name_in_a_csv_stays_out_as_well(tmp_path, store, name):
    bars = with_raw_close()
    [exported] = export_bars([bars], tmp_path, form="csv")
    head, *lines = exported.path.read_text().splitlines()
    told = [f"{name},{head}", *(f"1,{line}" for line in lines)]
    exported.path.write_text("\n".join(told))
    [report] = import_bars(exported.path, store, venue="drawn")
    assert report.columns_left_out == (name,)
    assert list(store.read(*NAME).more) == ["raw_close", "dividend"]


@pytest.mark.parametrize("name", ['"a,b"', '"a\nb"'])
def test_a_name_of_two_cells_or_lines_in_a_csv_is_refused(tmp_path, store, name):
    [exported] = export_bars([with_raw_close()], tmp_path, form="csv")
    head, *lines = exported.path.read_text().splitlines()
    told = [f"{head},{name}", *(f"{line},1" for line in lines)]
    exported.path.write_text("\n".join(told))
    with pytest.raises(BarsError, match=r"line 1 names a column .*, a quotation without an end"):
        import_bars(exported.path, store, venue="drawn")


@pytest.mark.parametrize("name", ["*", "^x$", "nul\0"])
def test_a_column_of_an_odd_name_is_refused_where_it_would_be_written(store, name):
    bars = random_bars(20)
    with pytest.raises(BarsError, match=r"drawn/RANDOM/1m: a column is named .* expected letters"):
        dataclasses.replace(bars, more={name: bars.open})
    with pytest.raises(BarsError, match=r"a column is named .* give it another name"):
        rows_of_frame(bars_to_frame(bars).with_columns(pl.Series(name, bars.open)))


@pytest.mark.parametrize("name", ["*", "^x$"])
def test_a_series_that_has_a_column_of_an_odd_name_already_is_told_of_in_a_line(store, name):
    path = store.write(with_raw_close()).path
    manifest = json.loads((path / "manifest.json").read_text())
    told = {**manifest, "columns": [*manifest["columns"], name]}
    (path / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(BarsError, match=r"manifest.json: damaged, .* of plain names"):
        store.read(*NAME)
    (path / "manifest.json").write_text(json.dumps(manifest))
    part = path / manifest["parts"][0]["file"]
    pl.read_parquet(part).with_columns(pl.lit(1.0).alias(name)).write_parquet(part)
    with pytest.raises(BarsError, match=rf"{part.name}: a column is named"):
        read_part(path, store.manifest(*NAME).parts[0])


def test_a_single_file_with_a_column_of_an_odd_name_is_read_and_added_to(store):
    bars = random_bars(30)
    path = store.root / "drawn" / "RANDOM" / "1m.parquet"
    path.parent.mkdir(parents=True)
    first = bars_to_frame(bars.take(slice(0, 20)))
    odd = {"^x$": pl.lit(1.0), "*": pl.lit(2.0), "provenance": pl.lit("simulated")}
    first.with_columns(**odd).write_parquet(path)
    assert store.read(*NAME).more == {}
    store.write(bars)
    assert len(store.read(*NAME)) == 30
    assert path.exists(), "what was not taken from it stays"


def test_a_repair_keeps_a_column_of_any_name(tmp_path):
    bars = random_bars(20)
    frame = bars_to_frame(bars).with_columns(pl.lit(1.0).alias("^x$"), pl.lit(2.0).alias("*"))
    frame.reverse().write_parquet(tmp_path / "a.parquet")
    repair_bars(tmp_path / "a.parquet", tmp_path / "b.parquet", timeframe="1m")
    assert pl.read_parquet(tmp_path / "b.parquet").equals(frame)
