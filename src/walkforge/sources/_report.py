"""What a fetch brought, and what it did not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from walkforge.base import counted, utc_text
from walkforge.market import WriteReport


@dataclass(frozen=True, slots=True)
class FailedPiece:
    """A piece that did not come, whatever was tried."""

    series: str
    piece: str
    reason: str


@dataclass(slots=True)
class FetchedSeries:
    """What came of one series."""

    series: str
    pieces: int = 0
    received_bytes: int = 0
    rows_new: int = 0
    rows_differing: int = 0
    """Bars that differ from stored ones: passed over, or put in their place if issued anew."""
    rows_taken_away: int = 0
    """Stored bars of an adjusted past that did not come anew, at the prices of today."""
    written: WriteReport | None = None
    """The series as it stands now; None where nothing was stored."""
    nothing: str = "nothing new"
    """What there is to say where nothing was stored."""

    def summary(self) -> str:
        """Return one line for a terminal."""
        if self.written is None:
            return f"{self.series}: {self.nothing}"
        here = self.written
        differ = f"; {self.rows_differing:,} differ from stored ones" if self.rows_differing else ""
        if self.rows_taken_away:
            gone = f"{self.rows_taken_away:,} stored ones taken away"
            differ += f"; {gone}: they did not come at the prices of today"
        return (
            f"{here.venue}/{self.series}: {counted(self.rows_new, 'new bar')}; now "
            f"{here.rows_total:,} from {utc_text(here.first_ms)} to {utc_text(here.last_ms)} with "
            f"{counted(here.holes, 'hole')}{differ}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the series as plain data."""
        return {
            "series": self.series,
            "pieces": self.pieces,
            "received_bytes": self.received_bytes,
            "rows_new": self.rows_new,
            "rows_differing": self.rows_differing,
            "rows_taken_away": self.rows_taken_away,
            "stored": None if self.written is None else self.written.as_dict(),
        }


@dataclass(slots=True)
class FetchReport:
    """What a fetch brought of all series."""

    series: dict[str, FetchedSeries] = field(default_factory=dict)
    failed: list[FailedPiece] = field(default_factory=list)
    funding: dict[str, int] = field(default_factory=dict)
    """New funding rates by symbol."""
    notes: list[str] = field(default_factory=list)
    """What is worth knowing and no failure."""
    stopped: str | None = None
    """Why the fetch asked for nothing more; None where it went to its end."""

    @property
    def ok(self) -> bool:
        """Return whether everything came that was asked for."""
        return not self.failed and self.stopped is None

    @property
    def received_bytes(self) -> int:
        """Return what came over the wire."""
        return sum(one.received_bytes for one in self.series.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "ok": self.ok,
            "series": [one.as_dict() for one in self.series.values()],
            "failed": [
                {"series": one.series, "piece": one.piece, "reason": one.reason}
                for one in self.failed
            ],
            "funding": self.funding,
            "notes": self.notes,
            "stopped": self.stopped,
        }
