"""Where bars open, and which of them lie in a span."""

from __future__ import annotations

import polars as pl

from walkforge.base import FetchError, timeframe_ms, utc_text
from walkforge.market import Span

_MONDAY_MS = 4 * 86_400_000  # 1970-01-01 was a Thursday


def open_ms(at_ms: int, timeframe: str) -> int:
    """Return the opening time of the bar of the UTC grid that a moment falls into.

    Days open at 00:00, weeks on Mondays. Raises UsageError for an unknown timeframe.
    """
    step_ms = timeframe_ms(timeframe)
    origin_ms = _MONDAY_MS if timeframe == "1w" else 0
    return (at_ms - origin_ms) // step_ms * step_ms + origin_ms


def can_hold_a_bar(span: Span, timeframe: str) -> bool:
    """Return whether a bar of the UTC grid opens in a span."""
    return open_ms(span.end_ms - 1, timeframe) >= span.start_ms


def refuse_strangers(frame: pl.DataFrame, span: Span, place: str, *, way_out: str) -> None:
    """Raise FetchError where bars open outside their span."""
    stamps = frame["timestamp"].dt.epoch("ms")
    strange = stamps.filter((stamps < span.start_ms) | (stamps >= span.end_ms))
    if len(strange):
        raise FetchError(
            f"{place}: {len(strange)} bars lie outside its span, the first opens at "
            f"{utc_text(strange[0])}, expected {utc_text(span.start_ms)} to "
            f"{utc_text(span.end_ms)}; {way_out}"
        )
