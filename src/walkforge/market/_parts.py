"""The parts of a stored series: a month of bars each, or a year of daily and weekly ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from walkforge.base import BarsError, IntArray, digest_of_file, timeframe_ms

from ._calendar import DAY_MS
from ._frames import write_parquet
from ._manifest import StoredPart
from ._rows import Rows, rows_of_frame

_DIGITS = 12


def periods_of(timestamp: IntArray, timeframe: str) -> IntArray:
    """Return the number of the period (n,) that each stamp falls into: months or years of 1970."""
    unit = "M" if timeframe_ms(timeframe) < DAY_MS else "Y"
    return timestamp.astype("datetime64[ms]").astype(f"datetime64[{unit}]").astype(np.int64)


def period_name(period: int, timeframe: str) -> str:
    """Return `2024-01` or `2024`."""
    if timeframe_ms(timeframe) < DAY_MS:
        return f"{1970 + period // 12}-{period % 12 + 1:02d}"
    return str(1970 + period)


def by_period(rows: Rows, timeframe: str) -> Iterator[tuple[str, Rows]]:
    """Yield the rows of each period with its name; the rows rise."""
    periods = periods_of(rows.timestamp, timeframe)
    edges = np.flatnonzero(np.diff(periods)) + 1
    for start, stop in zip([0, *edges], [*edges, len(rows)], strict=True):
        if stop > start:
            yield period_name(int(periods[start]), timeframe), rows.take(slice(start, stop))


def write_part(
    folder: Path, period: str, rows: Rows, metadata: dict[str, Any], **told: Any
) -> StoredPart:
    """Write one part under a name that no other content has, and return its entry.

    It belongs to the series only when a manifest names it. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{period}.{os.getpid()}.part"
    try:
        write_parquet(temporary, rows.frame(), metadata)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        sha256 = digest_of_file(temporary)
        path = folder / f"{period}.{sha256[:_DIGITS]}.parquet"
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return StoredPart(
        file=path.name,
        rows=len(rows),
        first_ms=int(rows.timestamp[0]),
        last_ms=int(rows.timestamp[-1]),
        size_bytes=path.stat().st_size,
        sha256=sha256,
        **told,
    )


def scan_parts(
    folder: Path,
    parts: Sequence[StoredPart],
    columns: Sequence[str],
    start_ms: int | None,
    end_ms: int | None,
) -> pl.LazyFrame:
    """Return the bars of the parts that open in [start_ms, end_ms), in time order.

    Only the columns asked for are read. Raises FileNotFoundError where a part is gone, BarsError
    where one has another size than its entry says.
    """
    for part in parts:
        found = (folder / part.file).stat().st_size
        if found != part.size_bytes:
            raise BarsError(
                f"{folder / part.file}: {found} bytes, expected {part.size_bytes}: damaged. Take "
                "the series' folder away and bring its bars in again."
            )
    schema: dict[str, pl.DataType] = {"timestamp": pl.Datetime("ms", "UTC")}
    schema |= {name: pl.Float64() for name in columns}
    frame = pl.scan_parquet(
        [folder / part.file for part in parts],
        glob=False,
        schema=schema,
        missing_columns="insert",
        extra_columns="ignore",
    )
    at = pl.col("timestamp")
    for moment, keep in ((start_ms, at.__ge__), (end_ms, at.__lt__)):
        if moment is not None:
            frame = frame.filter(keep(pl.lit(moment).cast(pl.Datetime("ms", "UTC"))))
    return frame.select("timestamp", *columns)


def refuse_damage(folder: Path, parts: Sequence[StoredPart]) -> None:
    """Raise BarsError for the first part whose bytes are not those that were written."""
    for part in parts:
        found = digest_of_file(folder / part.file)
        if found != part.sha256:
            raise BarsError(
                f"{folder / part.file}: SHA-256 {found[:12]}..., expected {part.sha256[:12]}...: "
                "damaged. Take the series' folder away and bring its bars in again."
            )


def read_part(folder: Path, part: StoredPart) -> Rows:
    """Return all columns of one part; raise BarsError where it cannot be read."""
    try:
        frame = pl.read_parquet(folder / part.file, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise BarsError(f"{folder / part.file}: damaged: {reason}") from None
    return rows_of_frame(frame, str(folder / part.file))
