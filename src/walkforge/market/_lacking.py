"""What becomes of stored bars that newer ones, which speak for the same span, do not have."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from walkforge.base import BoolArray, IntArray

from ._rows import Rows
from ._spans import Span

# Less is the noise of float32; a bar that stays stands at today's prices but for so much.
_MOVED_FRAC = 1e-6
_PRICES = slice(0, 4)


def lacking_stamps(stored: Iterable[Rows], new: Rows, span: Span) -> tuple[IntArray, IntArray]:
    """Return the stamps (n,) of stored bars of a span that the new ones lack, and which of those
    (m,) stand at prices of before an adjustment.

    An adjustment changes all prices before a moment: a bar stands at old prices where those of
    the last bar before it that both have changed (of the first after it, where there is none).
    """
    old = _stacked(stored)
    in_both, in_new = np.intersect1d(old.timestamp, new.timestamp, return_indices=True)[1:]
    begin, end = span
    lacks = (old.timestamp >= begin) & (old.timestamp < end)
    lacks[in_both] = False
    lacking = old.timestamp[lacks]
    if not len(in_both):
        return lacking, lacking[:0]  # nobody can tell, and what nobody can tell stays
    moved = _differ(old.take(in_both), new.take(in_new))
    before = np.searchsorted(old.timestamp[in_both], lacking) - 1
    return lacking, lacking[moved[np.maximum(before, 0)]]


def _stacked(stored: Iterable[Rows]) -> Rows:
    rows = [Rows.none(), *stored]
    return Rows(
        np.concatenate([one.timestamp for one in rows]),
        np.concatenate([one.values[:, _PRICES] for one in rows]),
    )


def _differ(old: Rows, new: Rows) -> BoolArray:
    before, after = old.values[:, _PRICES], new.values[:, _PRICES]
    return np.asarray((np.abs(after - before) > _MOVED_FRAC * before).any(axis=1))
