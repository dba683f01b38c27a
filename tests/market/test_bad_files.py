"""Every bad file gets one line: the file, the place, what was found, and the way out."""

import datetime
import zipfile

import polars as pl
import pytest

from walkforge.base import BarsError, UsageError, WalkforgeError
from walkforge.market import BarStore, check_bars, import_bars, read_folder

GOOD = (
    "2024-01-01 00:00,100,101,99,100,5",
    "2024-01-01 00:01,100,101,99,100,5",
    "2024-01-01 00:02,100,101,99,100,5",
    "2024-01-01 00:03,100,101,99,100,5",
)


def refusal(path, store: BarStore, **options) -> str:
    with pytest.raises(WalkforgeError) as error:
        import_bars(path, store, venue="test", **options)
    message = str(error.value)
    assert "\n" not in message
    assert not list(store.root.rglob("*.parquet"))
    return message


def test_a_good_file_is_taken(write_csv, store):
    assert import_bars(write_csv(*GOOD), store, venue="test")[0].written.rows_new == 4


def test_a_missing_file_is_named(tmp_path, store):
    assert "gone.csv: no such file or folder" in refusal(tmp_path / "gone.csv", store)


def test_an_empty_file_is_refused(tmp_path, store):
    path = tmp_path / "BTCUSDT-1m.csv"
    path.write_bytes(b"")
    assert "the file is empty" in refusal(path, store)
    path.write_bytes(b"\n\n")
    assert "the file is empty" in refusal(path, store)


def test_a_header_alone_is_refused(write_csv, store):
    assert "no bars in the file" in refusal(write_csv(), store)


def test_a_folder_without_bars_is_refused(tmp_path, store):
    (tmp_path / "empty").mkdir()
    assert "no bars in this folder" in refusal(tmp_path / "empty", store)


def test_another_kind_of_file_is_refused(tmp_path, store):
    path = tmp_path / "BTCUSDT-1m.xlsx"
    path.write_bytes(b"PK")
    message = refusal(path, store, symbol="BTCUSDT", timeframe="1m")
    assert "expected a file that ends in .parquet, .csv, .zip" in message


def test_text_in_a_number_column_names_line_column_and_value(write_csv, store):
    path = write_csv(GOOD[0], "2024-01-01 00:01,100,101,n/a,100,5")
    assert "line 3, column 'low' holds 'n/a', expected a number" in refusal(path, store)


def test_an_empty_cell_names_line_and_column(write_csv, store):
    path = write_csv(GOOD[0], "2024-01-01 00:01,100,101,99,,5")
    assert "line 3, column 'close' is empty" in refusal(path, store)


def test_lines_are_counted_as_an_editor_does_with_blank_lines_between(write_csv, store):
    path = write_csv(GOOD[0], "", GOOD[1], "", "2024-01-01 00:02,100,x,99,100,5")
    assert "line 6, column 'high'" in refusal(path, store)


def test_a_line_with_too_many_cells_is_named(write_csv, store):
    path = write_csv(GOOD[0], GOOD[1] + ",7")
    assert "line 3 has more than 6 cells" in refusal(path, store)


@pytest.mark.parametrize("word", ["NaN", "nan", "inf", "-inf"])
def test_a_price_that_is_not_finite_is_refused(word, write_csv, store):
    path = write_csv(GOOD[0], f"2024-01-01 00:01,{word},101,99,100,5")
    message = refusal(path, store)
    assert f"line 3, column 'open' holds '{word}', expected a finite number" in message


def test_a_negative_price_is_refused(write_csv, store):
    path = write_csv(GOOD[0], "2024-01-01 00:01,100,101,-99,100,5")
    message = refusal(path, store)
    assert "line 3 (2024-01-01 00:01) has low -99, expected a positive number" in message


def test_a_price_of_zero_is_refused(write_csv, store):
    path = write_csv(GOOD[0], "2024-01-01 00:01,100,101,0,100,5")
    assert "has low 0, expected a positive number" in refusal(path, store)


