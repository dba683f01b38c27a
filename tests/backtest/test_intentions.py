"""Tables of intentions: every spelling that is taken, and every one that is refused."""

from datetime import date

import polars as pl
import pytest

from backtest.table import intentions
from drawn import START_MS, random_bars
from walkforge.backtest import check_intentions, read_intentions
from walkforge.base import IntentionsError

BARS = {"BTCUSDT": random_bars(100, symbol="BTCUSDT"), "ETHUSDT": random_bars(50, symbol="ETHUSDT")}
GOOD = intentions(BARS["BTCUSDT"], {20: 1, 30: -1, 40: 0})


def _with(**columns) -> pl.DataFrame:
    return GOOD.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def _checked(table: pl.DataFrame) -> pl.DataFrame:
    return check_intentions(table, BARS)


def test_a_checked_table_holds_the_row_of_each_bar():
    assert _checked(GOOD).to_dict(as_series=False)["row"] == [20, 30, 40]
    assert _checked(GOOD).columns == ["symbol", "side", "size", "stop", "target", "row"]


def test_the_order_of_rows_does_not_matter():
    assert _checked(GOOD[::-1]).equals(_checked(GOOD))


@pytest.mark.parametrize(
    "sides",
    [
        ["long", "short", "flat"],
        ["BUY", "Sell", "hold"],
        [" up ", "down", "none"],
        ["1", "-1", "0"],
        ["+1", "-1.0", "0.0"],
        [1.0, -1.0, 0.0],
    ],
)
def test_sides_may_be_numbers_or_words(sides):
    assert _checked(_with(side=sides)).equals(_checked(GOOD))


