"""Exported bars come back to the last bit, and what is simulated stays simulated."""

import dataclasses
import json
import zipfile

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import START_MS, random_bars
from walkforge.base import BarsError, UsageError
from walkforge.market import (
    EXPORT_FORMS,
    Bars,
    BarStore,
    Span,
    bars_to_frame,
    export_bars,
    import_bars,
    provenance_of_file,
    read_bars_file_frame,
    read_folder,
    simulate,
)
from walkforge.sources import fetch, make_plan, make_source

FIELDS = ("timestamp", "open", "high", "low", "close", "volume")


def wild_bars(provenance="simulated"):
    """Return bars whose numbers are hard to write: tiny, huge, with seventeen digits."""
    random = np.random.default_rng(3)
    n = 2_000
    low = np.exp(random.normal(0.0, 12.0, n)) * (0.1 + 0.2)
    high = low * (1 + random.random(n))
    volume = np.concatenate([[0.0, 5e-324, 1e22, 123_456_789.0], random.random(n - 4) * 1e15])
    return Bars(
        venue="wild",
        symbol="BTC-USD",
        timeframe="1m",
        timestamp=START_MS + np.arange(n) * 60_000,
        open=(low + high) / 2,
        high=high,
        low=low,
        close=np.where(random.random(n) < 0.5, low, high),
        volume=volume,
        provenance=provenance,
        calendar="24/7",
    )


def assert_same_bars(one, other):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("provenance", ["simulated", "exchange", "sample"])
@pytest.mark.parametrize("form", EXPORT_FORMS)
def test_an_export_imported_under_another_venue_is_equal_to_the_bit_and_what_it_was(
    tmp_path, store, form, provenance
):
    bars = wild_bars(provenance)
    [report] = export_bars([bars], tmp_path / "out", form=form)
    assert report.path == tmp_path / "out" / f"BTC-USD-1m.{form}"
    [brought] = import_bars(report.path, store, venue="other")
    back = store.read("other", "BTC-USD", "1m")
    assert_same_bars(back, bars)
    assert back.digest() == bars.digest()
    assert brought.written.provenance == back.provenance == provenance


@pytest.mark.parametrize("form", EXPORT_FORMS)
def test_what_was_simulated_and_exported_is_never_joined_with_real_bars(tmp_path, store, form):
    store.write(dataclasses.replace(random_bars(30), provenance="exchange"))
    [report] = export_bars([random_bars(50)], tmp_path, form=form)
    with pytest.raises(BarsError, match="never mixed"):
        import_bars(report.path, store, venue="drawn")
    assert len(store.read("drawn", "RANDOM", "1m")) == 30


@pytest.mark.parametrize("form", EXPORT_FORMS)
def test_resampled_simulated_bars_stay_simulated_through_a_file(tmp_path, store, form):
    store.write(simulate("gbm", n_bars=600, timeframe="1m"))
    bars = read_folder(store.root / "simulated", timeframe="5m")["SIMUSDT"]
    [report] = export_bars([bars], tmp_path / "out", form=form)
    assert report.provenance == "simulated"
    assert report.summary().endswith("; resampled from 1m")
    read = read_bars_file_frame(report.path, timeframe="5m")
    assert read.provenance == "simulated"
    np.testing.assert_array_equal(read.frame["close"].to_numpy(), bars.close)


def test_a_csv_says_its_times_in_utc_and_its_provenance_last(tmp_path):
    export_bars([random_bars(3)], tmp_path, form="csv")
    lines = (tmp_path / "RANDOM-1m.csv").read_text().splitlines()
    assert lines[0] == "timestamp,open,high,low,close,volume,provenance"
    assert [line.split(",")[0] for line in lines[1:]] == [
        "2024-01-01T00:00:00Z", "2024-01-01T00:01:00Z", "2024-01-01T00:02:00Z"
    ]  # fmt: skip
    assert {line.rsplit(",", 1)[1] for line in lines[1:]} == {"simulated"}


def test_stamps_with_parts_of_a_second_keep_them(tmp_path):
    bars = random_bars(3)
    bars = dataclasses.replace(bars, timestamp=bars.timestamp + np.arange(3), calendar="24/7")
    [report] = export_bars([bars], tmp_path, form="csv")
    lines = report.path.read_text().splitlines()
    assert lines[3].startswith("2024-01-01T00:02:00.002Z,")


