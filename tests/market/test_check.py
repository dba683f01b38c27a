"""A check finds each kind of trouble, says where, and tells errors from notes."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest

from drawn import START_MS, random_bars
from walkforge.base import BarsError, UsageError
from walkforge.market import (
    ERROR_KINDS,
    NOTE_KINDS,
    BarStore,
    CheckLimits,
    bars_to_frame,
    check_bars,
    check_path,
)

DAY_MS = 86_400_000


def found(report) -> dict[str, int]:
    return {finding.kind: finding.count for finding in report.findings}


def finding(report, kind: str):
    return next(f for f in report.findings if f.kind == kind)


def changed(bars, **cells):
    """Return a frame of the bars with single cells replaced: `close={7: 5.0}`."""
    frame = bars_to_frame(bars)
    for name, values in cells.items():
        column = frame[name].to_list()
        for row, value in values.items():
            column[row] = value
        frame = frame.with_columns(pl.Series(name, column))
    return frame


def test_clean_bars_have_no_findings():
    report = check_bars(random_bars(500))
    assert report.ok
    assert report.usable
    assert report.findings == ()
    assert report.summary().endswith("500 bars of 1m, 2024-01-01 00:00 to 2024-01-01 08:19: clean")


def test_gaps_are_found_with_all_holes_and_the_largest():
    frame = bars_to_frame(random_bars(300, holes_at=(100, 200))).filter(
        pl.int_range(pl.len()) != 50
    )
    report = check_bars(frame)
    assert found(report) == {"gaps": 3}
    assert [hole.missing_bars for hole in report.holes] == [1, 10, 10]
    assert "3 holes with 21 missing bars; the largest is 10 bars between" in (
        report.findings[0].words
    )
    assert report.usable
    assert not report.ok


def test_every_hole_has_a_line_below_the_gaps():
    report = check_bars(random_bars(300, holes_at=(100, 200)), allow=["gaps"])
    assert report.lines()[1:] == [
        "      hole         after 2024-01-01 01:39, before 2024-01-01 01:50: 10 missing bars",
        "      hole         after 2024-01-01 03:29, before 2024-01-01 03:40: 10 missing bars",
    ]
    stamps = np.delete(session(8), np.arange(10, 15))
    line = check_bars(daily_frame(stamps), timeframe="1d").lines()[1]
    assert line.endswith("after 2024-01-12 00:00, before 2024-01-22 00:00: about 5 missing bars")


def test_what_is_allowed_is_reported_and_does_not_count():
    report = check_bars(random_bars(300, holes_at=(100,)), allow=["gaps"])
    assert report.ok
    assert found(report) == {"gaps": 1}
    assert "(allowed)" in report.lines()[0]
    assert check_bars(random_bars(300, holes_at=(100,)), allow=["notes"]).ok
    with pytest.raises(UsageError, match=r"unknown kind of finding 'gap' \(did you mean 'gaps'"):
        check_bars(random_bars(300), allow=["gap"])


def test_errors_make_bars_unusable_even_when_notes_are_allowed():
    report = check_bars(changed(random_bars(300), low={7: -1.0}), allow=["notes"])
    assert not report.usable
    assert not report.ok
    assert found(report) == {"non_positive": 1}
    assert report.findings[0].place == "row 7"


def test_unsorted_duplicate_and_conflicting_rows_are_told_apart():
    frame = bars_to_frame(random_bars(100))
    twisted = pl.concat([frame[:50], frame[40:42], frame[60:], frame[50:60]])
    report = check_bars(twisted)
    assert found(report) == {"unsorted": 2, "duplicates": 2}
    assert finding(report, "duplicates").words.startswith(
        "row 50 (2024-01-01 00:40) repeats row 40"
    )
    other = frame[40:41].with_columns(close=pl.col("low"))
    report = check_bars(pl.concat([frame, other]))
    assert found(report) == {"unsorted": 1, "conflicts": 1}
    assert "but row 40 has" in finding(report, "conflicts").words


def test_off_grid_stamps_are_found():
    bars = random_bars(100)
    stamps = bars.timestamp.copy()
    stamps[[30, 31]] += 7_000
    report = check_bars(
        bars_to_frame(bars).with_columns(
            timestamp=pl.Series(stamps).cast(pl.Datetime("ms", "UTC"))
        ),
        timeframe="1m",
    )
    assert found(report)["off_grid"] == 2


def test_broken_ohlc_is_found_but_not_for_rounding_in_the_last_digits():
    bars = random_bars(100)
    nearly = bars.high.copy()
    nearly[10] = max(bars.open[10], bars.close[10]) * (1 - 1e-12)
    assert check_bars(dataclasses.replace(bars, high=nearly)).ok
    report = check_bars(changed(bars, high={10: float(bars.low[10]) * 0.9, 20: 0.5}))
    assert found(report) == {"broken_ohlc": 2}


def test_cells_that_are_no_numbers_are_counted_not_raised():
    frame = bars_to_frame(random_bars(100)).cast({"open": pl.String, "volume": pl.String})
    frame = changed_cells(frame, open={3: "abc", 4: None}, volume={9: "NaN"})
    report = check_bars(frame)
    assert found(report) == {"text": 1, "empty_cells": 1, "not_finite": 1}


def changed_cells(frame, **cells):
    for name, values in cells.items():
        column = frame[name].to_list()
        for row, value in values.items():
            column[row] = value
        frame = frame.with_columns(pl.Series(name, column))
    return frame


def test_a_market_without_trades_is_noted_by_its_share():
    bars = random_bars(200)
    volume = bars.volume.copy()
    volume[:2] = 0
    assert check_bars(dataclasses.replace(bars, volume=volume)).ok  # 1 % is still normal
    volume[:5] = 0
    report = check_bars(dataclasses.replace(bars, volume=volume))
    assert found(report) == {"zero_volume": 5}
    assert report.zero_volume_frac == pytest.approx(0.025)
    assert "2.5 % of all" in report.findings[0].words


def test_frozen_prices_are_noted_from_ten_bars_on():
    bars = random_bars(200)
    frames = []
    for length in (10, 11):
        prices = {n: getattr(bars, n).copy() for n in ("open", "high", "low", "close")}
        for values in prices.values():
            values[50 : 50 + length] = bars.close[49]
        frames.append(check_bars(dataclasses.replace(bars, **prices)))
    # All eleven stand at the close before them, so each of them is a bar without a move.
    assert [found(report) for report in frames] == [{"frozen": 1}, {"frozen": 1}]
    assert "the longest 11 bars" in frames[1].findings[0].words
    assert check_bars(dataclasses.replace(bars, **prices), limits=CheckLimits(frozen_bars=12)).ok


def test_frozen_runs_do_not_reach_across_holes():
    bars = random_bars(40, holes_at=(20,))
    flat = {n: np.full(40, 5.0) for n in ("open", "high", "low", "close")}
    report = check_bars(dataclasses.replace(bars, **flat), allow=["gaps"])
    assert finding(report, "frozen").count == 2
    assert "the longest 19 bars" in finding(report, "frozen").words


def test_a_jump_by_half_is_noted_and_one_over_a_hole_is_not():
    bars = random_bars(300, holes_at=(100,))
    factor = np.where(np.arange(300) >= 100, 2.0, 1.0)
    prices = {n: getattr(bars, n) * factor for n in ("open", "high", "low", "close")}
    over_a_hole = dataclasses.replace(bars, **prices)
    assert check_bars(over_a_hole, allow=["gaps"]).ok
    factor = np.where(np.arange(300) >= 200, 2.0, 1.0)
    prices = {n: getattr(bars, n) * factor for n in ("open", "high", "low", "close")}
    report = check_bars(dataclasses.replace(bars, **prices), allow=["gaps"])
    assert found(report) == {"gaps": 1, "jumps": 1}
    assert finding(report, "jumps").place == "row 200"


def test_a_lone_wick_is_noted():
    bars = random_bars(100)
    high = bars.high.copy()
    high[40] *= 2
    report = check_bars(dataclasses.replace(bars, high=high))
    assert found(report) == {"spikes": 1}
    assert report.findings[0].place == "row 40"


def session(n_weeks: int) -> np.ndarray:
    days = START_MS + DAY_MS * np.arange(7 * n_weeks)
    return days[np.arange(7 * n_weeks) % 7 < 5]


def daily_frame(stamps: np.ndarray) -> pl.DataFrame:
    bars = random_bars(len(stamps))
    return bars_to_frame(bars).with_columns(
        timestamp=pl.Series(stamps).cast(pl.Datetime("ms", "UTC"))
    )


def test_weekends_and_holidays_of_a_session_market_are_no_gaps():
    stamps = np.delete(session(8), [9, 10])  # a long weekend of five days
    report = check_bars(daily_frame(stamps), timeframe="1d")
    assert report.calendar == "session"
    assert report.ok


def test_a_week_without_bars_is_a_gap_of_about_its_weekdays():
    stamps = np.delete(session(8), np.arange(10, 15))
    report = check_bars(daily_frame(stamps), timeframe="1d")
    assert "about 5 missing bars" in report.findings[0].words


def test_the_timeframe_comes_from_the_call_the_name_or_the_stamps(tmp_path):
    bars = random_bars(50, timeframe="5m")
    assert check_bars(bars).timeframe == "5m"
    assert (
        check_bars(bars_to_frame(bars)).timeframe_reason == "the most common distance of the bars"
    )
    path = tmp_path / "BTCUSDT-1m.parquet"
    bars_to_frame(bars).write_parquet(path)
    assert found(check_path(path)[0])["timeframe"] == 50
    assert check_path(path, timeframe="5m")[0].ok
    with pytest.raises(UsageError, match="tell no timeframe"):
        check_bars(bars_to_frame(bars)[:1])


def test_a_folder_is_checked_file_by_file(write_csv, tmp_path):
    good = [f"2024-01-01 00:0{minute},100,101,99,100,5" for minute in range(6)]
    write_csv(*good, name="many/AAA-1m.csv")
    write_csv(*good[:3], *good[4:], name="many/BBB-1m.csv")
    reports = check_path(tmp_path / "many")
    assert [found(report) for report in reports] == [{}, {"gaps": 1}]
    assert [finding.place for finding in reports[1].findings] == ["line 5"]
    with pytest.raises(BarsError, match="no such file or folder"):
        check_path(tmp_path / "gone")


def test_a_series_in_parts_is_checked_as_one_with_the_holes_between_its_parts(tmp_path):
    bars = random_bars(3 * 744, timeframe="1h")
    months = bars.timestamp.astype("datetime64[ms]").astype("datetime64[M]")
    edge = int(np.flatnonzero(np.diff(months.astype(int)))[0])
    store = BarStore(tmp_path)
    for rows in (slice(0, edge), slice(edge + 3, None)):
        store.write(bars.take(rows))
    (report,) = check_path(tmp_path)
    assert (report.rows, report.timeframe) == (len(bars) - 3, "1h")
    assert [hole.missing_bars for hole in report.holes] == [3]
    assert check_path(store.path(bars.venue, bars.symbol, "1h")) == [report]


def test_what_no_manifest_names_and_what_holds_no_bars_is_passed_over(tmp_path):
    path = BarStore(tmp_path).write(random_bars(50)).path
    left_behind = path / "2023-12.0123456789ab.parquet"
    left_behind.write_bytes(b"half of a par")
    (path.parent / "funding.parquet").write_bytes(b"rates")
    (path.parent.parent / "instruments.json").write_text("{}")
    assert [report.rows for report in check_path(tmp_path)] == [50]


def test_a_stored_calendar_goes_before_what_the_bars_show(tmp_path):
    bars = dataclasses.replace(random_bars(50, holes_at=(20,)), calendar="session")
    BarStore(tmp_path).write(bars)
    (report,) = check_path(tmp_path)
    assert (report.calendar, report.holes) == ("session", ())
    (report,) = check_path(tmp_path, calendar="24/7")
    assert (report.calendar, len(report.holes)) == ("24/7", 1)


def test_a_report_is_plain_data_that_json_takes():
    report = check_bars(changed(random_bars(300, holes_at=(100,)), close={5: None}))
    data = json.loads(json.dumps(report.as_dict()))
    assert data["ok"] is False
    assert {f["kind"]: f["severity"] for f in data["findings"]} == {
        "empty_cells": "error",
        "gaps": "note",
    }
    assert data["holes"][0]["missing_bars"] == 10


def test_no_kind_is_both_error_and_note():
    assert not set(ERROR_KINDS) & set(NOTE_KINDS)


def test_the_shared_real_bars_hold_no_error_and_their_known_holes(shared_data):
    report = check_path(shared_data / "bars/binance/BTCUSDT/1m.parquet")[0]
    assert report.usable
    index = pl.read_csv(shared_data / "index.csv")
    row = index.filter(pl.col("file") == "bars/binance/BTCUSDT/1m.parquet").row(0, named=True)
    # Each break between segments of the index is one hole, and there are those inside segments.
    between = row["segments"] - 1
    assert len(report.holes) >= between
    small = sorted(hole.missing_bars for hole in report.holes)[: len(report.holes) - between]
    assert sum(small) == row["missing_inside_segments"]
