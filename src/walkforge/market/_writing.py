"""Adding bars to a series: staged beside it, then made the series at once.

Writers take turns under a lock, write new parts beside the old ones, and then replace the
manifest. A kill leaves at worst parts that nobody names, and the next writer clears them away.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from walkforge.base import (
    BarsError,
    IntArray,
    counted,
    digest_of_file,
    taking_turns,
    timeframe_ms,
    utc_text,
)

from ._calendar import CALENDAR_SHOWS_MS, DAY_MS, infer_calendar
from ._columns import ROUNDING_FRAC
from ._lacking import NOISE_FRAC, lacking_stamps, stacked, stale_stamps
from ._manifest import MANIFEST, Manifest, StoredPart, read_manifest, write_manifest
from ._manifest_form import PART_NAME
from ._parts import by_period, read_part, refuse_damage, scan_parts, write_part
from ._rows import Joined, Rows, join_rows
from ._series import collect, part_is_gone
from ._spans import Span

_BEGUN = ".begun"
# Our own parts, and files half written; whatever else lies in a series' folder is not ours.
_OURS = re.compile(
    PART_NAME.pattern + r"|\.\d{4}(-\d\d)?\.\d+\.part"
    r"|\.manifest\.json\.\d+\.part"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """What somebody wants to add to a series."""

    rows: Rows
    provenance: str
    calendar: str = "24/7"
    """What the bars themselves show, or were said to have."""
    calendar_named: str | None = None
    """The calendar that somebody named, to be kept."""
    history: tuple[str, ...] = ()
    sources: tuple[dict[str, Any], ...] = ()
    asked: tuple[Span, ...] = ()
    """What the source of these bars has answered for, beside the bars themselves."""
    asked_of: str = ""
    """That source's name."""
    took_sha256: str | None = None
    """The single file that these are the bars of."""
    on_conflict: str = "refuse"
    speaks_for: Span | None = None
    """The span of which a replacement says all there is; None is from its first to its last row."""
    adjusts: bool = False
    """Whether a replacement changes the prices of a past: stored bars that it lacks go, where
    they would stand at those of before, and what differs by float32's noise is no difference."""
    reason: str = ""
    """Why bars are replaced; stands in the history with their number, where any were."""
    place: Callable[[int], str] = utc_text
    """Where the new bar of a moment stands, for messages."""


@contextmanager
def writing(folder: Path, timeframe: str) -> Iterator[None]:
    """Hold a series for writing and leave nothing beside it; other writers wait, readers do not.

    Raises BarsError where another writer keeps it too long.
    """
    with taking_turns(folder / timeframe, BarsError):
        try:
            yield
        finally:
            _clear(folder, timeframe)


@dataclass(frozen=True, slots=True)
class Staged:
    """An addition written beside its series, not yet part of it."""

    manifest: Manifest
    timestamp: IntArray
    """The stamps of the whole series (n,)."""
    rows_new: int
    differing: int
    taken_away: int
    changed: bool


def stage(
    folder: Path, names: tuple[str, str, str], old: Manifest | None, addition: Addition
) -> Staged:
    """Write the parts that an addition makes, and return the manifest that would name them.

    `old` may hold no parts but stand for a single file, whose bars are then in the addition.
    Raises BarsError for contradictions and impossible mixtures, OSError where the disk refuses.
    """
    place = folder / names[2]
    manifest = _grown(names, old, addition)
    _begin(place)
    known = {} if old is None else {part.file.split(".")[0]: part for part in old.parts}
    done = _join_periods(place, known, names[2], addition)
    changed = {period: one.rows for period, one in done.joined.items() if one.changed}
    untouched = [part for period, part in known.items() if period not in changed]
    stamps = _all_stamps(place, untouched, changed)
    manifest = replace(
        manifest,
        calendar=_calendar(manifest, stamps, first=old is None),
        history=(*manifest.history, *_told(done, addition)),
        columns=_all_columns(manifest, changed),
    )
    written = _write_parts(place, manifest, known, changed, addition)
    emptied = changed.keys() - written.keys()
    parts = {period: part for period, part in known.items() if period not in emptied} | written
    manifest = replace(manifest, parts=tuple(parts[period] for period in sorted(parts)))
    return Staged(
        manifest,
        stamps,
        rows_new=sum(one.new for one in done.joined.values()),
        differing=done.differing,
        taken_away=done.taken_away,
        changed=manifest != old,
    )


