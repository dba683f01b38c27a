"""A CSV read as numbers at once holds what its text says, or is read as text."""

import math
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import START_MS
from walkforge.base import BarsError
from walkforge.market import _raw_files
from walkforge.market._columns import KLINE_COLUMNS, VALUES
from walkforge.market._raw_files import read_raw_file
from walkforge.market._refuse import errors_in
from walkforge.market._tables import read_table

ODD_VALUES = [
    "", " ", '""', '"7"', " 7", "7 ", "\t7", "+7", "--7", "-7", "0", "-0.0", ".5", "5.", ".", "1e5",
    "1E+5", "1e", "1e400", "1e-400", "5e-324", "inf", "-Infinity", "NaN", "nan", "null", "1_0",
    "0x1", "1.2.3", "abc", "7\x00", "7\xa0", "9007199254740993", "18446744073709551617",
    "123456789012345678901234567890.125", '"7""8"', '"7,8"',
]  # fmt: skip
ODD_STAMPS = [
    "", " ", "soon", "1704067200000", "1704067200", "1704067200000000", "1704067200000001",
    "+1704067260000", " 1704067260000", "1704067260000 ", '"1704067260000"', "1704067260000.0",
    "1704067260000.5", "1.7e12", "17040672", "-5", "9223372036854775808", "2024-01-01 00:07",
    "2024-01-01T00:07:00Z", "001704067260000",
]  # fmt: skip
PLAIN = st.floats(1e-9, 1e9).map(repr) | st.decimals(1, 100_000, places=8).map(str)


@st.composite
def files(draw) -> bytes:
    """Return a CSV that is mostly in order: now and then an odd cell, line or form."""
    klines = draw(st.booleans())
    names = list(KLINE_COLUMNS) if klines else ["timestamp", *VALUES, "note", "symbol"]
    if not klines:
        names = draw(st.permutations(names))
    form = draw(st.sampled_from(["ms", "s", "us", "text"] if not klines else ["ms", "s", "us"]))
    rarely = st.integers(0, draw(st.sampled_from([3, 30, 1000]))).map(lambda n: n == 0)
    lines = [] if klines and draw(st.booleans()) else [",".join(names)]
    for row in range(draw(st.integers(0, 6))):
        cells = [draw(_cell(name, row, form, rarely)) for name in names]
        if draw(rarely):
            cells = draw(st.sampled_from([cells[:-1], cells[:3], [*cells, "8"], [""]]))
        lines.append(",".join(cells))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join(lines) + draw(st.sampled_from([end, "", end + end]))
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\n\r\n"])) + text.encode()


def _cell(name: str, row: int, form: str, rarely: st.SearchStrategy) -> st.SearchStrategy:
    if name in VALUES:
        usual, odd = PLAIN, ODD_VALUES
    elif name in ("timestamp", "open_time"):
        ms = START_MS + 60_000 * row
        stamps = {"ms": ms, "s": ms // 1000, "us": ms * 1000, "text": f"2024-01-01 00:0{row}"}
        usual, odd = st.just(str(stamps[form])), ODD_STAMPS
    elif name == "symbol":
        usual, odd = st.just("BTCUSDT"), ["", "ETHUSDT", '"BTCUSDT"']
    else:
        usual, odd = st.just("3"), ["", "x", '"a,b"', "\xe9"]
    return rarely.flatmap(lambda is_odd: st.sampled_from(odd) if is_odd else usual)


def what_is_read(path: Path) -> tuple:
    """Return everything of a file that anything later sees: the table to the bit, or the error."""
    try:
        table = read_table(read_raw_file(path).parts[0])
    except BarsError as error:
        return (str(error),)
    found = (table.timestamp, table.values, table.stamped, table.usable)
    words = [finding.words for finding in errors_in(table, "1m")]
    return (*(array.tobytes() for array in found), table.stamp_form, table.problems, words)


def what_its_text_says(path: Path) -> tuple:
    with patch.object(_raw_files, "read_csv_numbers", return_value=None):
        return what_is_read(path)


@settings(max_examples=150, deadline=None)
@given(content=files())
def test_both_ways_of_reading_give_the_same_table_or_the_same_error(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "BTCUSDT-1m.csv"
    path.write_bytes(content)
    assert what_is_read(path) == what_its_text_says(path)


@pytest.mark.parametrize("cell", ODD_VALUES)
@pytest.mark.parametrize("stamp", ["1704067200000", "2024-01-01 00:00"])
def test_an_odd_value_is_read_or_refused_as_text_would_be(cell, stamp, write_csv):
    path = write_csv(f"{stamp},{cell},{cell},{cell},{cell},{cell}", f"{stamp},1,1,1,1,1")
    assert what_is_read(path) == what_its_text_says(path)


@pytest.mark.parametrize("stamp", ODD_STAMPS)
@pytest.mark.parametrize("first", ["1704067200000", "1704067200000000", "2024-01-01 00:00"])
def test_an_odd_stamp_is_read_or_refused_as_text_would_be(stamp, first, write_csv):
    for stamps in ((first, stamp), (stamp, first)):
        path = write_csv(*(f"{one},1,1,1,1,1" for one in stamps))
        assert what_is_read(path) == what_its_text_says(path)


def test_every_number_is_read_to_the_last_bit(write_csv):
    bits = np.random.default_rng(7).integers(0, 2**63, 4_000, dtype=np.int64)
    some = bits.view(np.float64)
    numbers = [number for number in some.tolist() if math.isfinite(number)]
    forms = [repr, "{:.17e}".format, "{:.8f}".format, "{:.25g}".format]
    cells = [form(number) for form in forms for number in numbers[:: len(forms)]]
    path = write_csv(*(f"{START_MS + i},1,1,1,1,{cell}" for i, cell in enumerate(cells)))
    part = read_raw_file(path).parts[0]
    assert part.frame.dtypes == [pl.Int64, *[pl.Float64] * 5]
    expected = np.array([float(cell) for cell in cells])
    np.testing.assert_array_equal(
        read_table(part).values[:, 4].view(np.int64), expected.view(np.int64)
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_ordinary_file_is_read_as_numbers_and_an_odd_one_as_text(end, tmp_path):
    path = tmp_path / "BTCUSDT-1m.csv"
    rows = [f"{START_MS + 60_000 * row},1.5,2,1,1.25,0,9,9,9,9,9,0" for row in range(3)]
    path.write_text(end.join(rows), newline="")
    assert read_raw_file(path).parts[0].frame.dtypes == [pl.Int64, *[pl.Float64] * 5]
    path.write_text(end.join([*rows, rows[0].replace("1.25", "n/a")]), newline="")
    assert read_raw_file(path).parts[0].frame.dtypes == [pl.String] * 6


def test_a_repair_gets_every_cell_as_it_stands(write_csv):
    path = write_csv("1704067200000,1.50,2,1,1.250,0")
    frame = read_raw_file(path, every_column=True).parts[0].frame
    assert frame.row(0) == ("1704067200000", "1.50", "2", "1", "1.250", "0")


def test_a_name_with_signs_of_a_pattern_is_that_of_one_file(write_csv):
    write_csv("1704067200000,9,9,9,9,9", name="ab/BTCUSDT-1m.csv")
    path = write_csv("1704067200000,1,1,1,1,1", name="[a]*/BTCUSDT-1m.csv")
    assert read_table(read_raw_file(path).parts[0]).values.tolist() == [[1.0] * 5]
