"""One file of bars as a frame, with what it says of its origin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ._frames import bars_from_table
from ._merge import unite
from ._raw_files import read_metadata, read_raw_file
from ._rows import Rows
from ._tables import read_table


@dataclass(frozen=True, slots=True, eq=False)
class BarsFile:
    """The bars of a CSV, zip or Parquet file."""

    frame: pl.DataFrame
    """`timestamp` (Datetime ms UTC), `open`, `high`, `low`, `close`, `volume`, rising."""
    provenance: str
    sha256: str
    checksum_agreed: bool
    """Whether a `NAME.CHECKSUM` lies beside it; one that differs is refused."""


def read_bars_file_frame(path: Path, *, timeframe: str) -> BarsFile:
    """Read a file that `import_bars` takes; several tables of one zip are joined.

    Raises BarsError where it is damaged, or for the first thing `check_bars` calls an error.
    """
    source = read_raw_file(path)
    tables = [read_table(part) for part in source.parts]
    for table in tables:
        bars_from_table(table, venue="file", symbol=path.name, timeframe=timeframe)
    return BarsFile(
        frame=Rows(*unite(tables)).frame(),
        provenance=source.metadata.get("provenance", "file"),
        sha256=source.sha256,
        checksum_agreed=source.checked,
    )


def provenance_of_file(path: Path) -> str:
    """Return what a Parquet file's metadata says of its bars; `file` for all other files."""
    if path.suffix.lower() != ".parquet":
        return "file"
    return str(read_metadata(path).get("provenance", "file"))