def test_times_may_be_naive_in_another_zone_in_microseconds_text_or_milliseconds():
    ms = GOOD["timestamp"].dt.epoch("ms")
    spellings = [
        GOOD["timestamp"].dt.replace_time_zone(None),
        GOOD["timestamp"].dt.convert_time_zone("Asia/Tokyo"),
        GOOD["timestamp"].dt.cast_time_unit("us"),
        GOOD["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        GOOD["timestamp"].dt.strftime("%Y-%m-%d %H:%M"),
        ms,
        ms.cast(pl.String),
    ]
    for stamps in spellings:
        assert _checked(GOOD.with_columns(timestamp=stamps)).equals(_checked(GOOD))


def test_dates_are_midnights():
    bars = {"D": random_bars(30, symbol="D", timeframe="1d")}
    table = pl.DataFrame({"timestamp": [date(2024, 1, 3)], "symbol": ["D"], "side": [1]})
    assert check_intentions(table, bars)["row"].to_list() == [2]


def test_empty_cells_take_the_setups_and_the_brackets():
    close = BARS["BTCUSDT"].close[20]
    table = _with(size=[0.5, None, None], stop=[close * 0.99, None, None])
    checked = _checked(table)
    assert checked["size"].is_nan().to_list() == [False, True, True]
    assert checked["stop"].to_list()[0] == close * 0.99
    assert checked["target"].is_nan().all()


@pytest.mark.parametrize("name", ["timestamp", "symbol", "side"])
def test_a_missing_column_is_named(name):
    with pytest.raises(
        IntentionsError, match=f"intentions: no column '{name}'.*expected timestamp"
    ):
        _checked(GOOD.drop(name))


def test_a_misspelt_column_gets_the_nearest_one():
    with pytest.raises(IntentionsError, match=r"no column 'side' \(did you mean 'sides'\?\)"):
        _checked(GOOD.rename({"side": "sides"}))


def test_a_table_without_rows_is_refused():
    with pytest.raises(IntentionsError, match="the table has no rows"):
        _checked(GOOD.head(0))


BAD = [
    ({"symbol": ["BTCUSDT", "BTCUSD", "ETHUSDT"]}, r"row 1 has symbol 'BTCUSD' \(did you mean"),
    ({"symbol": ["BTCUSDT", "BTCUSDT", None]}, "row 2 has symbol None"),
    ({"side": [1, 2, 0]}, "row 1 has side 2; expected 1, -1, 0, long"),
    ({"side": ["long", "sideways", "flat"]}, "row 1 has side 'sideways'"),
    ({"side": [1.0, float("nan"), 0.0]}, "row 1 has side nan"),
    ({"side": [1, None, 0]}, "row 1 has side None"),
    ({"side": [True, False, True]}, "row 0 has side True"),
    ({"timestamp": [START_MS, None, START_MS]}, "row 1 has no timestamp"),
    ({"timestamp": [START_MS, START_MS // 1000, 0]}, "row 1 has timestamp 1704067200; exp.* milli"),
    ({"timestamp": [START_MS * 1000] * 3}, "row 0 has timestamp 1704067200000000; expected milli"),
    ({"timestamp": ["2024-01-01", "soon", ""]}, "row 1 has timestamp 'soon'; expected a time"),
    ({"timestamp": ["1704067200", "", ""]}, "row 0 has timestamp 1704067200; expected milli"),
    ({"timestamp": [0.5, 0.5, 0.5]}, "column 'timestamp' holds Float64, expected times"),
    ({"size": [1.0, 0.0, None]}, "row 1 has size 0.0; expected a positive number, or an empty"),
    ({"size": [1.0, float("nan"), None]}, "row 1 has size nan"),
    ({"size": ["1", "much", ""]}, "row 1 has size 'much'"),
    ({"stop": [float("inf"), None, None]}, "row 0 has stop inf"),
    ({"target": [-1.0, None, None]}, "row 0 has target -1.0"),
]


@pytest.mark.parametrize(("columns", "message"), BAD)
def test_nonsense_is_refused_with_its_row(columns, message):
    with pytest.raises(IntentionsError, match=message):
        _checked(_with(**columns))


def test_a_time_that_is_no_bar_gets_the_nearest_bars():
    with pytest.raises(
        IntentionsError,
        match=r"row 1 has timestamp 2024-01-01 00:03:30, which is no bar of drawn/BTCUSDT/1m; "
        r"expected .* the nearest open at 2024-01-01 00:03 and 2024-01-01 00:04",
    ):
        _checked(_with(timestamp=[START_MS, START_MS + 210_000, START_MS + 300_000]))
    with pytest.raises(IntentionsError, match=r"row 2 .* the nearest open at 2024-01-01 01:39$"):
        _checked(_with(timestamp=[START_MS, START_MS + 60_000, START_MS + 100 * 60_000]))


def test_two_intentions_for_one_bar_are_refused():
    with pytest.raises(IntentionsError, match="row 2 has another intention for BTCUSDT at 2024-01"):
        _checked(_with(timestamp=[START_MS, START_MS + 60_000, START_MS]))


@pytest.mark.parametrize(
    ("side", "column", "factor", "message"),
    [
        (1, "stop", 1.01, "row 0 has stop .* of a long decided at .*; expected a price below that"),
        (1, "target", 0.99, "row 0 has target .* of a long .* expected a price above that close"),
        (-1, "stop", 0.99, "row 0 has stop .* of a short .* expected a price above that close"),
        (-1, "target", 1.01, "row 0 has target .* of a short .* expected a price below that"),
    ],
)
def test_a_level_on_the_wrong_side_of_the_close_is_refused(side, column, factor, message):
    bars = BARS["BTCUSDT"]
    table = intentions(bars, {20: side}, **{column: [bars.close[20] * factor]})
    with pytest.raises(IntentionsError, match=message):
        _checked(table)


def test_an_error_names_the_source():
    with pytest.raises(IntentionsError, match=r"^signals\.csv: no column 'side'"):
        check_intentions(GOOD.drop("side"), BARS, source="signals.csv")


def test_files_are_read_as_parquet_and_as_csv(tmp_path):
    close = BARS["BTCUSDT"].close
    table = _with(size=[0.5, None, None], stop=[close[20] * 0.99, None, None])
    table.write_parquet(tmp_path / "table.parquet")
    table.write_csv(tmp_path / "table.csv")
    for name in ("table.parquet", "table.csv"):
        assert _checked(read_intentions(tmp_path / name)).equals(_checked(table))


def test_a_missing_or_empty_or_broken_file_is_refused_by_name(tmp_path):
    with pytest.raises(IntentionsError, match=r"none.csv: no such file; expected a Parquet or CSV"):
        read_intentions(tmp_path / "none.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(IntentionsError, match=r"empty.csv: the file is empty; expected columns"):
        read_intentions(tmp_path / "empty.csv")
    (tmp_path / "broken.parquet").write_text("no parquet at all")
    with pytest.raises(IntentionsError, match=r"broken.parquet: no readable Parquet or CSV \("):
        read_intentions(tmp_path / "broken.parquet")
