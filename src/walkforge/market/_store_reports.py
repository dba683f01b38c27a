"""What a store tells: of a series that it holds, and of a write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walkforge.base import counted, utc_text


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
    size_bytes: int
    brought_by: tuple[str, ...]
    """The sources of its bars; empty where nobody wrote them down."""
    fetched_at: str | None
    """When bars last came, None where nobody wrote it down."""
    path: Path

    def summary(self) -> str:
        """Return one line for a terminal."""
        by = f" from {', '.join(self.brought_by)}" if self.brought_by else ""
        return (
            f"{self.venue}/{self.symbol}/{self.timeframe}: {counted(self.rows, 'bar')}, "
            f"{utc_text(self.first_ms)} to {utc_text(self.last_ms)}, {self.provenance}{by}"
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
            "size_bytes": self.size_bytes,
            "brought_by": list(self.brought_by),
            "fetched_at": self.fetched_at,
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
    rows_differing: int
    """Given rows that differ from stored ones: passed over, or put in their place."""
    rows_taken_away: int
    """Stored rows of an adjusted past that are no more, as the given ones lack them."""
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
            "rows_differing": self.rows_differing,
            "rows_taken_away": self.rows_taken_away,
            "rows_total": self.rows_total,
            "first": utc_text(self.first_ms),
            "last": utc_text(self.last_ms),
            "holes": self.holes,
            "missing_bars": self.missing_bars,
            "path": str(self.path),
        }
