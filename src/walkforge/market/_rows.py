"""Bars as bare arrays, and how new ones join old ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from walkforge.base import BarsError, BoolArray, FloatArray, IntArray, one_of, utc_text

from ._columns import ROUNDING_FRAC, VALUES, contradict, refuse_odd_names

ON_CONFLICT = ("refuse", "keep", "replace")
BAR = slice(0, len(VALUES))


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Stamps (n,) in ms UTC, rising, and values (n, k) of the columns, NaN where unknown.

    The first five columns are those of bars; a NaN is allowed in those after them.
    """

    timestamp: IntArray
    values: FloatArray
    columns: tuple[str, ...] = VALUES

    def __len__(self) -> int:
        return len(self.timestamp)

    @staticmethod
    def none() -> Rows:
        """Return nothing."""
        return Rows(np.empty(0, dtype=np.int64), np.empty((0, len(VALUES))))

    def take(self, rows: slice | np.ndarray) -> Rows:
        """Return some of the rows."""
        return Rows(self.timestamp[rows], self.values[rows], self.columns)

    def with_columns(self, columns: Sequence[str]) -> Rows:
        """Return the rows with all of these columns, NaN in those they do not have."""
        if tuple(columns) == self.columns:
            return self
        values = np.full((len(self), len(columns)), np.nan)
        for index, name in enumerate(self.columns):
            values[:, columns.index(name)] = self.values[:, index]
        return Rows(self.timestamp, values, tuple(columns))

    def frame(self) -> pl.DataFrame:
        """Return `timestamp` (Datetime ms UTC) and the columns as Float64."""
        stamps = pl.Series("timestamp", self.timestamp).cast(pl.Datetime("ms", "UTC"))
        columns = {name: self.values[:, index] for index, name in enumerate(self.columns)}
        return pl.DataFrame({"timestamp": stamps, **columns})


def rows_of_frame(frame: pl.DataFrame, place: str = "new bars") -> Rows:
    """Return the rows of a frame whose columns have their final names and types.

    Raises BarsError, which names `place`, where a further column's name is no plain one.
    """
    further = [name for name in frame.columns if name not in ("timestamp", *VALUES)]
    refuse_odd_names(place, further)
    columns = (*VALUES, *further)
    values = np.empty((len(frame), len(columns)), order="F")
    for index, name in enumerate(columns):
        values[:, index] = frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return Rows(frame["timestamp"].dt.epoch("ms").to_numpy(), values, columns)


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows after a join, and what became of the new ones."""

    rows: Rows
    new: int
    differing: int
    """New rows that differ from stored ones: passed over, or taken in their place."""
    changed: bool
    """Whether anything is other than before."""


def join_rows(
    old: Rows,
    new: Rows,
    *,
    on_conflict: str,
    rounding_frac: float = ROUNDING_FRAC,
    place: Callable[[int], str] = utc_text,
) -> Joined:
    """Return old and new rows in time order, each time once; both rise.

    A new row for the time of an old one changes nothing where the two agree, but fills in columns
    that the old one lacks. Where they differ it is refused with BarsError, or the old one is
    kept, or replaced; up to `rounding_frac` of a value is no difference. `place` tells where the
    new row of a moment stands.
    """
    one_of("way to join", on_conflict, ON_CONFLICT)
    if not len(old):
        return Joined(new, len(new), differing=0, changed=len(new) > 0)
    columns = (*old.columns, *(name for name in new.columns if name not in old.columns))
    old, new = old.with_columns(columns), new.with_columns(columns)
    known, at = _known(old.timestamp, new.timestamp)
    before, after = old.values[at[known]], new.values[known]
    differs = contradict(before[:, BAR], after[:, BAR], rounding_frac)
    if differs.any() and on_conflict == "refuse":
        row = int(np.argmax(differs))
        moment = int(new.timestamp[known][row])
        raise _contradiction(moment, before[row], after[row], place(moment))
    first, second = (after, before) if on_conflict == "replace" else (before, after)
    renewed = np.where(np.isnan(first), second, first)
    changed = not np.array_equal(renewed, before, equal_nan=True)
    values = old.values
    if changed:
        values = values.copy()
        values[at[known]] = renewed
    added = new.take(~known)
    stamps = np.concatenate([old.timestamp, added.timestamp])
    order = np.argsort(stamps, kind="stable")
    rows = Rows(stamps[order], np.concatenate([values, added.values])[order], columns)
    return Joined(
        rows,
        len(added),
        differing=int(differs.sum()),
        changed=changed or len(added) > 0,
    )


def _known(old: IntArray, new: IntArray) -> tuple[BoolArray, IntArray]:
    """Return which new stamps (n,) are among the old ones, and where they would stand (n,)."""
    at = np.searchsorted(old, new)
    known = at < len(old)
    known[known] = old[at[known]] == new[known]
    return known, at


def _contradiction(at_ms: int, stored: FloatArray, given: FloatArray, place: str) -> BarsError:
    column = int(np.argmax(np.abs(stored[BAR] - given[BAR])))
    return BarsError(
        f"{place}: {VALUES[column]} {given[column]:.12g} for {utc_text(at_ms)}, but stored is "
        f"{stored[column]:.12g} for the same time. Nothing was changed; find out which is true, "
        "and take the other away or use another venue's name."
    )
