"""How a span of time is cut into stretches of about ten pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from walkforge.base import TIMEFRAMES_MS
from walkforge.market import Span

from ._grid import open_ms

_DAY_MS = 86_400_000
# Stretches that people know, the longest first: years and months, then weeks and days.
_MONTHS = (120, 12, 3, 1)
_WEEK_AND_DAY = ("1w", "1d")
_PAGES = 12


def joined(spans: Sequence[Span], timeframe: str, page_bars: int) -> list[Span]:
    """Return spans in time order, those within one page as one: a page costs what a bar costs.

    Spans without a moment in them are left out.
    """
    page_ms = page_bars * TIMEFRAMES_MS[timeframe]
    found: list[Span] = []
    for span in spans:
        if span.start_ms >= span.end_ms:
            continue
        if found and span.end_ms - found[-1].start_ms <= page_ms:
            found[-1] = Span(found[-1].start_ms, span.end_ms)
        else:
            found.append(span)
    return found


def stretches(span: Span, timeframe: str, page_bars: int) -> Iterator[Span]:
    """Cut a span at the starts of decades, years, quarters, months, weeks or days.

    A stretch has up to 12 pages, and less than a day only where a day is more than that.
    """
    start_ms = span.start_ms
    most_ms = _PAGES * page_bars * TIMEFRAMES_MS[timeframe]
    while start_ms < span.end_ms:
        end_ms = min(_next_cut_ms(start_ms, most_ms), span.end_ms)
        yield Span(start_ms, end_ms)
        start_ms = end_ms


def _next_cut_ms(start_ms: int, most_ms: int) -> int:
    for months in _MONTHS:
        if months * 31 * _DAY_MS <= most_ms:
            return _month_after_ms(start_ms, months)
    for length in _WEEK_AND_DAY:
        if TIMEFRAMES_MS[length] <= most_ms:
            return open_ms(start_ms, length) + TIMEFRAMES_MS[length]
    return start_ms // most_ms * most_ms + most_ms


def _month_after_ms(start_ms: int, months: int) -> int:
    """Return the next start of a month whose number, counted from year 0, `months` divides."""
    moment = datetime.fromtimestamp(start_ms / 1000, tz=UTC)
    number = ((moment.year * 12 + moment.month - 1) // months + 1) * months
    after = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return int(after.timestamp() * 1000)


def stretch_name(symbol: str, timeframe: str, span: Span) -> str:
    """Return a name such as `BTCUSDT-1m-2024-01-01T00:00..2024-01-08T00:00`."""
    return f"{symbol}-{timeframe}-{_minute(span.start_ms)}..{_minute(span.end_ms)}"


def _minute(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M")
