"""Bars as bare arrays, and how new ones join old ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from walkforge.base import BarsError, BoolArray, FloatArray, IntArray, one_of, utc_text

from ._columns import VALUES, contradict
from ._spans import Span

ON_CONFLICT = ("refuse", "keep", "replace", "renew")
_BAR = slice(0, len(VALUES))


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


def rows_of_frame(frame: pl.DataFrame) -> Rows:
    """Return the rows of a frame whose columns have their final names and types."""
    columns = (*VALUES, *(name for name in frame.columns if name not in ("timestamp", *VALUES)))
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
    lacking: int
    """Old rows that the new ones speak for and do not have."""
    changed: bool
    """Whether anything is other than before."""


def join_rows(
    old: Rows,
    new: Rows,
    *,
    on_conflict: str,
    within: Span | None = None,
    place: Callable[[int], str] = utc_text,
) -> Joined:
    """Return old and new rows in time order, each time once; both rise.

    A new row for the time of an old one changes nothing where the two agree, but fills in columns
    that the old one lacks. Where they differ it is refused with BarsError, or the old one is
    kept, or replaced; `renew` replaces, and takes away old rows that the new ones lack. `within`
    is the span that the new rows speak for, from the first to the last of them unless it is
    given. `place` tells where the new row of a moment stands.
    """
    one_of("way to join", on_conflict, ON_CONFLICT)
    if not len(old):
        return Joined(new, len(new), differing=0, lacking=0, changed=len(new) > 0)
    lacking = _lacking(old.timestamp, new.timestamp, within)
    taken = 0
    if on_conflict == "renew":
        old, taken = old.take(~lacking), int(lacking.sum())
    columns = (*old.columns, *(name for name in new.columns if name not in old.columns))
    old, new = old.with_columns(columns), new.with_columns(columns)
    known, at = _known(old.timestamp, new.timestamp)
    before, after = old.values[at[known]], new.values[known]
    differs = contradict(before[:, _BAR], after[:, _BAR])
    if differs.any() and on_conflict == "refuse":
        row = int(np.argmax(differs))
        moment = int(new.timestamp[known][row])
        raise _contradiction(moment, before[row], after[row], place(moment))
    renews = on_conflict in ("replace", "renew")
    first, second = (after, before) if renews else (before, after)
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
        lacking=int(lacking.sum()),
        changed=changed or len(added) > 0 or taken > 0,
    )


def _lacking(old: IntArray, new: IntArray, within: Span | None) -> BoolArray:
    """Return which old rows (n,) the new ones speak for and do not have."""
    if not len(new):
        return np.zeros(len(old), dtype=np.bool_)
    begin, end = within or (int(new[0]), int(new[-1]) + 1)
    return (old >= begin) & (old < end) & ~np.isin(old, new)


def _known(old: IntArray, new: IntArray) -> tuple[BoolArray, IntArray]:
    """Return which new stamps (n,) are among the old ones, and where they would stand (n,)."""
    at = np.searchsorted(old, new)
    known = at < len(old)
    known[known] = old[at[known]] == new[known]
    return known, at


def _contradiction(at_ms: int, stored: FloatArray, given: FloatArray, place: str) -> BarsError:
    column = int(np.argmax(np.abs(stored[_BAR] - given[_BAR])))
    return BarsError(
        f"{place}: {VALUES[column]} {given[column]:.12g} for {utc_text(at_ms)}, but stored is "
        f"{stored[column]:.12g} for the same time. Nothing was changed; find out which is true, "
        "and take the other away or use another venue's name."
    )
