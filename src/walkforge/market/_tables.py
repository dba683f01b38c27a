"""Raw bars of one file as numbers, with everything noted that is no number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from walkforge.base import BarsError, BoolArray, FloatArray, IntArray

from ._columns import VALUES
from ._findings import ERROR_KINDS, Finding
from ._raw_files import Part
from ._stamps import read_stamps


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as they stand in a file: stamps (n,) in ms UTC, values (n, 5) = OHLC and volume.

    `stamped` (n,) is False for rows without a sensible stamp, which have 0 in its place; `usable`
    (n,) for these and for rows where a value is no finite number. Both are in `problems`.
    """

    part: Part
    timestamp: IntArray
    values: FloatArray
    stamped: BoolArray
    usable: BoolArray
    stamp_form: str
    problems: tuple[Finding, ...]
    more: Mapping[str, FloatArray] = field(default_factory=dict)
    """Further columns (n,) of numbers, NaN where a cell is empty."""

    def __len__(self) -> int:
        return len(self.timestamp)

    @property
    def name(self) -> str:
        """Return what messages call the file."""
        return self.part.name

    def only_usable(self) -> tuple[IntArray, FloatArray, IntArray]:
        """Return stamps, values and row numbers of the usable rows."""
        rows = np.flatnonzero(self.usable)
        if len(rows) == len(self):
            return self.timestamp, self.values, rows
        return self.timestamp[rows], self.values[rows], rows


def read_table(part: Part) -> Table:
    """Bring the cells of a file to numbers.

    Raises BarsError where there is no row at all; cells that are no numbers are noted in
    `problems`.
    """
    if not len(part.frame):
        raise BarsError(f"{part.name}: no bars in the file, expected at least one")
    stamps = read_stamps(part.frame[part.columns["timestamp"]], part.place)
    problems = list(stamps.problems)
    stamped = stamps.ms.is_not_null().to_numpy()
    usable = stamped.copy()
    values = np.empty((len(part.frame), len(VALUES)), order="F")
    for index, name in enumerate(VALUES):
        values[:, index], found = _read_numbers(part, name, part.frame[part.columns[name]])
        problems += found
        usable &= np.isfinite(values[:, index])
    return Table(
        part=part,
        timestamp=stamps.ms.fill_null(0).to_numpy(),
        values=values,
        stamped=stamped,
        usable=usable,
        stamp_form=stamps.form,
        problems=tuple(_one_per_kind(problems)),
        more=_further_numbers(part),
    )


def _further_numbers(part: Part) -> dict[str, FloatArray]:
    """Return the columns beside those of bars that hold numbers alone, or nothing."""
    cells = {name: part.frame[name] for name in part.further}
    numbers = {
        name: found.cast(pl.Float64, strict=False)
        for name, found in cells.items()
        if found.dtype.is_numeric() or found.dtype == pl.String
    }
    return {
        name: found.fill_null(np.nan).to_numpy()
        for name, found in numbers.items()
        if found.null_count() == cells[name].null_count()
    }


def _read_numbers(part: Part, name: str, cells: pl.Series) -> tuple[np.ndarray, list[Finding]]:
    """Return a column as float64 with NaN where there is no number, and what was wrong there."""
    numbers = cells.cast(pl.Float64, strict=False)
    if cells.dtype == pl.String and numbers.null_count() > cells.null_count():
        numbers = numbers.fill_null(cells.str.strip_chars().cast(pl.Float64, strict=False))
    values = numbers.to_numpy()
    odd = ~np.isfinite(values)
    if not odd.any():
        return values, []
    empty, no_number = cells.is_null(), numbers.is_null()
    return values, [
        *_note("text", part, name, cells, no_number & ~empty, "expected a number"),
        *_note("empty_cells", part, name, None, empty, "expected a number"),
        *_note(
            "not_finite", part, name, cells, ~no_number & pl.Series(odd), "expected a finite number"
        ),
    ]


def _note(
    kind: str, part: Part, name: str, cells: pl.Series | None, bad: pl.Series, expected: str
) -> list[Finding]:
    rows = bad.arg_true()
    if not len(rows):
        return []
    row, place = int(rows[0]), part.place(int(rows[0]))
    found = "is empty" if cells is None else f"holds {str(cells[row])[:40]!r}"
    words = f"{place}, column {name!r} {found}, {expected}"
    return [Finding(kind, len(rows), place, words)]


def _one_per_kind(problems: list[Finding]) -> list[Finding]:
    """Join findings of one kind in several columns; the words of the first stay."""
    joined = []
    for kind in ERROR_KINDS:
        same = [finding for finding in problems if finding.kind == kind]
        if same:
            joined.append(replace(same[0], count=sum(finding.count for finding in same)))
    return joined
