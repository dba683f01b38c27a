"""Files of bars as they came: CSV, Parquet, and zips of CSV checked against their checksums."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from walkforge.base import TIMEFRAMES_MS, BarsError, digest_of_file, listed

from ._columns import KLINE_COLUMNS, VALUES, find_columns, find_symbol_column, is_plain
from ._csv_numbers import read_csv_numbers
from ._manifest import MANIFEST, read_manifest
from ._metadata import one_line, read_metadata
from ._provenance_cells import find_provenance_column, provenance_in_cells

SUFFIXES = (".parquet", ".csv", ".zip")
# Lies beside the bars of a perpetual and holds none.
_FUNDING = "funding.parquet"
# More than the first two lines of any file of bars.
_HEAD_BYTES = 100_000
# Everything that bytes overwritten at random made zipfile raise.
ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    OverflowError,
)


@dataclass(frozen=True, slots=True)
class Part:
    """One table of a source, its cells untouched.

    CSV cells are text, or numbers where there is nothing that a message could show of them.
    """

    name: str  # what messages call it
    frame: pl.DataFrame
    columns: dict[str, str]  # our name of a column: its own
    first_line: int | None = None  # line of row 0 in a text file
    has_header: bool = True
    lines: pl.Series | None = None  # row numbers before blank lines were left out
    further: tuple[str, ...] = ()  # columns to be kept beside ours where they hold numbers
    left_out: tuple[str, ...] = ()  # columns that would be, but for their names

    def place(self, row: int) -> str:
        """Return where a row stands, as an editor or a data frame would count it."""
        if self.first_line is None:
            return f"row {row}"
        return f"line {self.first_line + (row if self.lines is None else int(self.lines[row]))}"


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file of bars: its tables, its digest, and whether a checksum beside it agreed."""

    path: Path
    sha256: str
    checked: bool
    parts: tuple[Part, ...]
    metadata: dict[str, Any] = field(default_factory=dict)


def data_files(path: Path) -> list[Path]:
    """Return the file itself, or all bar files below a folder in the order of their names.

    Of a series in parts these are the ones that its manifest names. Raises BarsError where
    nothing is there.
    """
    files: list[Path] = []
    for place in files_and_series(path):
        if place.is_dir():
            files += [place / part.file for part in read_manifest(place).parts]
        else:
            files.append(place)
    return files


def files_and_series(path: Path) -> list[Path]:
    """Return the file itself, or all bar files and folders of series in parts below a folder, in
    the order of their names.

    Raises BarsError where nothing is there.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise BarsError(f"{path}: no such file or folder")
    series = {manifest.parent for manifest in path.rglob(MANIFEST) if in_parts(manifest.parent)}
    files = (file for file in path.rglob("*") if _may_hold_bars(file))
    found = sorted({*series, *(file for file in files if file.parent not in series)})
    if not found:
        raise BarsError(f"{path}: no bars in this folder, expected {', '.join(SUFFIXES)} files")
    return found


def in_parts(folder: Path) -> bool:
    """Return whether a folder is that of a series in parts."""
    return folder.name in TIMEFRAMES_MS and (folder / MANIFEST).is_file()


def _may_hold_bars(file: Path) -> bool:
    if file.suffix.lower() not in SUFFIXES or file.name.startswith(".") or not file.is_file():
        return False
    return file.name != _FUNDING


def further_columns(there: Sequence[str], columns: Mapping[str, str]) -> tuple[str, ...]:
    """Return a file's columns of plain names beside those of bars, the symbol's and the
    provenance's.
    """
    return _by_name(there, columns)[0]


def _by_name(
    there: Sequence[str], columns: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a file's further columns of plain names, and those of other names."""
    known = {*columns.values(), find_symbol_column(there), find_provenance_column(there)}
    ours = ("timestamp", *VALUES)
    beside = [own for own in there if own not in known and own.strip().lower() not in ours]
    plain = tuple(own for own in beside if is_plain(own))
    return plain, tuple(own for own in beside if own not in plain)


def part_of_frame(name: str, frame: pl.DataFrame) -> Part:
    """Return a data frame as a part; raise BarsError where a column is missing, or for bars of
    several symbols.
    """
    columns = find_columns(name, frame.columns)
    _refuse_several_symbols(name, frame)
    return Part(name, frame, columns)


