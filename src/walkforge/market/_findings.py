"""What a look at raw bars can find, and what each finding is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from walkforge.base import BarsError, utc_text

# Bars with an error are refused wherever they are read; a note is something that real markets do
# have and that whoever trusts the data should have seen.
ERROR_KINDS = (
    "damaged",
    "stamps",
    "text",
    "empty_cells",
    "not_finite",
    "unsorted",
    "conflicts",
    "duplicates",
    "timeframe",
    "off_grid",
    "non_positive",
    "broken_ohlc",
)
NOTE_KINDS = ("gaps", "zero_volume", "frozen", "jumps", "spikes")

_WAYS_OUT = {
    "unsorted": "Mend the file with `walkforge data repair`.",
    "duplicates": "Mend the file with `walkforge data repair`.",
    "conflicts": "Find out which bar is true and take the other one out of the file.",
    "timeframe": "Name the timeframe that the bars really have.",
    "off_grid": "Shift the stamps to UTC opening times, or name the timeframe that they have.",
}
_LOOK = "See all findings with `walkforge data check`."


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of trouble: how often, and where first."""

    kind: str
    count: int
    place: str
    """Where it is first: `line 7` of a text file (the first line is 1), else `row 5` (from 0)."""
    words: str
    timestamp_ms: int | None = None

    @property
    def severity(self) -> str:
        """Return `error` for what makes bars unusable as they are, otherwise `note`."""
        return "error" if self.kind in ERROR_KINDS else "note"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain data."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "count": self.count,
            "place": self.place,
            "timestamp": None if self.timestamp_ms is None else utc_text(self.timestamp_ms),
            "words": self.words,
        }

    def as_error(self, source: str) -> BarsError:
        """Return the error with which a reader of `source` refuses the bars."""
        return BarsError(f"{source}: {self.words}. {_WAYS_OUT.get(self.kind, _LOOK)}")