def test_negative_volume_is_refused(write_csv, store):
    path = write_csv(GOOD[0], "2024-01-01 00:01,100,101,99,100,-5")
    assert "has volume -5, expected a number of at least 0" in refusal(path, store)


def test_broken_ohlc_is_refused(write_csv, store):
    path = write_csv(GOOD[0], "2024-01-01 00:01,100,101,99,102,5")
    assert "high 101, low 99, close 102; expected high at the top" in refusal(path, store)


def test_unsorted_stamps_are_refused_with_the_line_and_the_way_out(write_csv, store):
    path = write_csv(GOOD[0], GOOD[2], GOOD[1])
    message = refusal(path, store)
    assert "line 4 (2024-01-01 00:01) opens before line 3 (2024-01-01 00:02)" in message
    assert "walkforge data repair" in message


def test_conflicting_duplicates_are_refused_with_both_lines(write_csv, store):
    path = write_csv(GOOD[0], GOOD[1], "2024-01-01 00:01,100,101,99,100.5,5")
    message = refusal(path, store)
    assert "line 4 (2024-01-01 00:01) has close 100.5, but line 3 has 100" in message


def test_exact_duplicates_are_refused_with_the_way_out(write_csv, store):
    message = refusal(write_csv(GOOD[0], GOOD[1], GOOD[1]), store)
    assert "line 4 (2024-01-01 00:01) repeats line 3" in message
    assert "walkforge data repair" in message


def test_a_bar_off_the_grid_is_refused(write_csv, store):
    path = write_csv(*GOOD, "2024-01-01 00:04:30,100,101,99,100,5")
    message = refusal(path, store)
    assert "line 6 (2024-01-01 00:04:30) does not open on the 1m grid of UTC" in message


def test_bars_of_another_timeframe_are_refused_with_the_true_one(write_csv, store):
    lines = [f"2024-01-01 0{hour}:00,100,101,99,100,5" for hour in range(6)]
    message = refusal(write_csv(*lines), store)
    assert "lie 1h apart, expected 1m" in message


def test_an_unknown_timeframe_is_refused_with_the_nearest(write_csv, store):
    path = write_csv(*GOOD, name="bars.csv")
    message = refusal(path, store, symbol="BTCUSDT", timeframe="1min")
    assert "unknown timeframe '1min' (did you mean '1m'?)" in message
    assert "unknown timeframe '7m'" in refusal(write_csv(*GOOD, name="BTCUSDT-7m.csv"), store)


def test_a_name_that_tells_nothing_is_asked_for(write_csv, store):
    path = write_csv(*GOOD, name="bars.csv")
    assert "does not tell the symbol; name it with --symbol" in refusal(path, store)
    assert "does not tell the timeframe" in refusal(path, store, symbol="BTCUSDT")


@pytest.mark.parametrize("name", ["../BTC", "BTC/USD", ".hidden", "", "a b"])
def test_a_name_that_could_leave_the_store_is_refused(name, write_csv, store):
    with pytest.raises(UsageError, match="cannot name a folder"):
        import_bars(write_csv(*GOOD), store, venue="test", symbol=name, timeframe="1m")
    with pytest.raises(UsageError, match="cannot name a folder"):
        import_bars(write_csv(*GOOD), store, venue=name)


def test_a_missing_column_is_named_with_what_was_found(write_csv, store):
    path = write_csv("1,2,3,4,5,6", header="timestamp,open,high,low,clsoe,volume")
    message = refusal(path, store)
    assert "no column 'close' (did you mean 'clsoe'?); found timestamp, open" in message


def test_two_columns_of_one_name_are_refused(write_csv, store):
    path = write_csv("1,2,3,4,5,6,7", header="timestamp,open,high,low,close,volume,close")
    assert "two columns are named 'close'" in refusal(path, store)