def test_a_parquet_file_keeps_calendar_and_history(tmp_path, store):
    bars = dataclasses.replace(random_bars(20), calendar="session", history=("mended",))
    [report] = export_bars([bars], tmp_path / "out", form="parquet")
    import_bars(report.path, store, venue="other")
    back = store.read("other", "RANDOM", "1m")
    assert (back.calendar, back.history) == ("session", ("mended",))
    assert pl.read_parquet(report.path).columns == list(FIELDS)


def test_a_file_is_read_with_the_calendar_and_the_history_that_it_tells(tmp_path):
    # Daily bars of an exchange that open at its own hour lie on no grid of a 24/7 market.
    days = random_bars(6, timeframe="1d")
    days = dataclasses.replace(
        days, timestamp=days.timestamp + 14 * 3_600_000, calendar="session", history=("mended",)
    )
    paths = {form: export_bars([days], tmp_path, form=form)[0].path for form in EXPORT_FORMS}
    told = read_bars_file_frame(paths["parquet"], timeframe="1d")
    assert (told.calendar, told.history, told.provenance) == ("session", ("mended",), "simulated")
    with pytest.raises(BarsError, match="does not open on the 1d grid"):
        read_bars_file_frame(paths["csv"], timeframe="1d")
    [report] = export_bars([random_bars(20)], tmp_path, form="csv")
    plain = read_bars_file_frame(report.path, timeframe="1m")
    assert (plain.calendar, plain.history) == ("auto", ())


@pytest.mark.parametrize("form", EXPORT_FORMS)
def test_a_simulated_export_that_is_fetched_from_its_folder_stays_simulated(tmp_path, store, form):
    bars = simulate("gbm", n_bars=50, timeframe="1h")
    export_bars([bars], tmp_path / "out", form=form)
    source = make_source("files", folder=tmp_path / "out", exchange="mine")
    whole = Span(int(bars.timestamp[0]), int(bars.closes_at[-1]))
    plans = make_plan(source, store, [("SIMUSDT", "1h")], lambda *_: whole)
    assert fetch(source, store, plans).ok
    back = store.read("mine", "SIMUSDT", "1h")
    assert back.provenance == "simulated"
    assert_same_bars(back, bars)
    with pytest.raises(BarsError, match="never mixed"):
        store.write(dataclasses.replace(bars, venue="mine", provenance="exchange"))


def test_a_file_that_is_there_is_replaced_only_where_that_is_said(tmp_path):
    one, other = random_bars(5, symbol="ONE"), random_bars(5, symbol="OTHER")
    export_bars([other], tmp_path, form="csv")
    before = (tmp_path / "OTHER-1m.csv").read_bytes()
    with pytest.raises(UsageError, match=r"OTHER-1m\.csv is there already; nothing was written"):
        export_bars([one, random_bars(9, symbol="OTHER")], tmp_path, form="csv")
    assert [path.name for path in tmp_path.iterdir()] == ["OTHER-1m.csv"]
    assert (tmp_path / "OTHER-1m.csv").read_bytes() == before
    export_bars([random_bars(9, symbol="OTHER")], tmp_path, form="csv", overwrite=True)
    assert len((tmp_path / "OTHER-1m.csv").read_text().splitlines()) == 10


def test_two_series_never_share_a_file(tmp_path):
    twins = [random_bars(5), dataclasses.replace(random_bars(6), venue="other")]
    with pytest.raises(UsageError, match=r"several series would be RANDOM-1m\.csv"):
        export_bars(twins, tmp_path / "out", form="csv")
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"format 'cvs'.*did you mean 'csv'"):
        export_bars([random_bars(5)], tmp_path, form="cvs")


def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(self, path, **more):
        path.write_text("timestamp,op")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_csv", full)
    with pytest.raises(BarsError, match=r"RANDOM-1m\.csv: cannot be written: No space left"):
        export_bars([random_bars(5)], tmp_path, form="csv")
    assert list(tmp_path.iterdir()) == []


def csv_of(tmp_path, *provenances):
    path = tmp_path / "BTCUSDT-1m.csv"
    rows = [f"2024-01-01T00:{k:02d}:00Z,1,2,0.5,1,9,{told}" for k, told in enumerate(provenances)]
    path.write_text("\n".join(["timestamp,open,high,low,close,volume,provenance", *rows, ""]))
    return path


@pytest.mark.parametrize(
    ("provenances", "found"),
    [
        (("simulated", "exchange"), "2 of them: simulated, exchange"),
        (("made up", "made up"), "holds 'made up'"),
        (("simulated", ""), "2 of them: simulated, ''"),
        (("", ""), "holds ''"),
    ],
)
def test_a_csv_that_does_not_say_one_provenance_is_refused(tmp_path, store, provenances, found):
    path = csv_of(tmp_path, *provenances)
    with pytest.raises(BarsError, match=r"BTCUSDT-1m\.csv: column 'provenance'.*" + found):
        import_bars(path, store, venue="other")
    assert store.list() == []