def commit(folder: Path, timeframe: str, manifest: Manifest) -> None:
    """Make a staged manifest the series."""
    place = folder / timeframe
    _settle(place)
    write_manifest(place, manifest)
    with suppress(OSError):  # the manifest is there; whether it outlives a power cut is all
        _settle(place)


def _begin(place: Path) -> None:
    """Make a folder ready for a first write, marked so that what a kill leaves may go.

    Raises BarsError for parts that lie there without the manifest that they had.
    """
    if (place / MANIFEST).is_file() or (place / _BEGUN).is_file():
        return
    parts = [path for path in place.glob("*.parquet") if _OURS.fullmatch(path.name)]
    if parts:
        raise BarsError(
            f"{place}: {counted(len(parts), 'part')} of a series without its {MANIFEST}. Put that "
            "back, or move the folder away and bring the parts in with `walkforge data import`."
        )
    place.mkdir(parents=True, exist_ok=True)
    (place / _BEGUN).touch()
    _settle(place)


def _clear(folder: Path, timeframe: str) -> None:
    """Remove what a series left behind: old parts, and what a failure or a kill left.

    Files of other names are somebody's own and stay.
    """
    place = folder / timeframe
    begun = place / _BEGUN
    if (place / MANIFEST).is_file():
        manifest = read_manifest(place)
        _unlink_ours(place, {part.file for part in manifest.parts})
        begun.unlink(missing_ok=True)
        single = folder / f"{timeframe}.parquet"
        if single.is_file() and digest_of_file(single) == manifest.took_sha256:
            single.unlink(missing_ok=True)
    elif begun.is_file():
        _unlink_ours(place, set())
        begun.unlink(missing_ok=True)
        with suppress(OSError):  # somebody's own files lie there
            place.rmdir()


def _unlink_ours(place: Path, named: set[str]) -> None:
    for path in place.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in named:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Done:
    """What an addition makes of the periods that it touches."""

    joined: dict[str, Joined]
    lacking: int
    """Stored bars that a replacement speaks for and does not have."""
    taken_away: int

    @property
    def differing(self) -> int:
        return sum(one.differing for one in self.joined.values())


def _join_periods(
    place: Path, known: Mapping[str, StoredPart], timeframe: str, addition: Addition
) -> _Done:
    """Return the rows of every period that has new ones, or that a replacement speaks for."""
    new = dict(by_period(addition.rows, timeframe))
    span = _spoken_for(addition)
    before = {
        period: _stored_rows(place, part)
        for period, part in known.items()
        if period in new or (span and part.first_ms < span.end_ms and part.last_ms >= span.start_ms)
    }
    lacking = stale = np.empty(0, dtype=np.int64)
    if span:
        stored = stacked(before[period] for period in sorted(before))
        lacking = lacking_stamps(stored, addition.rows, span)
        if addition.adjusts:
            stale = stale_stamps(stored, addition.rows, lacking, str(place))
    joined = {
        period: _join(before.get(period), new.get(period), stale, addition)
        for period in sorted({*before, *new})
    }
    return _Done(joined, len(lacking), len(stale))


def _spoken_for(addition: Addition) -> Span | None:
    """Return the span of which an addition says all there is, None where it says so of none."""
    stamps = addition.rows.timestamp
    if addition.on_conflict != "replace":
        return None
    if addition.speaks_for is not None or not len(stamps):
        return addition.speaks_for
    return Span(int(stamps[0]), int(stamps[-1]) + 1)


def _stored_rows(place: Path, part: StoredPart) -> Rows:
    # What is damaged would get a new digest, and be believed from then on.
    try:
        refuse_damage(place, [part])
    except FileNotFoundError:
        raise part_is_gone(place, part.file) from None
    return read_part(place, part)


def _join(before: Rows | None, new: Rows | None, stale: IntArray, addition: Addition) -> Joined:
    before, new = before or Rows.none(), new or Rows.none()
    kept = before.take(~np.isin(before.timestamp, stale)) if len(stale) else before
    joined = join_rows(
        kept,
        new,
        on_conflict=addition.on_conflict,
        rounding_frac=NOISE_FRAC if addition.adjusts else ROUNDING_FRAC,
        place=addition.place,
    )
    return replace(joined, changed=joined.changed or len(kept) < len(before))


