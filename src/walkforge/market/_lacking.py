"""What becomes of stored bars that newer ones, which speak for the same span, do not have."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from walkforge.base import BarsError, BoolArray, IntArray, utc_text

from ._rows import Rows
from ._spans import Span

# Less is the noise of float32, which is another one in each answer.
NOISE_FRAC = 1e-6
_PRICES = slice(0, 4)
# Fewer may be gone for reasons of their own.
_FEWEST_REFUSED = 3


def stacked(rows: Iterable[Rows]) -> Rows:
    """Return the prices of several rows, of which each begins after the one before it ended."""
    all_rows = [Rows.none(), *rows]
    return Rows(
        np.concatenate([one.timestamp for one in all_rows]),
        np.concatenate([one.values[:, _PRICES] for one in all_rows]),
    )


def lacking_stamps(old: Rows, new: Rows, span: Span) -> IntArray:
    """Return the stamps (n,) of the old rows of a span that the new ones lack."""
    begin, end = span
    lacks = (old.timestamp >= begin) & (old.timestamp < end)
    return old.timestamp[lacks & ~np.isin(old.timestamp, new.timestamp)]


def stale_stamps(old: Rows, new: Rows, lacking: IntArray, place: str) -> IntArray:
    """Return which of the `lacking` stamps (n,) stand at prices of before an adjustment.

    An adjustment moves all prices before a moment by a factor, so that the last bar before it that
    both have tells (the first after it, where there is none), and the one before that as well: a
    bar that moved alone was corrected. One whose prices moved apart was, too, and tells nothing.
    Raises BarsError, which names `place`, where no bar tells, and what lacks is more than a bar
    or two: the new bars would be joined to old ones at other prices.
    """
    in_both, in_old, in_new = np.intersect1d(old.timestamp, new.timestamp, return_indices=True)
    moved, tells = _moved(old.take(in_old), new.take(in_new))
    witnesses, moved = in_both[tells], moved[tells]
    if not len(witnesses):
        if len(new) and len(lacking) >= _FEWEST_REFUSED:
            raise _nothing_in_common(lacking, place)
        return lacking[:0]
    adjusted = moved & np.concatenate([[True], moved[:-1]])
    before = np.searchsorted(witnesses, lacking) - 1
    return lacking[adjusted[np.maximum(before, 0)]]


def _moved(old: Rows, new: Rows) -> tuple[BoolArray, BoolArray]:
    """Return which bars (n,) have other prices now, and which (n,) moved by one factor, or not."""
    factors = new.values[:, _PRICES] / old.values[:, _PRICES]
    least, most = factors.min(axis=1), factors.max(axis=1)
    moved = np.abs(np.sqrt(least * most) - 1) > NOISE_FRAC
    return moved, most <= least * (1 + 2 * NOISE_FRAC)


def _nothing_in_common(lacking: IntArray, place: str) -> BarsError:
    first, last = utc_text(int(lacking[0])), utc_text(int(lacking[-1]))
    return BarsError(
        f"{place}: what came lacks {len(lacking)} stored bars ({first} to {last}), "
        "and no bar that both have tells whether they stand at its prices; expected some of them. "
        "Nothing was changed. Try again later; where they are gone for good, move that folder away "
        "and fetch anew."
    )