def test_a_headless_file_that_is_no_kline_file_is_refused(write_csv, store):
    message = refusal(write_csv(*GOOD, header=None), store)
    assert "no header line and 6 columns" in message


def test_a_file_that_is_no_text_is_refused(tmp_path, store):
    path = tmp_path / "BTCUSDT-1m.csv"
    path.write_bytes(b"\xff\xfe\x00\x01" * 50)
    assert "not a text file in UTF-8" in refusal(path, store)


def test_a_page_of_html_is_refused(tmp_path, store):
    path = tmp_path / "BTCUSDT-1m.csv"
    path.write_text("<html><body>404 Not Found</body></html>\n")
    assert "no column 'timestamp'; found <html>" in refusal(path, store)


def test_a_truncated_parquet_file_is_refused(shared_data, tmp_path, store):
    whole = (shared_data / "bars/index/SP500/1d.parquet").read_bytes()
    path = tmp_path / "SP500-1d.parquet"
    path.write_bytes(whole[: len(whole) // 2])
    assert "not a readable Parquet file" in refusal(path, store)


def test_a_truncated_zip_is_refused(tmp_path, store):
    path = tmp_path / "BTCUSDT-1m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("BTCUSDT-1m.csv", "\n".join(GOOD))
    path.write_bytes(path.read_bytes()[:60])
    assert "damaged or not a zip" in refusal(path, store)


def test_a_zip_without_csv_is_refused(tmp_path, store):
    path = tmp_path / "BTCUSDT-1m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    assert "no CSV file inside" in refusal(path, store)


def test_a_wrong_checksum_is_refused(tmp_path, store):
    path = tmp_path / "BTCUSDT-1m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "BTCUSDT-1m.csv", "\n".join(["timestamp,open,high,low,close,volume", *GOOD])
        )
    beside = tmp_path / "BTCUSDT-1m.zip.CHECKSUM"
    beside.write_text("0" * 64 + "  BTCUSDT-1m.zip\n")
    assert "differs from 000000000000... in BTCUSDT-1m.zip.CHECKSUM" in refusal(path, store)
    beside.write_text("<html>\n")
    assert "no SHA-256 in it" in refusal(path, store)


def test_stamps_of_two_units_in_one_file_are_refused(write_csv, store):
    path = write_csv(
        "1704067200000,100,101,99,100,5",
        "1704067260000000,100,101,99,100,5",
    )
    message = refusal(path, store)
    assert "line 3 has timestamp 1704067260000000 in us, expected ms as in line 2" in message


def test_a_stamp_of_no_known_unit_is_refused(write_csv, store):
    message = refusal(write_csv("17040672,100,101,99,100,5"), store)
    assert "line 2 has timestamp '17040672'" in message
    assert "s, ms, us or ns, between 1990 and 2100" in message


def test_a_stamp_that_is_no_time_is_refused(write_csv, store):
    message = refusal(write_csv(GOOD[0], "2024-13-01 00:00,100,101,99,100,5"), store)
    assert "line 3 has timestamp '2024-13-01 00:00', expected ISO text" in message


def test_a_missing_stamp_is_refused(write_csv, store):
    message = refusal(write_csv(GOOD[0], ",100,101,99,100,5"), store)
    assert "line 3 has no timestamp" in message


def test_seconds_stored_as_milliseconds_are_refused(tmp_path, store):
    path = tmp_path / "BTCUSDT-1m.parquet"
    seconds = pl.Series([1_704_067_200 + 60 * i for i in range(4)])
    frame = pl.DataFrame({"timestamp": seconds.cast(pl.Datetime("ms", "UTC"))})
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0)
    frame.with_columns(**{k: pl.lit(v) for k, v in columns.items()}).write_parquet(path)
    message = refusal(path, store)
    assert "row 0 holds the time 1970-01-20" in message
    assert "stored in another unit" in message


