"""What to ask Yahoo for: how far back it reaches, and how much it answers at once."""

from __future__ import annotations

from collections.abc import Mapping

from walkforge.base import parse_utc_ms
from walkforge.market import Span

from ._grid import can_hold_a_bar
from ._yahoo_answers import Chart

_DAY_MS = 86_400_000
# Yahoo refuses what lies further back than 30, 60 and 730 days; one day less, for its clock.
REACH_DAYS = {"1m": 29, "5m": 59, "15m": 59, "30m": 59, "1h": 729}
TIMEFRAMES = (*REACH_DAYS, "1d", "1w")
# Fewer than two weeks do not tell the hours of an exchange from a market with holes at night.
_LEAST_DAYS = 21
# It answers at most 8 days of minutes at once.
_MOST_DAYS = {"1m": 7}


def whole(wanted: Span, files: Mapping[str, str]) -> Span:
    """Return the span that holds what is wanted and all that was fetched before."""
    spans = [wanted, *map(span_of, files.values())]
    return Span(min(span.start_ms for span in spans), max(span.end_ms for span in spans))


def span_of(version: str) -> Span:
    """Return the span that a piece's version tells."""
    start, end = version.split(" to ")
    return Span(parse_utc_ms(start), parse_utc_ms(end))


def reach_of(chart: Chart, timeframe: str) -> int:
    """Return the first whole day, in ms, that Yahoo still has intraday bars of."""
    return chart.now_ms // _DAY_MS * _DAY_MS - _DAY_MS * REACH_DAYS[timeframe]


def within_reach(span: Span, reach_ms: int) -> Span:
    """Return what to ask of an intraday span: three weeks at least, as far as Yahoo has them."""
    start_ms = min(span.start_ms, (span.end_ms // _DAY_MS - _LEAST_DAYS) * _DAY_MS)
    return Span(max(start_ms, reach_ms), span.end_ms)


def parts(span: Span, timeframe: str) -> list[Span]:
    """Return a span in parts that Yahoo answers at once."""
    if timeframe not in _MOST_DAYS:
        return [span]
    step_ms = _MOST_DAYS[timeframe] * _DAY_MS
    starts = range(span.start_ms, span.end_ms, step_ms)
    return [Span(start, min(start + step_ms, span.end_ms)) for start in starts]


def is_within(span: Span, files: Mapping[str, str]) -> bool:
    """Return whether a span lies within one that was fetched before."""
    held = map(span_of, files.values())
    return any(each.start_ms <= span.start_ms and span.end_ms <= each.end_ms for each in held)


def may_hold_a_bar(span: Span, timeframe: str) -> bool:
    """Return whether a bar may open in the span; intraday ones need not lie on the UTC grid."""
    return (
        span.start_ms < span.end_ms if timeframe in REACH_DAYS else can_hold_a_bar(span, timeframe)
    )
