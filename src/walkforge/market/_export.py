"""Bars as files for others: CSV or Parquet, and what they are stays with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from walkforge.base import BarsError, UsageError, atomic_path, counted, listed, one_of, utc_text

from ._bars import Bars
from ._frames import bars_to_frame, write_parquet

EXPORT_FORMS = ("csv", "parquet")
_TOLD = ("venue", "symbol", "timeframe", "provenance", "calendar", "history")


@dataclass(frozen=True, slots=True)
class ExportReport:
    """One file that an export wrote."""

    series: str
    rows: int
    first_ms: int
    last_ms: int
    provenance: str
    history: tuple[str, ...]
    path: Path

    def summary(self) -> str:
        """Return one line for a terminal."""
        done = f", {'; '.join(self.history)}" if self.history else ""
        return (
            f"{self.path}: {counted(self.rows, 'bar')} of {self.series}, "
            f"{utc_text(self.first_ms)} to {utc_text(self.last_ms)}, {self.provenance}{done}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "series": self.series,
            "rows": self.rows,
            "first": utc_text(self.first_ms),
            "last": utc_text(self.last_ms),
            "provenance": self.provenance,
            "history": list(self.history),
            "path": str(self.path),
        }


def export_bars(
    series: Sequence[Bars], folder: Path, *, form: str = "parquet", overwrite: bool = False
) -> list[ExportReport]:
    """Write each series to FOLDER/SYMBOL-TIMEFRAME.csv or .parquet, each file whole or not at all.

    Both keep every number to the last bit and say where the bars come from, so that an import of
    a file gives back equal bars of the same provenance, with the further columns that they have,
    such as Yahoo's `raw_close`. The CSV has `timestamp` as ISO text in UTC, and in every row the
    `provenance`; a further number that is unknown is an empty cell. Parquet also keeps calendar
    and history. Raises UsageError, and writes nothing, for two series of one name, an unknown form
    or a file that is there already and may not be overwritten; BarsError where the disk refuses.
    """
    one_of("format", form, EXPORT_FORMS)
    paths = [folder / f"{bars.symbol}-{bars.timeframe}.{form}" for bars in series]
    twice = sorted({path.name for path in paths if paths.count(path) > 1})
    if twice:
        raise UsageError(
            f"{folder}: several series would be {listed(twice)}; export them into folders of "
            "their own"
        )
    there = [path.name for path in paths if path.exists()]
    if there and not overwrite:
        raise UsageError(
            f"{folder}: {listed(there)} is there already; nothing was written. Say --force to "
            "replace it, or name another folder."
        )
    return [_export(bars, path) for bars, path in zip(series, paths, strict=True)]


def _export(bars: Bars, path: Path) -> ExportReport:
    frame = bars_to_frame(bars)
    try:
        with atomic_path(path) as temporary:
            if path.suffix == ".csv":
                _write_csv(temporary, frame, bars)
            else:
                write_parquet(temporary, frame, {name: getattr(bars, name) for name in _TOLD})
    except OSError as error:
        raise BarsError(f"{path}: cannot be written: {error.strerror or error}") from None
    return ExportReport(
        series=bars.name,
        rows=len(bars),
        first_ms=int(bars.timestamp[0]),
        last_ms=int(bars.timestamp[-1]),
        provenance=bars.provenance,
        history=bars.history,
        path=path,
    )


def _write_csv(path: Path, frame: pl.DataFrame, bars: Bars) -> None:
    # Only stamps off the grid have parts of a second.
    whole = (frame["timestamp"].dt.millisecond() == 0).all()
    times = "%Y-%m-%dT%H:%M:%SZ" if whole else "%Y-%m-%dT%H:%M:%S%.3fZ"
    told = frame.with_columns(
        *(pl.col(name).fill_nan(None) for name in bars.more), provenance=pl.lit(bars.provenance)
    )
    told.write_csv(path, datetime_format=times)