def read_raw_file(path: Path, *, every_column: bool = False) -> RawFile:
    """Read a file of bars without judging its cells: the columns we need, or all of them.

    A file that tells what its bars are is one of ours, and its further columns are kept.
    Raises BarsError where the file is missing, empty, damaged, of another kind, holds several
    symbols, or differs from the SHA-256 in the `NAME.CHECKSUM` beside it.
    """
    kind = path.suffix.lower()
    if not path.is_file():
        raise BarsError(f"{path}: no such file")
    if kind not in SUFFIXES:
        raise BarsError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")
    try:
        if path.stat().st_size == 0:
            raise BarsError(f"{path}: the file is empty, expected bars")
        sha256 = digest_of_file(path)
        checked = _agrees_with_checksum(path, sha256)
        if kind == ".csv":
            parts: tuple[Part, ...] = (_read_csv(path, str(path), every_column),)
        elif kind == ".zip":
            parts = _read_zip(path, every_column)
        else:
            metadata = read_metadata(path)
            parts = (_read_parquet(path, every_column, is_ours=bool(metadata)),)
        if kind != ".parquet":
            metadata = provenance_in_cells((part.name, part.frame) for part in parts)
        return RawFile(path, sha256, checked, parts, metadata)
    except OSError as error:
        raise BarsError(f"{path}: cannot be read: {one_line(error)}") from None


def _read_csv(source: Path | bytes, name: str, every_column: bool) -> Part:
    """Return the cells of a CSV file with a header, or of a headless file of klines."""
    start = _first_bytes(source)
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    skipped = start.removesuffix(head)
    lines_before = skipped.count(b"\n")
    names, has_header = _names_of_columns(head, name, line=1 + lines_before)
    columns = find_columns(name, names)
    if len(set(names)) < len(names):
        twice = next(own for own in names if names.count(own) > 1)
        raise BarsError(f"{name}: two columns are named {twice!r}, expected one of each name")
    provenance = find_provenance_column(names)
    further, left_out = ((), ()) if provenance is None else _by_name(names, columns)
    needed = {*columns.values(), find_symbol_column(names), provenance, *further}
    wanted = [i for i, own in enumerate(names) if every_column or own in needed]
    # A repair writes back every cell as it stands, so it has no use for numbers.
    frame = None
    if not every_column:
        body = _bytes_of(source)[len(skipped) :] if skipped else source
        frame = read_csv_numbers(body, head, names, wanted, columns=columns, has_header=has_header)
    if frame is None:
        body = _bytes_of(source)[len(skipped) :]
        frame = _read_cells(body, name, len(names), wanted, lines_before, has_header)
        frame.columns = [names[i] for i in wanted]
    _refuse_several_symbols(name, frame)
    first_line = 1 + lines_before + int(has_header)
    blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    part = Part(name, frame, columns, first_line, has_header, further=further, left_out=left_out)
    if not blank.any():
        return part
    lines = pl.Series(range(len(frame))).filter(~blank)
    return replace(part, frame=frame.filter(~blank), lines=lines)


