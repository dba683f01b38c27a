"""A repair sorts and drops exact duplicates; the rest it leaves or refuses."""

import polars as pl
import pytest

from drawn import random_bars
from walkforge.base import BarsError, UsageError
from walkforge.market import BarStore, bars_to_frame, check_path, repair_bars

LINES = tuple(f"2024-01-01 00:0{minute},100,101,99,100,{5 + minute}" for minute in range(6))


def test_rows_are_sorted_and_exact_duplicates_dropped(write_csv, tmp_path):
    source = write_csv(LINES[0], LINES[3], LINES[1], LINES[1], LINES[2], LINES[4])
    before = source.read_bytes()
    target = tmp_path / "mended-1m.csv"
    report = repair_bars(source, target)
    assert target.read_text().splitlines()[1:] == list(LINES[:5])
    assert source.read_bytes() == before
    assert (report.rows_before, report.rows_after) == (6, 5)
    assert (report.out_of_order, report.duplicates_dropped) == (1, 1)
    assert report.left == ()
    assert "1 row put in time order, 1 exact duplicate dropped" in report.summary()
    assert check_path(target)[0].ok


def test_in_place_only_when_asked(write_csv):
    source = write_csv(LINES[1], LINES[0])
    with pytest.raises(UsageError, match="name either a file for the mended bars"):
        repair_bars(source)
    repair_bars(source, in_place=True)
    assert source.read_text().splitlines()[1:] == list(LINES[:2])
    with pytest.raises(UsageError, match="name either"):
        repair_bars(source, source.with_name("x.csv"), in_place=True)


def test_a_clean_file_is_not_touched(write_csv):
    source = write_csv(*LINES)
    before = source.stat().st_mtime_ns
    report = repair_bars(source, in_place=True)
    assert not report.changed
    assert "nothing to mend" in report.summary()
    assert source.stat().st_mtime_ns == before


def test_other_columns_stay_as_they_stand(write_csv):
    header = "timestamp,open,high,low,close,volume,note"
    source = write_csv(LINES[1] + ",b", LINES[0] + ",0012.500", header=header)
    repair_bars(source, in_place=True)
    assert source.read_text().splitlines() == [header, LINES[0] + ",0012.500", LINES[1] + ",b"]


def test_headless_klines_stay_headless(write_csv):
    rest = ",1704067259999,0,0,0,0,0"
    rows = [f"{1_704_067_200_000 + 60_000 * i},100,101,99,100.10,5{rest}" for i in (1, 0)]
    source = write_csv(*rows, header=None)
    repair_bars(source, in_place=True)
    assert source.read_text().splitlines() == rows[::-1]


def test_conflicting_bars_are_refused_and_nothing_is_written(write_csv):
    source = write_csv(LINES[0], LINES[1], LINES[1].replace("100,6", "100.5,6"))
    before = source.read_bytes()
    with pytest.raises(BarsError, match=r"line 4 .* has close 100.5, but line 3 has 100"):
        repair_bars(source, in_place=True)
    assert source.read_bytes() == before


def test_broken_bars_are_left_and_reported_unless_they_shall_be_dropped(write_csv, tmp_path):
    source = write_csv(
        LINES[1],
        LINES[0],
        LINES[2].replace("101", "abc"),
        LINES[3].replace("101", "90"),
        LINES[4].replace("99", "-99"),
        LINES[5],
    )
    report = repair_bars(source, tmp_path / "left-1m.csv")
    assert [finding.kind for finding in report.left] == ["text", "non_positive", "broken_ohlc"]
    assert report.rows_after == 6
    report = repair_bars(source, tmp_path / "dropped-1m.csv", drop_broken=True)
    assert (report.broken_dropped, report.rows_after, report.left) == (3, 3, ())
    assert [f.kind for f in check_path(tmp_path / "dropped-1m.csv")[0].findings] == ["gaps"]


def test_a_row_without_a_time_cannot_be_put_in_order(write_csv):
    source = write_csv(LINES[1], "tomorrow,100,101,99,100,5", LINES[0])
    with pytest.raises(BarsError, match="line 3 has timestamp 'tomorrow'"):
        repair_bars(source, in_place=True)
    assert repair_bars(source, in_place=True, drop_broken=True).rows_after == 2


def test_nothing_left_is_an_error(write_csv):
    with pytest.raises(BarsError, match="no row is left"):
        repair_bars(write_csv("x,x,x,x,x,x"), in_place=True, drop_broken=True)


def test_a_parquet_file_keeps_its_metadata_and_remembers_the_repair(tmp_path):
    from walkforge.market._frames import write_parquet

    store = BarStore(tmp_path)
    path = tmp_path / "drawn" / "RANDOM" / "1m.parquet"
    path.parent.mkdir(parents=True)
    frame = bars_to_frame(random_bars(30))
    write_parquet(path, pl.concat([frame[10:], frame[:12]]), {"provenance": "simulated"})
    with pytest.raises(BarsError, match="opens before row"):
        store.read("drawn", "RANDOM", "1m")
    repair_bars(path, in_place=True)
    bars = store.read("drawn", "RANDOM", "1m")
    assert bars.digest() == random_bars(30).digest()
    assert bars.provenance == "simulated"
    assert bars.history == ("repaired: 1 row put in time order, 2 exact duplicates dropped",)


def test_a_part_of_a_stored_series_is_never_mended_by_itself(tmp_path):
    store = BarStore(tmp_path)
    path = store.write(random_bars(30)).path
    part = path / store.manifest("drawn", "RANDOM", "1m").parts[0].file
    with pytest.raises(UsageError, match=r"a part of a stored series, .* --from SOURCE"):
        repair_bars(part, in_place=True)


def test_a_place_that_cannot_be_written_is_named(write_csv, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BarsError, match=r"out.csv: cannot be written"):
        repair_bars(write_csv(LINES[1], LINES[0]), tmp_path / "file" / "out.csv")


def test_a_file_stays_of_its_kind(tmp_path):
    path = tmp_path / "X-1m.parquet"
    bars_to_frame(random_bars(5)).write_parquet(path)
    with pytest.raises(UsageError, match=r"are written as \.parquet"):
        repair_bars(path, tmp_path / "out.csv")