def test_milliseconds_stored_as_seconds_are_refused(tmp_path, store):
    path = tmp_path / "BTCUSDT-1m.parquet"
    ms = pl.Series([(1_704_067_200_000 + 60_000 * i) * 1000 for i in range(4)])
    frame = pl.DataFrame({"timestamp": ms.cast(pl.Datetime("ms"))})
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0)
    frame.with_columns(**{k: pl.lit(v) for k, v in columns.items()}).write_parquet(path)
    assert "stored in another unit" in refusal(path, store)


def test_the_first_bad_file_of_a_folder_stops_the_whole_import(write_csv, tmp_path, store):
    write_csv(*GOOD, name="many/AAAUSDT-1m.csv")
    write_csv(GOOD[1], GOOD[0], name="many/BBBUSDT-1m.csv")
    assert "BBBUSDT-1m.csv: line 3" in refusal(tmp_path / "many", store)
    assert not list(store.root.rglob("*.part"))


def test_a_folder_whose_names_contradict_the_asked_symbol_is_refused(write_csv, tmp_path, store):
    write_csv(*GOOD, name="many/AAAUSDT-1m.csv")
    message = refusal(tmp_path / "many", store, symbol="BTCUSDT")
    assert "its name says symbol 'AAAUSDT', asked for was 'BTCUSDT'" in message


def test_a_folder_to_read_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BarsError, match="no such folder of bars"):
        read_folder(tmp_path / "gone", timeframe="1m")


def test_dates_alone_are_midnight_utc(write_csv, store):
    lines = [f"2024-01-0{day},100,101,99,100,5" for day in range(1, 6)]
    import_bars(write_csv(*lines, name="BTCUSDT-1d.csv"), store, venue="test")
    first = store.read("test", "BTCUSDT", "1d").timestamp[0]
    assert first == datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC).timestamp() * 1000


@pytest.mark.parametrize("column", ["symbol", "Ticker"])
def test_a_file_of_several_symbols_is_refused_with_their_names(column, write_csv, store, tmp_path):
    rows = [f"{row},{name}" for name in ("AAA", "BBB") for row in GOOD]
    path = write_csv(*rows, header=f"timestamp,open,high,low,close,volume,{column}")
    words = f"column '{column}' holds 2 symbols (AAA, BBB), expected bars of one; write a file for"
    assert words in refusal(path, store)
    parquet = tmp_path / "ETHUSDT-1m.parquet"
    pl.read_csv(path).write_parquet(parquet)
    assert words in refusal(parquet, store)
    with pytest.raises(BarsError, match="holds 2 symbols"):
        check_bars(pl.read_csv(path))


def test_a_file_that_names_its_one_symbol_is_taken(write_csv, store):
    header = "symbol,timestamp,open,high,low,close,volume"
    path = write_csv(*(f"BTCUSDT,{row}" for row in GOOD), header=header)
    assert import_bars(path, store, venue="test")[0].written.rows_new == 4
    assert store.read("test", "BTCUSDT", "1m").close[0] == 100


@pytest.mark.parametrize(
    ("delimiter", "words"),
    [(";", "semicolons (';')"), ("\t", "tabs ('\\t')"), ("|", "upright bars ('|')")],
)
@pytest.mark.parametrize("header", ["timestamp,open,high,low,close,volume", None])
def test_another_delimiter_than_a_comma_is_named(delimiter, words, header, write_csv, store):
    rows = [row.replace(",", delimiter) for row in GOOD]
    header = header and header.replace(",", delimiter)
    message = refusal(write_csv(*rows, header=header), store)
    assert f"line 1 has {words} between its cells, expected commas" in message


def test_a_comment_before_the_header_is_refused_as_one(write_csv, store):
    path = write_csv("timestamp,open,high,low,close,volume", *GOOD, header="# from somewhere, 2024")
    assert "line 1 is a comment (it begins with '#')" in refusal(path, store)
