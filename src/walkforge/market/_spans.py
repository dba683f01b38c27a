"""Stretches of time, and what is left of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from walkforge.base import BoolArray, IntArray


class Span(NamedTuple):
    """Bars that open in [start_ms, end_ms), UTC."""

    start_ms: int
    end_ms: int


def join_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the spans in time order, those that touch joined; empty ones are left out."""
    joined: list[Span] = []
    for start_ms, end_ms in sorted(spans):
        if end_ms <= start_ms:
            continue
        if joined and start_ms <= joined[-1].end_ms:
            joined[-1] = Span(joined[-1].start_ms, max(end_ms, joined[-1].end_ms))
        else:
            joined.append(Span(start_ms, end_ms))
    return tuple(joined)


def spans_left(spans: Iterable[Span], taken: Iterable[Span]) -> tuple[Span, ...]:
    """Return what of the spans none of `taken` covers, in time order."""
    gone = join_spans(taken)
    left: list[Span] = []
    for start_ms, end_ms in join_spans(spans):
        at_ms = start_ms
        for taken_from, taken_to in gone:
            if taken_to > at_ms and taken_from < end_ms:
                left.append(Span(at_ms, taken_from))
                at_ms = max(at_ms, taken_to)
        left.append(Span(at_ms, end_ms))
    return join_spans(left)


def spans_of_bars(timestamp: IntArray, breaks: BoolArray, step_ms: int) -> tuple[Span, ...]:
    """Return the stretches that rising stamps (n,) cover; `breaks` (n,) begin new ones."""
    if not len(timestamp):
        return ()
    first = np.flatnonzero(np.concatenate([[True], breaks[1:]]))
    last = np.append(first[1:], len(timestamp)) - 1
    ends = timestamp[last] + step_ms
    return join_spans(map(Span, timestamp[first].tolist(), ends.tolist()))


def touches(span: Span, spans: Sequence[Span]) -> bool:
    """Return whether any of the spans shares a moment with `span`."""
    return any(one.start_ms < span.end_ms and span.start_ms < one.end_ms for one in spans)