def _first_bytes(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:_HEAD_BYTES]
    with source.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _bytes_of(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _names_of_columns(head: bytes, name: str, *, line: int) -> tuple[list[str], bool]:
    """Return what the columns are called, and whether the first line, of number `line`, says so.

    Raises BarsError where that line is none of a CSV file that we know.
    """
    try:
        first_row = head.split(b"\n", 1)[0].decode("utf-8")
    except UnicodeDecodeError:
        raise BarsError(f"{name}: not a text file in UTF-8, expected CSV") from None
    _refuse_other_forms(first_row, name, line=line)
    cells = [cell.strip() for cell in first_row.split(",")]
    _refuse_odd_quotes(cells, name, line=line)
    fields = [cell.strip('"') for cell in cells]
    if fields == [""]:
        raise BarsError(f"{name}: the file is empty, expected bars")
    if not fields[0][:1].isdigit():
        return fields, True
    if len(fields) != len(KLINE_COLUMNS):
        raise BarsError(
            f"{name}: no header line and {len(fields)} columns; expected a line "
            "`timestamp,open,high,low,close,volume` first, or the 12 columns of Binance klines"
        )
    return list(KLINE_COLUMNS), False


def _refuse_other_forms(first_row: str, name: str, *, line: int) -> None:
    """Refuse a first line that is a comment, or whose cells are parted by anything but commas."""
    if first_row.startswith("#"):
        raise BarsError(
            f"{name}: line {line} is a comment (it begins with '#'), expected the names of the "
            "columns; take the comments out"
        )
    for delimiter, plural in ((";", "semicolons"), ("\t", "tabs"), ("|", "upright bars")):
        if first_row.count(delimiter) > first_row.count(","):
            raise BarsError(
                f"{name}: line {line} has {plural} ({delimiter!r}) between its cells, expected "
                "commas (','); write it with commas, and with points in its decimals"
            )


def _refuse_odd_quotes(fields: Sequence[str], name: str, *, line: int) -> None:
    """Refuse a first line with a comma or a line break within a name."""
    for cell in fields:
        if cell[:1] == '"' and (len(cell) == 1 or cell[-1] != '"'):
            raise BarsError(
                f"{name}: line {line} names a column {cell[:40]!r}, a quotation without an end; "
                "expected names without commas and line breaks"
            )


def _refuse_several_symbols(name: str, frame: pl.DataFrame) -> None:
    own = find_symbol_column(frame.columns)
    symbols = [] if own is None else frame[own].drop_nulls().unique(maintain_order=True).to_list()
    if len(symbols) > 1:
        raise BarsError(
            f"{name}: column {own!r} holds {len(symbols)} symbols "
            f"({listed([str(symbol)[:20] for symbol in symbols], most=3)}), expected bars of one; "
            "write a file for each"
        )


def _read_cells(
    content: bytes,
    name: str,
    n_fields: int,
    wanted: list[int],
    lines_before: int,
    has_header: bool,
) -> pl.DataFrame:
    try:
        return pl.read_csv(
            io.BytesIO(content), has_header=has_header, infer_schema=False, columns=wanted
        )
    except pl.exceptions.PolarsError as error:
        wide = _first_wide_line(content, n_fields)
        reason = (
            f"line {lines_before + wide} has more than {n_fields} cells"
            if wide
            else one_line(error)
        )
        raise BarsError(f"{name}: not a proper CSV file: {reason}") from None


def _first_wide_line(content: bytes, n_fields: int) -> int | None:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.count(b",") >= n_fields:
            return number
    return None


def _read_parquet(path: Path, every_column: bool, *, is_ours: bool) -> Part:
    try:
        names = pl.scan_parquet(path, glob=False).collect_schema().names()
        columns = find_columns(str(path), names)
        further, left_out = _by_name(names, columns) if is_ours else ((), ())
        provenance = find_provenance_column(names)
        needed = {*columns.values(), find_symbol_column(names), provenance, *further}
        # A name may be a pattern to polars, so that all of them are not asked for by name.
        wanted = None if every_column else [own for own in names if own in needed]
        frame = pl.read_parquet(path, columns=wanted, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BarsError(f"{path}: not a readable Parquet file: {one_line(error)}") from None
    _refuse_several_symbols(str(path), frame)
    return Part(str(path), frame, columns, further=further, left_out=left_out)


def _read_zip(path: Path, every_column: bool) -> tuple[Part, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(n for n in archive.namelist() if n.lower().endswith(".csv"))
            contents = [archive.read(name) for name in names]
    except ZIP_DAMAGE as error:
        raise BarsError(
            f"{path}: damaged or not a zip: {one_line(error)}. Download it again."
        ) from None
    if not names:
        raise BarsError(f"{path}: no CSV file inside, expected one")
    return tuple(
        _read_csv(content, f"{path}/{name}", every_column)
        for name, content in zip(names, contents, strict=True)
    )


def _agrees_with_checksum(path: Path, sha256: str) -> bool:
    """Return whether a checksum stands beside the file; raise BarsError where it differs."""
    beside = path.with_name(f"{path.name}.CHECKSUM")
    if not beside.is_file():
        return False
    words = beside.read_text(encoding="utf-8", errors="replace").split()
    expected = words[0].lower() if words else ""
    if len(expected) != hashlib.sha256().digest_size * 2:
        raise BarsError(f"{beside}: no SHA-256 in it, expected 64 hex digits and the file's name")
    if expected != sha256:
        raise BarsError(
            f"{path}: SHA-256 {sha256[:12]}... differs from {expected[:12]}... in {beside.name}. "
            "Download both again."
        )
    return True
