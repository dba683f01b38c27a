"""Which rows of a symbol belong to which slice of a fold, after purge and embargo."""

from dataclasses import dataclass

import numpy as np

from walkforge.base import BoolArray, IntArray

from ._plan import SLICES, Fold, Slice


@dataclass(frozen=True, slots=True)
class FoldRows:
    """Row numbers of one symbol in one fold, each (n,) and rising."""

    train: IntArray
    validation: IntArray
    calibration: IntArray
    test: IntArray
    purged: int
    """Rows of the first three slices whose label resolves in or after the next slice."""
    embargoed: int
    """Rows left out because they come too soon after the slice before."""


def rows_of(
    fold: Fold,
    *,
    decided_at: IntArray,
    resolved_at: IntArray,
    usable: BoolArray,
    embargo_ms: int,
) -> FoldRows:
    """Return the rows of each slice; all arrays are (n,), times in ms UTC.

    Purge: a row of train, validation or calibration counts only if its label is resolved before
    the next slice begins (Lopez de Prado 2018, section 7.4.1, by resolution time, not by rows).
    Embargo: a later slice begins `embargo_ms` after the slice before it ends.
    """
    rows: dict[str, IntArray] = {}
    purged = embargoed = 0
    for name in SLICES:
        part: Slice = getattr(fold, name)
        inside = usable & (decided_at >= part.from_ms) & (decided_at < part.to_ms)
        early = inside & (decided_at < part.from_ms + embargo_ms) & (name != "train")
        late = inside & ~early & (resolved_at >= part.to_ms) & (name != "test")
        embargoed += int(early.sum())
        purged += int(late.sum())
        rows[name] = np.flatnonzero(inside & ~early & ~late)
    return FoldRows(**rows, purged=purged, embargoed=embargoed)
