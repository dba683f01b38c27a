"""The cells of a CSV file as numbers at once, for files in which every cell is in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from ._columns import VALUES
from ._stamps import unit_of_all


def read_csv_numbers(
    source: Path | bytes,
    head: bytes,
    own_names: Sequence[str],
    wanted: Sequence[int],
    *,
    columns: Mapping[str, str],
    has_header: bool,
) -> pl.DataFrame | None:
    """Return the wanted columns: values as finite numbers, stamps as whole ones where they are.

    None where a cell needs a closer look (text among numbers, an empty or infinite cell, stamps of
    two units, a line with too many cells): then only the cells as they stand, read as text, can
    tell what was found where. What is returned is what that text means, to the last bit.

    A file is read from where it lies, without a copy of its bytes; `head` is how it begins.
    """
    stamp, *values = (columns[name] for name in ("timestamp", *VALUES))
    types: dict[str, pl.DataType] = dict.fromkeys(own_names, pl.String())
    types |= dict.fromkeys(values, pl.Float64())
    if _first_cell(head, own_names.index(stamp), has_header).isdigit():
        types[stamp] = pl.Int64()
    try:
        frame = pl.read_csv(
            source, has_header=has_header, schema=types, columns=list(wanted), glob=False
        )
    except pl.exceptions.PolarsError:
        return None
    in_order = frame.select(
        pl.all_horizontal(pl.all().null_count() == 0, pl.col(pl.Float64).is_finite().all())
    ).item()
    if types[stamp] == pl.Int64 and unit_of_all(frame[stamp]) is None:
        return None
    return frame if in_order else None


def _first_cell(head: bytes, column: int, has_header: bool) -> bytes:
    """Return the first cell of a column, or some other bytes where lines are blank or quoted."""
    row = head.split(b"\n", 2)[int(has_header) :][:1]
    cells = row[0].split(b",") if row else []
    return cells[column].strip().strip(b'"') if column < len(cells) else b""
