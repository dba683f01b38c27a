"""One file of bars as a frame, with what it says of its origin."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from ._merge import unite
from ._metadata import read_metadata
from ._raw_files import ZIP_DAMAGE, read_raw_file
from ._refuse import refuse_errors
from ._tables import read_table

_LONGEST_LINE_BYTES = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class BarsFile:
    """The bars of a CSV, zip or Parquet file."""

    frame: pl.DataFrame
    """`timestamp` (Datetime ms UTC), `open`, `high`, `low`, `close`, `volume`, rising; and the
    further columns of a file that tells what its bars are."""
    provenance: str
    calendar: str
    """What its metadata says, `auto` where it says nothing."""
    history: tuple[str, ...]
    """What was done to the bars, as its metadata tells."""
    sha256: str
    checksum_agreed: bool
    """Whether a `NAME.CHECKSUM` lies beside it; one that differs is refused."""


def read_bars_file_frame(path: Path, *, timeframe: str) -> BarsFile:
    """Read a file that `import_bars` takes; several tables of one zip are joined.

    Raises BarsError where it is damaged, or for the first thing `check_bars` calls an error.
    """
    source = read_raw_file(path)
    tables = [read_table(part) for part in source.parts]
    told = source.metadata
    calendar = told.get("calendar", "auto")
    for table in tables:
        refuse_errors(table, timeframe, calendar)
    return BarsFile(
        frame=unite(tables).frame(),
        provenance=told.get("provenance", "file"),
        calendar=calendar,
        history=tuple(told.get("history", ())),
        sha256=source.sha256,
        checksum_agreed=source.checked,
    )


def provenance_of_file(path: Path) -> str:
    """Return what a file says of its bars, in metadata or a column `provenance`; else `file`.

    It is what `read_bars_file_frame` says. Of a CSV without such a column the first line alone is
    read. Raises BarsError where it is damaged or contradicts itself.
    """
    if path.suffix.lower() == ".parquet":
        return str(read_metadata(path).get("provenance", "file"))
    if b"provenance" not in _first_lines(path).lower():
        return "file"
    return str(read_raw_file(path).metadata.get("provenance", "file"))


def _first_lines(path: Path) -> bytes:
    """Return the beginning of a CSV, or of every file in a zip."""
    try:
        if path.suffix.lower() != ".zip":
            with path.open("rb") as file:
                return _first_line(file)
        with zipfile.ZipFile(path) as archive:
            return b"".join(_first_line_in(archive, name) for name in archive.namelist())
    except ZIP_DAMAGE:
        return b""  # whoever reads its bars says what is wrong


def _first_line_in(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        return _first_line(file)


def _first_line(file: IO[bytes]) -> bytes:
    """Return the first line that is not blank."""
    head = file.read(_LONGEST_LINE_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    return head.split(b"\n", 1)[0]
