"""The bar store: ROOT/VENUE/SYMBOL/TIMEFRAME.parquet, each file old or new and never half."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from walkforge.base import (
    BarsError,
    FloatArray,
    IntArray,
    atomic_path,
    listed,
    nearest,
    timeframe_ms,
    utc_text,
)

from ._bars import Bars
from ._calendar import CALENDAR_SHOWS_MS, holes_in
from ._columns import VALUES
from ._frames import bars_to_frame, read_bars_file, write_parquet
from ._merge import unite
from ._names import counted, safe_name
from ._raw_files import RawFile, part_of_frame, read_metadata, read_raw_file
from ._tables import Table, read_table


@dataclass(frozen=True, slots=True)
class StoredBars:
    """One series of a store."""

    venue: str
    symbol: str
    timeframe: str
    rows: int
    first_ms: int
    last_ms: int
    provenance: str
    path: Path

    def summary(self) -> str:
        """Return one line for a terminal."""
        return (
            f"{self.venue}/{self.symbol}/{self.timeframe}: {counted(self.rows, 'bar')}, "
            f"{utc_text(self.first_ms)} to {utc_text(self.last_ms)}, {self.provenance}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the series as plain data."""
        return {
            "venue": self.venue,
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            "rows": self.rows,
            "first": utc_text(self.first_ms),
            "last": utc_text(self.last_ms),
            "provenance": self.provenance,
            "path": str(self.path),
        }


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What a write added to one stored series."""

    venue: str
    symbol: str
    timeframe: str
    provenance: str
    rows_given: int
    rows_new: int
    rows_total: int
    first_ms: int
    last_ms: int
    holes: int
    missing_bars: int
    path: Path

    def summary(self) -> str:
        """Return one line for a terminal."""
        known = self.rows_given - self.rows_new
        return (
            f"{self.venue}/{self.symbol}/{self.timeframe}: {counted(self.rows_new, 'new bar')}, "
            f"{known} known before; now {counted(self.rows_total, 'bar')} from "
            f"{utc_text(self.first_ms)} to {utc_text(self.last_ms)} with "
            f"{counted(self.holes, 'hole')}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "venue": self.venue,
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            "provenance": self.provenance,
            "rows_given": self.rows_given,
            "rows_new": self.rows_new,
            "rows_total": self.rows_total,
            "first": utc_text(self.first_ms),
            "last": utc_text(self.last_ms),
            "holes": self.holes,
            "missing_bars": self.missing_bars,
            "path": str(self.path),
        }


@dataclass(frozen=True, slots=True)
class BarStore:
    """A folder of bars, VENUE/SYMBOL/TIMEFRAME.parquet below `root`.

    A write replaces one file at once, so that a reader, and whoever comes after a kill, sees all
    of the old bars or all of the new ones. Bars are only ever added: one that contradicts a
    stored one is refused.
    """

    root: Path

    def path(self, venue: str, symbol: str, timeframe: str) -> Path:
        """Return where a series lies; raise UsageError for a name that cannot be a folder."""
        timeframe_ms(timeframe)
        folder = self.root / safe_name("venue", venue) / safe_name("symbol", symbol)
        return folder / f"{timeframe}.parquet"

    def read(self, venue: str, symbol: str, timeframe: str) -> Bars:
        """Return a stored series; raise BarsError where it is not there or damaged."""
        path = self.path(venue, symbol, timeframe)
        if not path.is_file():
            name = f"{venue}/{symbol}/{timeframe}"
            there = [f"{s.venue}/{s.symbol}/{s.timeframe}" for s in self.list()]
            raise BarsError(
                f"{self.root}: no bars of {name}{nearest(name, there)}; "
                f"there are {listed(there) or 'none'}. Bring them in with `walkforge data import`."
            )
        return read_bars_file(path, venue=venue, symbol=symbol, timeframe=timeframe)

    def write(self, bars: Bars) -> WriteReport:
        """Add bars to their series, keeping provenance and history.

        Bars that are there already are left as they are. Raises BarsError, and changes nothing,
        where a bar contradicts a stored one or the two do not share a provenance.
        """
        table = read_table(part_of_frame(bars.name, bars_to_frame(bars)))
        with self.adding(bars, [table], sources=[]) as report:
            return report

    @contextmanager
    def adding(
        self,
        like: Bars,
        tables: Sequence[Table],
        *,
        sources: Sequence[RawFile],
        calendar: str = "auto",
    ) -> Iterator[WriteReport]:
        """Yield what adding the tables will do; do it when the block ends without an error.

        `like` gives names, provenance, calendar and history; its bars are those of the tables.
        A `calendar` that somebody named is kept, now and in later additions; `auto` lets a
        series of two weeks or more tell its own.
        """
        path = self.path(like.venue, like.symbol, like.timeframe)
        stored = read_raw_file(path) if path.is_file() else None
        old = [] if stored is None else [read_table(stored.parts[0])]
        provenance = like.provenance if stored is None else _common_provenance(like, stored)
        pieces = [*old, *tables]
        bars = _joined(like, stored, provenance, *unite(pieces))
        known = {} if stored is None else stored.metadata
        named = calendar if calendar != "auto" else known.get("calendar_named")
        if named:
            bars = replace(bars, calendar=named)
        elif len(pieces) > 1:
            bars = _with_own_calendar(bars)
        rows_new = len(bars) - sum(map(len, old))
        report = _report(bars, sum(map(len, tables)), rows_new, path)
        if stored is not None and not rows_new and named == known.get("calendar_named"):
            yield report
            return
        metadata = {
            "venue": bars.venue,
            "symbol": bars.symbol,
            "timeframe": bars.timeframe,
            "provenance": bars.provenance,
            "calendar": bars.calendar,
            "calendar_named": named,
            "history": list(bars.history),
            "sources": known.get("sources", []) + [_source_entry(source) for source in sources],
        }
        try:
            with atomic_path(path) as temporary:
                write_parquet(temporary, bars_to_frame(bars), metadata)
                yield report
        except OSError as error:
            raise BarsError(f"{path}: cannot be written: {error.strerror or error}") from None

    def list(self) -> list[StoredBars]:
        """Return every stored series in the order of the names."""
        return [_describe(path) for path in sorted(self.root.glob("*/*/*.parquet"))]


def _joined(
    like: Bars, stored: RawFile | None, provenance: str, timestamp: IntArray, values: FloatArray
) -> Bars:
    before = [] if stored is None else stored.metadata.get("history", [])
    return Bars(
        venue=like.venue,
        symbol=like.symbol,
        timeframe=like.timeframe,
        timestamp=timestamp,
        **{name: values[:, index].copy() for index, name in enumerate(VALUES)},
        provenance=provenance,
        calendar=like.calendar,
        history=tuple(dict.fromkeys([*before, *like.history])),
    )


def _with_own_calendar(bars: Bars) -> Bars:
    """Let a joined series tell its calendar, which a few days of it may have left open."""
    span_ms = int(bars.timestamp[-1] - bars.timestamp[0])
    return bars if span_ms < CALENDAR_SHOWS_MS else replace(bars, calendar="auto")


def _common_provenance(like: Bars, stored: RawFile) -> str:
    """Return the weaker of two claims; what is not real is never joined with what is."""
    old, new = stored.metadata.get("provenance", "file"), like.provenance
    if {old, new} == {"exchange", "file"}:
        return "file"
    if old != new:
        raise BarsError(
            f"{like.name}: the stored bars are {old!r}, the new ones {new!r}; "
            "they are never mixed. Use another venue's name."
        )
    return new


def _report(bars: Bars, rows_given: int, rows_new: int, path: Path) -> WriteReport:
    holes = holes_in(bars.timestamp, timeframe_ms(bars.timeframe), bars.calendar)
    return WriteReport(
        venue=bars.venue,
        symbol=bars.symbol,
        timeframe=bars.timeframe,
        provenance=bars.provenance,
        rows_given=rows_given,
        rows_new=rows_new,
        rows_total=len(bars),
        first_ms=int(bars.timestamp[0]),
        last_ms=int(bars.timestamp[-1]),
        holes=len(holes),
        missing_bars=sum(hole.missing_bars for hole in holes),
        path=path,
    )


def _source_entry(source: RawFile) -> dict[str, Any]:
    return {
        "file": source.path.name,
        "sha256": source.sha256,
        "checksum_agreed": source.checked,
        "imported_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _describe(path: Path) -> StoredBars:
    metadata = read_metadata(path)
    span = pl.scan_parquet(path, glob=False).select(
        rows=pl.len(),
        first=pl.col("timestamp").min().dt.epoch("ms"),
        last=pl.col("timestamp").max().dt.epoch("ms"),
    )
    try:
        rows, first_ms, last_ms = span.collect().row(0)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).split("\n")[0]
        raise BarsError(f"{path}: not a readable file of bars: {reason}") from None
    return StoredBars(
        venue=path.parent.parent.name,
        symbol=path.parent.name,
        timeframe=path.stem,
        rows=rows,
        first_ms=first_ms,
        last_ms=last_ms,
        provenance=metadata.get("provenance", "file"),
        path=path,
    )
