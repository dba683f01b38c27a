"""Checking bars: what is wrong with them, and what is merely worth knowing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from walkforge.base import (
    TIMEFRAMES_MS,
    BarsError,
    BoolArray,
    UsageError,
    counted,
    one_of,
    timeframe_ms,
    utc_text,
)

from . import _look
from ._bars import Bars
from ._calendar import Hole, distinct, holes_in, rises
from ._columns import VALUES
from ._findings import ERROR_KINDS, NOTE_KINDS, Finding
from ._frames import bars_to_frame
from ._manifest import Manifest
from ._names import guess_names
from ._parts import refuse_damage, scan_parts
from ._raw_files import Part, files_and_series, part_of_frame, read_raw_file
from ._refuse import look_at, structural_errors
from ._series import collect, with_manifest
from ._tables import Table, read_table


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckLimits:
    """From where on something real is worth a note.

    The defaults were set by real minute bars of liquid coins: over four years their largest
    moves within a bar are 20 %, up to 190 times the usual one, and happen a few times a year.
    """

    zero_volume_frac: float = 0.01
    frozen_bars: int = 10
    jump_frac: float = 0.5
    jump_robust_z: float = 100.0


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found in one series of bars."""

    source: str
    timeframe: str
    timeframe_reason: str
    calendar: str
    rows: int
    first_ms: int | None
    last_ms: int | None
    zero_volume_frac: float
    holes: tuple[Hole, ...]
    findings: tuple[Finding, ...]
    allowed: frozenset[str]

    @property
    def ok(self) -> bool:
        """Return whether nothing was found but what is allowed."""
        return not any(finding.kind not in self.allowed for finding in self.findings)

    @property
    def usable(self) -> bool:
        """Return whether the bars can be read as they are: no finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)

    def summary(self) -> str:
        """Return one line for a terminal."""
        span = "no usable row"
        if self.first_ms is not None and self.last_ms is not None:
            span = f"{utc_text(self.first_ms)} to {utc_text(self.last_ms)}"
        kinds = ", ".join(f"{found.count} {found.kind}" for found in self.findings) or "clean"
        return f"{self.source}: {counted(self.rows, 'bar')} of {self.timeframe}, {span}: {kinds}"

    def lines(self) -> list[str]:
        """Return one line per finding for a terminal, and below the gaps one for every hole."""
        lines = []
        for found in self.findings:
            allowed = "(allowed) " if found.kind in self.allowed else ""
            lines.append(f"{found.severity:5} {found.kind:12} {allowed}{found.words}")
            if found.kind == "gaps":
                lines += [f"{'':5} {'hole':12} {self._words(hole)}" for hole in self.holes]
        return lines

    def _words(self, hole: Hole) -> str:
        about = "about " if self.calendar == "session" else ""
        return (
            f"after {utc_text(hole.after_ms)}, before {utc_text(hole.before_ms)}: "
            f"{about}{counted(hole.missing_bars, 'missing bar')}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "source": self.source,
            "timeframe": self.timeframe,
            "timeframe_reason": self.timeframe_reason,
            "calendar": self.calendar,
            "rows": self.rows,
            "first": None if self.first_ms is None else utc_text(self.first_ms),
            "last": None if self.last_ms is None else utc_text(self.last_ms),
            "zero_volume_frac": self.zero_volume_frac,
            "holes": [hole.as_dict() for hole in self.holes],
            "findings": [finding.as_dict() for finding in self.findings],
            "allowed": sorted(self.allowed),
            "usable": self.usable,
            "ok": self.ok,
        }


def check_bars(
    source: Bars | pl.DataFrame,
    *,
    timeframe: str | None = None,
    calendar: str = "auto",
    allow: Iterable[str] = (),
    limits: CheckLimits | None = None,
) -> CheckReport:
    """Look for trouble in bars, or in a data frame that may be too broken to become bars.

    `allow` names kinds of findings that are reported but do not count against `ok`; `notes`
    stands for all that are no errors. The timeframe of a frame is the most common distance of
    its bars unless it is given. Raises BarsError where a column is missing or no row is there.
    """
    if isinstance(source, Bars):
        part = part_of_frame(source.name, bars_to_frame(source))
        timeframe, calendar = timeframe or source.timeframe, source.calendar
    else:
        part = part_of_frame("data frame", source)
    return _check_part(part, timeframe, calendar, allowed_kinds(allow), limits or CheckLimits())


def check_path(
    path: Path,
    *,
    timeframe: str | None = None,
    calendar: str = "auto",
    allow: Iterable[str] = (),
    limits: CheckLimits | None = None,
) -> list[CheckReport]:
    """Look for trouble in a file, or in every file below a folder, one report each.

    A series that is stored in parts is one, as holes may lie between its parts. The timeframe is
    the one given, or the one in the file's name, or the most common distance of the bars; the
    calendar is the one given, or the one that was stored with the bars, or what they show. See
    `check_bars`. What cannot be read below a folder has that as its one finding. Raises BarsError
    where nothing is there, and for a single file that is empty or unreadable.
    """
    allowed, limits = allowed_kinds(allow), limits or CheckLimits()
    reports = []
    for place in files_and_series(path):
        named = timeframe or guess_names(place)[1]
        try:
            parts, stored = _read(place)
            kept = stored if calendar == "auto" else calendar
            reports += [_check_part(part, named, kept, allowed, limits) for part in parts]
        except BarsError as error:
            if path.is_file():
                raise
            reports.append(_unreadable(place, named, calendar, allowed, error))
    return reports


def _read(place: Path) -> tuple[Sequence[Part], str]:
    """Return the cells of a file, or of a series in parts, and the calendar stored with them."""
    if place.is_dir():
        return with_manifest(place, partial(_read_series, place))
    raw = read_raw_file(place)
    return raw.parts, raw.metadata.get("calendar", "auto")


def _read_series(place: Path, manifest: Manifest) -> tuple[Sequence[Part], str]:
    refuse_damage(place, manifest.parts)
    frame = collect(scan_parts(place, manifest.parts, VALUES, None, None), place)
    return [part_of_frame(str(place), frame)], manifest.calendar


def _unreadable(
    place: Path, timeframe: str | None, calendar: str, allowed: frozenset[str], error: BarsError
) -> CheckReport:
    return CheckReport(
        source=str(place),
        timeframe=timeframe or "unknown",
        timeframe_reason="nothing of it can be read",
        calendar=calendar,
        rows=0,
        first_ms=None,
        last_ms=None,
        zero_volume_frac=0.0,
        holes=(),
        findings=(Finding("damaged", 1, place.name, str(error)),),
        allowed=allowed,
    )


def allowed_kinds(allow: Iterable[str]) -> frozenset[str]:
    """Return the kinds of findings that the words name; `notes` is all that are no errors."""
    kinds: set[str] = set()
    for word in allow:
        one_of("kind of finding", word, (*NOTE_KINDS, *ERROR_KINDS, "notes"))
        kinds.update(NOTE_KINDS if word == "notes" else (word,))
    return frozenset(kinds)


def _check_part(
    part: Part,
    timeframe: str | None,
    calendar: str,
    allowed: frozenset[str],
    limits: CheckLimits,
) -> CheckReport:
    table = read_table(part)
    timeframe, reason = _timeframe_of(table, timeframe)
    look = look_at(table, timeframe, calendar)
    errors = [*table.problems, *structural_errors(look)]
    good = _mended(look)
    stamps = distinct(table.timestamp[table.stamped])
    # A row that cannot be used is trouble of its own, and no hole beside it.
    holes = holes_in(stamps, look.step_ms, look.calendar)
    return CheckReport(
        source=part.name,
        timeframe=timeframe,
        timeframe_reason=reason,
        calendar=look.calendar,
        rows=len(table),
        first_ms=int(stamps[0]) if len(stamps) else None,
        last_ms=int(stamps[-1]) if len(stamps) else None,
        zero_volume_frac=float((look.values[:, 4] == 0).mean()) if len(look.values) else 0.0,
        holes=holes,
        findings=tuple(errors + _notes(good, holes, limits)),
        allowed=allowed,
    )


def _timeframe_of(table: Table, timeframe: str | None) -> tuple[str, str]:
    if timeframe is not None:
        timeframe_ms(timeframe)
        return timeframe, "given or in the file's name"
    steps = np.diff(distinct(table.only_usable()[0]))
    if len(steps):
        spans, counts = np.unique(steps, return_counts=True)
        usual = int(spans[np.argmax(counts)])
        for name, span_ms in TIMEFRAMES_MS.items():
            if span_ms == usual:
                return name, "the most common distance of the bars"
    raise UsageError(
        f"{table.name}: the name and the stamps tell no timeframe; "
        f"name one of {', '.join(TIMEFRAMES_MS)}"
    )


def _mended(look: _look.Look) -> _look.Look:
    """Return the rows as a repair would leave them, so that notes speak of the market."""
    positive: BoolArray = np.all(look.values[:, :4] > 0, axis=1)
    if positive.all() and rises(look.timestamp):
        return look
    first = np.unique(look.timestamp, return_index=True)[1]
    keep = first[positive[first]]
    return _look.Look(
        look.table,
        look.timestamp[keep],
        look.values[keep],
        look.rows[keep],
        look.timeframe,
        look.calendar,
    )


def _notes(look: _look.Look, holes: tuple[Hole, ...], limits: CheckLimits) -> list[Finding]:
    if not len(look.timestamp):
        return []
    found = [
        _look.gaps(look, holes),
        _look.zero_volume(look, limits.zero_volume_frac),
        _look.frozen(look, limits.frozen_bars),
        _look.jumps(look, move_frac=limits.jump_frac, robust_z=limits.jump_robust_z),
        _look.spikes(look, move_frac=limits.jump_frac),
    ]
    return [finding for finding in found if finding is not None]
