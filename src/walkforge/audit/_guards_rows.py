"""The guard of the split: looks at the rows of every slice, and trusts no room's word for them."""

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np

from walkforge.base import IntArray, timeframe_ms, utc_text
from walkforge.folds import SLICES
from walkforge.study import Part

from ._specimen import Specimen


def misplaced_rows(specimen: Specimen) -> Iterator[str]:
    """Yield what is wrong with the rows of the slices."""
    for part in specimen.prepared.parts:
        data = specimen.prepared.series[part.series]
        where = f"{part.series} fold {part.fold.index}"
        decided, resolved = data.outcomes.decided_at, data.outcomes.resolved_at
        embargo_ms = specimen.study.folds.embargo_bars * timeframe_ms(data.bars.timeframe)
        for found in (
            *_twice(part),
            *_out_of_place(part, decided, embargo_ms),
            *_out_of_order(part, decided),
            *_too_late(part, resolved),
        ):
            yield f"{where}: {found}"


def _rows(part: Part, name: str) -> IntArray:
    rows: IntArray = getattr(part.rows, name)
    return rows


def _twice(part: Part) -> Iterator[str]:
    for name in SLICES:
        rows = _rows(part, name)
        if n_more := len(rows) - len(np.unique(rows)):
            yield f"{n_more} rows stand twice in {name}, expected each once"
    for one, other in combinations(SLICES, 2):
        if n_both := len(np.intersect1d(_rows(part, one), _rows(part, other))):
            yield f"{n_both} rows of {other} are rows of {one} too, expected none"


def _out_of_place(part: Part, decided_at: IntArray, embargo_ms: int) -> Iterator[str]:
    for name in SLICES:
        rows, own = _rows(part, name), getattr(part.fold, name)
        at = decided_at[rows]
        if n_out := int(((at < own.from_ms) | (at >= own.to_ms)).sum()):
            yield f"{n_out} of {len(rows)} {name} rows are decided outside of the slice"
        first_ms = own.from_ms + embargo_ms
        if name != "train" and (n_early := int(((at >= own.from_ms) & (at < first_ms)).sum())):
            yield (
                f"{n_early} {name} rows are decided before {utc_text(first_ms)}, when the embargo "
                "ends; expected none"
            )


def _out_of_order(part: Part, decided_at: IntArray) -> Iterator[str]:
    for name, following in pairwise(SLICES):
        last, first = decided_at[_rows(part, name)].max(), decided_at[_rows(part, following)].min()
        if last >= first:
            yield (
                f"{name} goes on until {utc_text(int(last))}, while {following} begins at "
                f"{utc_text(int(first))}; expected one after the other"
            )


def _too_late(part: Part, resolved_at: IntArray) -> Iterator[str]:
    for name, following in pairwise(SLICES):
        begins_ms = getattr(part.fold, following).from_ms
        if n_late := int((resolved_at[_rows(part, name)] >= begins_ms).sum()):
            yield (
                f"{n_late} labels of {name} are known only in or after the {following} slice, "
                f"from {utc_text(begins_ms)} on; expected none"
            )