def _told(done: _Done, addition: Addition) -> list[str]:
    """Return what a replacement did to stored bars, for the history."""
    if addition.on_conflict != "replace":
        return []
    counts = {
        "replaced": done.differing,
        # Of an adjusted past the same bars may lack every day; that they stay is worth no line.
        "kept that are not in it": 0 if addition.adjusts else done.lacking,
        "taken away that are not in it": done.taken_away,
    }
    return [
        f"{counted(count, 'bar')} {what}: {addition.reason}"
        for what, count in counts.items()
        if count
    ]


def _write_parts(
    place: Path,
    manifest: Manifest,
    known: Mapping[str, StoredPart],
    changed: Mapping[str, Rows],
    addition: Addition,
) -> dict[str, StoredPart]:
    """Write the rows of every changed period that has any; return the new entries."""
    # Each part tells by itself what it is, so that a copy of it stays what it was.
    told = ("venue", "symbol", "timeframe", "provenance", "calendar", "history")
    metadata = {name: getattr(manifest, name) for name in told}
    brought_by = [entry["source"] for entry in addition.sources]
    return {
        period: write_part(
            place,
            period,
            rows,
            metadata,
            sources=tuple(dict.fromkeys([*_sources_of(known.get(period)), *brought_by])),
            written_at=_now(),
        )
        for period, rows in changed.items()
        if len(rows)
    }


def _all_columns(manifest: Manifest, changed: Mapping[str, Rows]) -> tuple[str, ...]:
    new = (name for rows in changed.values() for name in rows.columns)
    return tuple(dict.fromkeys([*manifest.columns, *new]))


def _grown(names: tuple[str, str, str], old: Manifest | None, addition: Addition) -> Manifest:
    venue, symbol, timeframe = names
    if old is None:
        old = Manifest(
            venue=venue,
            symbol=symbol,
            timeframe=timeframe,
            provenance=addition.provenance,
            calendar=addition.calendar,
        )
    grown = old.with_sources(addition.sources).with_asked(addition.asked_of, addition.asked)
    return replace(
        grown,
        calendar=addition.calendar_named or grown.calendar,
        provenance=common_provenance("/".join(names), old.provenance, addition.provenance),
        calendar_named=addition.calendar_named or old.calendar_named,
        history=(*old.history, *(line for line in addition.history if line not in old.history)),
        took_sha256=old.took_sha256 or addition.took_sha256,
    )


def common_provenance(name: str, stored: str, given: str) -> str:
    """Return the weaker of two claims; what is not real is never joined with what is."""
    if {stored, given} == {"exchange", "file"}:
        return "file"
    if stored != given:
        raise BarsError(
            f"{name}: the stored bars are {stored!r}, the new ones {given!r}; "
            "they are never mixed. Use another venue's name."
        )
    return given


def _calendar(manifest: Manifest, timestamp: IntArray, *, first: bool) -> str:
    """Return the calendar: the one named, or what two weeks of stamps show, or what was said."""
    if manifest.calendar_named:
        return manifest.calendar_named
    # Bars longer than a day show no weekends.
    if manifest.calendar != "auto" and (first or timeframe_ms(manifest.timeframe) > DAY_MS):
        return manifest.calendar
    shows = len(timestamp) and timestamp[-1] - timestamp[0] >= CALENDAR_SHOWS_MS
    return infer_calendar(timestamp) if shows or first else manifest.calendar


def _all_stamps(place: Path, parts: Sequence[StoredPart], joined: Mapping[str, Rows]) -> IntArray:
    stamps = [rows.timestamp for rows in joined.values()]
    for part in parts:
        if not (place / part.file).is_file():
            raise part_is_gone(place, part.file)
    if parts:
        frame = collect(scan_parts(place, parts, (), None, None), place)
        stamps.append(frame["timestamp"].dt.epoch("ms").to_numpy())
    return np.sort(np.concatenate(stamps)) if stamps else np.empty(0, dtype=np.int64)


def _sources_of(part: StoredPart | None) -> tuple[str, ...]:
    return () if part is None else part.sources


def _settle(place: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