def test_a_csv_that_somebody_else_made_parquet_of_stays_what_it_was(tmp_path, store):
    [report] = export_bars([random_bars(20)], tmp_path, form="csv")
    path = report.path.with_suffix(".parquet")
    pl.read_csv(report.path, try_parse_dates=True).write_parquet(path)
    [brought] = import_bars(path, store, venue="other")
    assert brought.written.provenance == "simulated"


def test_the_provenance_of_a_zip_is_that_of_all_its_files(tmp_path, store):
    import zipfile

    path = csv_of(tmp_path, "simulated", "simulated")
    with zipfile.ZipFile(tmp_path / "BTCUSDT-1m.zip", "w") as archive:
        archive.write(path, "a.csv")
    import_bars(tmp_path / "BTCUSDT-1m.zip", store, venue="other")
    assert BarStore(store.root).read("other", "BTCUSDT", "1m").provenance == "simulated"


def rewritten(path, frame, metadata=None):
    """Write a Parquet file as other programs do, or with an entry of ours."""
    entries = None if metadata is None else {"walkforge": json.dumps(metadata)}
    frame.write_parquet(path, metadata=entries)
    return path


@pytest.mark.parametrize("metadata", [None, {}, {"calendar": "24/7"}, {"provenance": "simulated"}])
def test_a_column_of_provenance_in_parquet_is_believed_by_every_reader(tmp_path, metadata):
    frame = bars_to_frame(random_bars(50)).with_columns(provenance=pl.lit("simulated"))
    (tmp_path / "v/AAA").mkdir(parents=True)
    path = rewritten(tmp_path / "v/AAA/1m.parquet", frame, metadata)
    assert provenance_of_file(path) == "simulated"
    assert read_bars_file_frame(path, timeframe="1m").provenance == "simulated"
    assert read_folder(tmp_path / "v", timeframe="1m")["AAA"].provenance == "simulated"
    assert BarStore(tmp_path).list()[0].provenance == "simulated"


def test_metadata_and_column_that_contradict_each_other_are_refused(tmp_path):
    frame = bars_to_frame(random_bars(50)).with_columns(provenance=pl.lit("simulated"))
    path = rewritten(tmp_path / "AAA-1m.parquet", frame, {"provenance": "exchange"})
    for read in (provenance_of_file, lambda path: read_bars_file_frame(path, timeframe="1m")):
        with pytest.raises(
            BarsError, match="says that its bars are simulated, its metadata says exchange"
        ):
            read(path)


@pytest.mark.parametrize("kinds", [["simulated", "exchange"], ["invented"] * 2, [None] * 2])
def test_a_parquet_file_that_does_not_say_one_provenance_is_refused(tmp_path, kinds):
    frame = bars_to_frame(random_bars(2)).with_columns(provenance=pl.Series(kinds, dtype=pl.String))
    path = rewritten(tmp_path / "AAA-1m.parquet", frame)
    with pytest.raises(BarsError, match=r"column 'provenance' holds .*, expected one of"):
        provenance_of_file(path)


@pytest.mark.parametrize("first", ["readme.txt", "b.csv"])
def test_the_provenance_of_a_zip_is_found_in_whichever_file_has_it(tmp_path, first):
    frame = bars_to_frame(random_bars(50))
    told = frame.with_columns(provenance=pl.lit("simulated")).write_csv()
    path = tmp_path / "AAA-1m.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr(first, told if first.endswith("csv") else "words\n")
        zipped.writestr("a.csv", "\n" + told)
    assert provenance_of_file(path) == "simulated"
    assert read_bars_file_frame(path, timeframe="1m").provenance == "simulated"


@pytest.fixture(scope="module")
def zipped_bars(tmp_path_factory):
    path = tmp_path_factory.mktemp("zips") / "AAA-1m.zip"
    frame = bars_to_frame(random_bars(20)).with_columns(provenance=pl.lit("simulated"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.csv", frame.write_csv())
    return path, path.read_bytes()


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_zip_is_refused_in_one_line_or_read(zipped_bars, data):
    path, content = zipped_bars
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    for read in (provenance_of_file, lambda path: read_bars_file_frame(path, timeframe="1m")):
        try:
            read(path)
        except BarsError as error:
            assert "\n" not in str(error)  # noqa: PT017
