"""How much of time bars cover: as shares of equal bins, and as a strip of characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from walkforge.base import FloatArray, IntArray, UsageError

from ._spans import Span, join_spans

_NONE, _SOME, _ALL = " ", "░▒▓", "█"


def coverage(spans: Iterable[Span], within: Span, n_bins: int) -> FloatArray:
    """Return the share (n_bins,) of each of the equal bins of `within` that the spans cover.

    0.0 and 1.0 are exact: a bin that holds or lacks a millisecond has neither. Spans of a series
    reach from the opening of a segment's first bar to the close of its last one, so that the
    nights and weekends of a session market count as covered.
    Raises UsageError where a bin would be shorter than a millisecond.
    """
    start_ms, end_ms = within
    if not 0 < n_bins <= end_ms - start_ms:
        raise UsageError(
            f"{n_bins} bins of {end_ms - start_ms} ms, expected at least one and at most one per ms"
        )
    edges = start_ms + (end_ms - start_ms) * np.arange(n_bins + 1) // n_bins
    shares: FloatArray = np.diff(_covered_before(edges, join_spans(spans))) / np.diff(edges)
    return shares


def coverage_strip(fracs: FloatArray) -> str:
    """Return a character per bin: space for nothing, ░▒▓ for a part, █ for all of it."""
    return "".join(map(_character, fracs.tolist()))


def close_shortest(spans: Sequence[Span], most: int) -> tuple[tuple[Span, ...], int]:
    """Return at most `most` spans and how many holes between them were closed, shortest first.

    The spans rise and do not touch.
    """
    holes_ms = np.array([after.start_ms - before.end_ms for before, after in pairwise(spans)])
    longest = np.argsort(-holes_ms, kind="stable")[: most - 1]
    kept = np.sort(longest) + 1
    edges = [0, *kept.tolist(), len(spans)]
    joined = tuple(
        Span(spans[first].start_ms, spans[stop - 1].end_ms)
        for first, stop in pairwise(edges)
        if stop > first
    )
    return joined, len(spans) - len(joined)


def _covered_before(moments: IntArray, spans: Sequence[Span]) -> IntArray:
    """Return how many ms before each moment (n,) the spans cover; they rise and do not touch."""
    if not spans:
        return np.zeros(len(moments), dtype=np.int64)
    start, end = np.array(spans, dtype=np.int64).T
    before = np.concatenate([[0], np.cumsum(end - start)])
    at = np.searchsorted(start, moments, side="right")
    # The span that began last may still go on.
    last = np.maximum(at - 1, 0)
    whole = before[at]
    over = np.where(at > 0, np.maximum(end[last] - moments, 0), 0)
    return whole - over


def _character(frac: float) -> str:
    if frac <= 0:
        return _NONE
    return _ALL if frac >= 1 else _SOME[min(int(frac * len(_SOME)), len(_SOME) - 1)]
