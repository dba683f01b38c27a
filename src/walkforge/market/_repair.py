"""Mending files of bars: what is certain is mended, what is not is refused, nothing invented."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from walkforge.base import BarsError, BoolArray, IntArray, UsageError, atomic_path, counted

from . import _look
from ._findings import Finding
from ._frames import write_parquet
from ._names import guess_names
from ._raw_files import Part, RawFile, in_parts, read_raw_file
from ._refuse import errors_in
from ._tables import Table, read_table


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What was mended in one file, and what was left because no honest way mends it."""

    source: str
    target: str
    rows_before: int
    rows_after: int
    out_of_order: int
    duplicates_dropped: int
    broken_dropped: int
    left: tuple[Finding, ...]
    """Errors that are still there; their places are those of the mended file."""

    @property
    def changed(self) -> bool:
        """Return whether anything had to be mended."""
        return bool(self.out_of_order or self.duplicates_dropped or self.broken_dropped)

    def done(self) -> str:
        """Return what was done in words, for a history; empty where nothing was."""
        steps = (
            (self.out_of_order, "row", "put in time order"),
            (self.duplicates_dropped, "exact duplicate", "dropped"),
            (self.broken_dropped, "broken row", "dropped"),
        )
        words = ", ".join(f"{counted(count, what)} {done}" for count, what, done in steps if count)
        return f"repaired: {words}" if words else ""

    def summary(self) -> str:
        """Return one line for a terminal."""
        left = "".join(f"; left as it was: {found.words}" for found in self.left)
        bars = counted(self.rows_after, "bar")
        return f"{self.target}: {self.done() or 'nothing to mend'}; {bars}{left}"

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "source": self.source,
            "target": self.target,
            "rows_before": self.rows_before,
            "rows_after": self.rows_after,
            "out_of_order": self.out_of_order,
            "duplicates_dropped": self.duplicates_dropped,
            "broken_dropped": self.broken_dropped,
            "changed": self.changed,
            "left": [found.as_dict() for found in self.left],
        }


def repair_bars(
    source: Path,
    target: Path | None = None,
    *,
    in_place: bool = False,
    drop_broken: bool = False,
    timeframe: str | None = None,
) -> RepairReport:
    """Sort a file of bars and drop exact duplicates; write it to `target`, or `in_place`.

    All columns and cells stay as they stand, and the file stays CSV or Parquet (a zip becomes
    CSV). `drop_broken` also drops rows without a sensible time or five finite numbers, with
    prices that are not positive, negative volume or broken OHLC, which leaves holes; without it
    they are left and reported. No bar is ever made up or changed. A clean file stays untouched.

    Raises BarsError for bars that contradict each other, rows that cannot be put in order and
    unreadable files; UsageError where no place is named or the place is of another kind.
    """
    place = _place_for(source, target, in_place=in_place)
    whole = read_raw_file(source, every_column=True)
    if len(whole.parts) > 1:
        raise UsageError(f"{source}: holds {len(whole.parts)} files; unpack it and mend each")
    table = read_table(whole.parts[0])
    broken = _broken(table) if drop_broken else np.zeros(len(table), dtype=np.bool_)
    _refuse_what_has_no_place(table, broken)
    rows = np.flatnonzero(~broken)
    order, repeats = _in_order(table, rows)
    part = table.part
    frame = part.frame[order]
    kept = Part(str(place), frame, part.columns, part.first_line, part.has_header)
    report = RepairReport(
        source=str(source),
        target=str(place),
        rows_before=len(table),
        rows_after=len(order),
        out_of_order=int((np.diff(table.timestamp[rows]) < 0).sum()),
        duplicates_dropped=repeats,
        broken_dropped=int(broken.sum()),
        left=tuple(_errors_left(kept, timeframe or guess_names(source)[1])),
    )
    if report.changed or place != source:
        _write(place, kept, whole, report)
    return report


def _place_for(source: Path, target: Path | None, *, in_place: bool) -> Path:
    if (target is None) != in_place:
        raise UsageError(f"{source}: name either a file for the mended bars, or the same place")
    place = source if target is None else target
    if in_parts(place.absolute().parent):
        raise UsageError(
            f"{place}: a part of a stored series, which only its store may change; fetch what is "
            "missing with `walkforge data repair ... --from SOURCE`"
        )
    kind = ".parquet" if source.suffix.lower() == ".parquet" else ".csv"
    if place.suffix.lower() != kind:
        raise UsageError(f"{place}: bars mended from {source.name} are written as {kind}")
    return place


def _broken(table: Table) -> BoolArray:
    values = np.where(np.isfinite(table.values), table.values, 1.0)
    negative = (values[:, :4] <= 0).any(axis=1) | (values[:, 4] < 0)
    return ~table.usable | negative | _look.broken_ohlc(values)


def _refuse_what_has_no_place(table: Table, broken: BoolArray) -> None:
    """Raise BarsError for rows without a time, and for rows that contradict each other."""
    if not (table.stamped | broken).all():
        raise next(f for f in table.problems if f.kind == "stamps").as_error(table.name)
    rows = np.flatnonzero(table.usable & ~broken)
    look = _look.Look(table, table.timestamp[rows], table.values[rows], rows, "1m", "24/7")
    for finding in _look.duplicates(look):
        if finding.kind == "conflicts":
            raise finding.as_error(table.name)


def _in_order(table: Table, rows: IntArray) -> tuple[IntArray, int]:
    """Return the rows to keep, in time order, and how many repeated another exactly."""
    if not len(rows):
        raise BarsError(f"{table.name}: no row is left after dropping what is broken")
    order = rows[np.argsort(table.timestamp[rows], kind="stable")]
    same_time = np.diff(table.timestamp[order]) == 0
    above, below = table.values[order[:-1]], table.values[order[1:]]
    same_values = ((above == below) | (np.isnan(above) & np.isnan(below))).all(axis=1)
    keep = np.concatenate([[True], ~(same_time & same_values)])
    return order[keep], int((~keep).sum())


def _errors_left(part: Part, timeframe: str | None) -> list[Finding]:
    table = read_table(part)
    return list(table.problems) if timeframe is None else errors_in(table, timeframe)


def _write(place: Path, part: Part, whole: RawFile, report: RepairReport) -> None:
    try:
        with atomic_path(place) as temporary:
            _write_kind(temporary, place.suffix.lower(), part, whole, report)
    except OSError as error:
        raise BarsError(f"{place}: cannot be written: {error.strerror or error}") from None


def _write_kind(path: Path, kind: str, part: Part, whole: RawFile, report: RepairReport) -> None:
    if kind == ".csv":
        part.frame.write_csv(path, include_header=part.has_header)
        return
    history = [*whole.metadata.get("history", ()), *filter(None, [report.done()])]
    write_parquet(path, part.frame, {**whole.metadata, "history": history})
