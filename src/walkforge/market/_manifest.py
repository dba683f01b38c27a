"""The manifest of a stored series: which parts it has, and where their bars came from.

It lies beside the parts, `VENUE/SYMBOL/TIMEFRAME/manifest.json`, and is replaced at once: what it
names is the series, and nothing else is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from walkforge.base import BarsError, write_json

from ._columns import VALUES
from ._manifest_form import refuse_nonsense
from ._spans import Span, join_spans

MANIFEST = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPart:
    """One Parquet file of a series, written once and never changed."""

    file: str
    rows: int
    first_ms: int
    last_ms: int
    size_bytes: int
    sha256: str
    sources: tuple[str, ...]
    """Who brought its bars, in the order in which they came."""
    written_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What is known of a stored series."""

    venue: str
    symbol: str
    timeframe: str
    provenance: str
    calendar: str
    calendar_named: str | None = None
    """The calendar that somebody named, which no bar overrules."""
    history: tuple[str, ...] = ()
    columns: tuple[str, ...] = VALUES
    """The columns beside `timestamp`; those after the usual five may hold NaN."""
    asked: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    """What each source has answered for, whether it had bars there or not."""
    took_sha256: str | None = None
    """The single file that the parts were made of, which goes once they are the series."""
    parts: tuple[StoredPart, ...] = ()
    sources: tuple[dict[str, Any], ...] = ()
    """Where bars came from: `source`, `file`, `version`, `sha256`, `from`, `to`, `fetched_at`."""

    @property
    def rows(self) -> int:
        """Return the number of bars."""
        return sum(part.rows for part in self.parts)

    def parts_in(self, start_ms: int | None, end_ms: int | None) -> tuple[StoredPart, ...]:
        """Return the parts that may hold bars opening in [start_ms, end_ms)."""
        return tuple(
            part
            for part in self.parts
            if (start_ms is None or part.last_ms >= start_ms)
            and (end_ms is None or part.first_ms < end_ms)
        )

    def files_of(self, source: str) -> dict[str, str]:
        """Return the version of each file that a source brought, by name.

        The files of days that gave a month what it lacks are among them, those that failed to
        without a version where none was held before.
        """
        entries = [entry for entry in self.sources if entry.get("source") == source]
        mending = {
            day: version for entry in entries for day, version in entry.get("days", {}).items()
        }
        # What came by itself has the last word: it is what comes again when it is issued anew.
        named = {e["file"]: e.get("version", "") for e in entries if "file" in e}
        return mending | named

    def with_asked(self, source: str, spans: Sequence[Span]) -> Manifest:
        """Return the manifest with more that a source has answered for."""
        if not spans:
            return self
        joined = join_spans([*self.asked.get(source, ()), *spans])
        return replace(self, asked={**self.asked, source: joined})

    def with_sources(self, entries: Sequence[dict[str, Any]]) -> Manifest:
        """Return the manifest with more entries; a file that came again replaces its entry.

        Pieces without a version are never asked for again, so that only their sum is kept: a
        series that is brought up to date every hour stays small.
        """
        kept = {_entry_key(entry): entry for entry in self.sources}
        for entry in entries:
            key = _entry_key(entry)
            if key in kept and key[1] is None:
                entry = _summed(kept[key], entry)
            if not _is_the_same(kept.get(key), entry):
                kept[key] = entry
        return replace(self, sources=tuple(kept.values()))


def read_manifest(folder: Path) -> Manifest:
    """Read a series' manifest; raise BarsError where it is damaged."""
    path = folder / MANIFEST
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return _from_plain(plain)
    except OSError as error:
        raise BarsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise BarsError(
            f"{path}: damaged, expected the manifest of a series of bars ({error}). Move the "
            "folder away and bring its bars in again."
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a series' manifest atomically; from then on it is the series."""
    write_json(folder / MANIFEST, {"format": _FORMAT, **asdict(manifest)})


def _from_plain(plain: Any) -> Manifest:
    if plain["format"] != _FORMAT:
        raise ValueError(f"format {plain['format']!r}, this version of Walkforge knows {_FORMAT}")
    refuse_nonsense(plain)
    named = {name: plain[name] for name in ("venue", "symbol", "timeframe", "provenance")}
    return Manifest(
        **named,
        calendar=plain["calendar"],
        calendar_named=plain["calendar_named"],
        history=tuple(plain["history"]),
        columns=tuple(plain["columns"]),
        asked={
            name: join_spans(Span(start, end) for start, end in spans)
            for name, spans in plain["asked"].items()
        },
        took_sha256=plain["took_sha256"],
        parts=tuple(
            StoredPart(**{**part, "sources": tuple(part["sources"])}) for part in plain["parts"]
        ),
        sources=tuple(plain["sources"]),
    )


def _is_the_same(old: dict[str, Any] | None, new: dict[str, Any]) -> bool:
    """Return whether an entry says nothing new but that somebody looked again."""
    return old is not None and {**old, "fetched_at": None} == {**new, "fetched_at": None}


def _entry_key(entry: dict[str, Any]) -> tuple[str, str | None]:
    """Return what an entry is known by: its file, or nothing where it never comes again."""
    if entry.get("version"):
        return entry["source"], entry["file"]
    digest = entry.get("sha256")
    return entry["source"], f"{entry['file']} {digest}" if digest else None


def _summed(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: value for name, value in other.items() if name != "file"},
        "from": min(one["from"], other["from"]),
        "to": max(one["to"], other["to"]),
        "rows": one["rows"] + other["rows"],
        "pieces": one.get("pieces", 1) + other.get("pieces", 1),
    }
