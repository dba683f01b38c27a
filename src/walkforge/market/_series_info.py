"""What is known of a stored series: its manifest and its stamps; no price is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from walkforge.base import BarsError, IntArray, timeframe_ms, utc_text

from ._calendar import Hole, distinct, hole_before, holes_in, infer_calendar
from ._columns import VALUES, find_columns
from ._manifest import MANIFEST, Manifest
from ._metadata import read_metadata, sources_told
from ._parts import scan_parts
from ._raw_files import further_columns
from ._series import collect, with_manifest
from ._spans import Span, spans_of_bars
from ._stamps import read_stamps
from ._store_reports import StoredBars


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesInfo:
    """One stored series, where its bars are and where they came from."""

    stored: StoredBars
    spans: tuple[Span, ...]
    """Stretches without a hole, from the first bar's opening to the last one's close."""
    holes: tuple[Hole, ...]
    calendar: str
    columns: tuple[str, ...]
    history: tuple[str, ...]
    sources: tuple[dict[str, Any], ...]
    """Where bars came from, as the manifest tells it; empty where nobody wrote it down."""

    @property
    def missing_bars(self) -> int:
        """Return how many bars lack: exact for `24/7`, an estimate for `session`."""
        return sum(hole.missing_bars for hole in self.holes)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        step_ms = timeframe_ms(self.stored.timeframe)
        return {
            **self.stored.as_dict(),
            "calendar": self.calendar,
            "columns": list(self.columns),
            "history": list(self.history),
            "sources": list(self.sources),
            "spans": [[utc_text(start), utc_text(end - step_ms)] for start, end in self.spans],
            "holes": {
                "count": len(self.holes),
                "missing_bars": self.missing_bars,
                "estimated": self.calendar != "24/7",
                "all": [hole.as_dict() for hole in self.holes],
            },
        }


def series_info(stored: StoredBars) -> SeriesInfo:
    """Return what is known of a stored series; of its bars only the stamps are read.

    Raises BarsError where it is damaged or empty.
    """
    in_parts = (stored.path / MANIFEST).is_file()
    told, stamps = _in_parts(stored.path) if in_parts else _in_one_file(stored.path)
    if not len(stamps):
        raise BarsError(f"{stored.path}: no bars in it, expected at least one")
    step_ms, calendar = timeframe_ms(stored.timeframe), told.pop("calendar")
    if calendar == "auto":
        calendar = infer_calendar(stamps)
    return SeriesInfo(
        stored=stored,
        spans=spans_of_bars(stamps, hole_before(stamps, step_ms, calendar), step_ms),
        holes=holes_in(stamps, step_ms, calendar),
        calendar=calendar,
        **told,
    )


def _in_parts(place: Path) -> tuple[dict[str, Any], IntArray]:
    """Return what a series' manifest tells, and the stamps (n,) of its parts."""
    told = ("calendar", "columns", "history", "sources")

    def read(manifest: Manifest) -> tuple[dict[str, Any], IntArray]:
        frame = collect(scan_parts(place, manifest.parts, (), None, None), place)
        stamps = frame["timestamp"].dt.epoch("ms").to_numpy()
        return {name: getattr(manifest, name) for name in told}, stamps

    return with_manifest(place, read)


def _in_one_file(path: Path) -> tuple[dict[str, Any], IntArray]:
    """Return what a single file's metadata tells, and its stamps (n,)."""
    told = read_metadata(path)
    try:
        schema = pl.read_parquet_schema(path)
        columns = find_columns(str(path), list(schema))
        own = columns["timestamp"]
        column = pl.read_parquet(path, columns=[own], glob=False)[own]
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise BarsError(f"{path}: not a readable file of bars: {reason}") from None
    stamps = read_stamps(column, "row {}".format).ms.drop_nulls()
    further = further_columns(list(schema), columns) if told else ()
    return {
        "calendar": told.get("calendar", "auto"),
        "columns": (*VALUES, *(name for name in further if schema[name].is_numeric())),
        "history": tuple(told.get("history", ())),
        "sources": sources_told(path, told),
    }, distinct(stamps.to_numpy())
