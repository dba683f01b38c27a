"""Bars as data frames and as Parquet files, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from walkforge.base import BarsError

from ._bars import Bars
from ._columns import VALUES
from ._metadata import METADATA_KEY
from ._raw_files import part_of_frame, read_raw_file
from ._refuse import refuse_errors
from ._tables import Table, read_table


def bars_to_frame(bars: Bars) -> pl.DataFrame:
    """Return `timestamp` (Datetime ms UTC), `open`, `high`, `low`, `close`, `volume`, and more
    where the bars have more.
    """
    columns = {name: getattr(bars, name) for name in VALUES} | dict(bars.more)
    return pl.DataFrame({"timestamp": bars.timestamp, **columns}).with_columns(
        pl.col("timestamp").cast(pl.Datetime("ms", "UTC"))
    )


def bars_from_frame(
    frame: pl.DataFrame,
    *,
    venue: str,
    symbol: str,
    timeframe: str,
    provenance: str = "file",
    calendar: str = "auto",
) -> Bars:
    """Return the bars of a data frame with the columns that `data import` takes.

    Raises BarsError for the first thing `check_bars` calls an error.
    """
    table = read_table(part_of_frame(f"{venue}/{symbol}/{timeframe}", frame))
    return bars_from_table(
        table,
        venue=venue,
        symbol=symbol,
        timeframe=timeframe,
        provenance=provenance,
        calendar=calendar,
    )


def bars_from_table(
    table: Table,
    *,
    venue: str,
    symbol: str,
    timeframe: str,
    provenance: str = "file",
    calendar: str = "auto",
    history: tuple[str, ...] = (),
) -> Bars:
    """Return the bars of a table; raise BarsError for the first thing that is an error."""
    refuse_errors(table, timeframe, calendar)
    return Bars(
        venue=venue,
        symbol=symbol,
        timeframe=timeframe,
        timestamp=table.timestamp.copy(),
        **{name: table.values[:, index].copy() for index, name in enumerate(VALUES)},
        provenance=provenance,
        calendar=calendar,
        history=history,
        more={name: values.copy() for name, values in table.more.items()},
    )


def read_bars_file(path: Path, *, venue: str, symbol: str, timeframe: str) -> Bars:
    """Read one file of bars; what its metadata says of their origin is believed."""
    source = read_raw_file(path)
    if len(source.parts) > 1:
        raise BarsError(f"{path}: holds {len(source.parts)} files, expected one; import it first")
    return bars_from_table(
        read_table(source.parts[0]),
        venue=venue,
        symbol=symbol,
        timeframe=timeframe,
        provenance=source.metadata.get("provenance", "file"),
        calendar=source.metadata.get("calendar", "auto"),
        history=tuple(source.metadata.get("history", ())),
    )


def write_parquet(path: Path, frame: pl.DataFrame, metadata: dict[str, Any]) -> None:
    """Write a frame as zstd Parquet with our metadata as JSON under one key."""
    from pyarrow import parquet

    table = frame.to_arrow()
    entries = {**(table.schema.metadata or {}), METADATA_KEY: json.dumps(metadata)}
    # Prices repeat too seldom for dictionaries: without them files are smaller by a third and
    # written twice as fast. Stamps a fixed step apart shrink to nothing as differences.
    deltas = {"timestamp": "DELTA_BINARY_PACKED"} if "timestamp" in frame.columns else None
    parquet.write_table(
        table.replace_schema_metadata(entries),
        path,
        compression="zstd",
        use_dictionary=False,
        column_encoding=deltas,
        row_group_size=131_072,
    )
