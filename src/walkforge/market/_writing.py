"""Adding bars to a series: staged beside it, then made the series at once.

Writers take turns under a lock, write new parts beside the old ones, and then replace the
manifest. A kill leaves at worst parts that nobody names, and the next writer clears them away.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from walkforge.base import BarsError, IntArray, digest_of_file, timeframe_ms, utc_text

from ._calendar import CALENDAR_SHOWS_MS, DAY_MS, infer_calendar
from ._manifest import MANIFEST, Manifest, StoredPart, read_manifest, write_manifest
from ._names import counted
from ._parts import by_period, read_part, refuse_damage, scan_parts, write_part
from ._rows import Joined, Rows, join_rows
from ._series import collect, part_is_gone
from ._spans import Span
from ._turns import taking_turns

_BEGUN = ".begun"
# Our own parts, and files half written; whatever else lies in a series' folder is not ours.
_OURS = re.compile(
    r"\d{4}(-\d\d)?\.[0-9a-f]{12}\.parquet"
    r"|\.\d{4}(-\d\d)?\.\d+\.part"
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
    reason: str = ""
    """Why bars are replaced; stands in the history with their number, where any were."""
    place: Callable[[int], str] = utc_text
    """Where the new bar of a moment stands, for messages."""


@contextmanager
def writing(folder: Path, timeframe: str) -> Iterator[None]:
    """Hold a series for writing and leave nothing beside it; other writers wait, readers do not.

    Raises BarsError where another writer keeps it too long.
    """
    with taking_turns(folder / timeframe):
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
    joined = {
        period: _join(place, known.get(period), rows, addition)
        for period, rows in by_period(addition.rows, names[2])
    }
    changed = {period: one.rows for period, one in joined.items() if one.changed}
    untouched = [part for period, part in known.items() if period not in changed]
    stamps = _all_stamps(place, untouched, changed)
    manifest = replace(
        manifest,
        calendar=_calendar(manifest, stamps, first=old is None),
        history=(*manifest.history, *_replaced(joined.values(), addition)),
        columns=_all_columns(manifest, changed),
    )
    written = _write_parts(place, manifest, known, changed, addition)
    parts = tuple(part for _, part in sorted({**known, **written}.items()))
    manifest = replace(manifest, parts=parts)
    return Staged(
        manifest,
        stamps,
        rows_new=sum(one.new for one in joined.values()),
        differing=sum(one.differing for one in joined.values()),
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


def _replaced(joined: Iterable[Joined], addition: Addition) -> list[str]:
    """Return what a replacement did to stored bars, for the history."""
    if addition.on_conflict not in ("replace", "renew"):
        return []
    every = list(joined)
    differing, lacking = sum(one.differing for one in every), sum(one.lacking for one in every)
    lines = []
    if differing:
        lines.append(f"{counted(differing, 'bar')} replaced: {addition.reason}")
    if lacking:
        # Kept where it may be the new file that lost them.
        done = "kept" if addition.on_conflict == "replace" else "taken away"
        lines.append(f"{counted(lacking, 'bar')} {done} that are not in it: {addition.reason}")
    return lines


def _join(place: Path, part: StoredPart | None, rows: Rows, addition: Addition) -> Joined:
    if part is None:
        before = Rows.none()
    else:
        # What is damaged would get a new digest, and be believed from then on.
        try:
            refuse_damage(place, [part])
        except FileNotFoundError:
            raise part_is_gone(place, part.file) from None
        before = read_part(place, part)
    within = addition.asked[0] if len(addition.asked) == 1 else None
    return join_rows(
        before, rows, on_conflict=addition.on_conflict, within=within, place=addition.place
    )


def _write_parts(
    place: Path,
    manifest: Manifest,
    known: Mapping[str, StoredPart],
    changed: Mapping[str, Rows],
    addition: Addition,
) -> dict[str, StoredPart]:
    """Write the rows of every changed period; return the new entries."""
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
        history=tuple(dict.fromkeys([*old.history, *addition.history])),
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
