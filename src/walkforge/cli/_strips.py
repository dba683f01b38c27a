"""Coverage in a terminal: a strip of characters per series over one axis of dates."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from walkforge.market import SeriesInfo, Span

_DAY_MS = 86_400_000
# On a shorter axis a date says too little.
_SHORT_MS = 4 * _DAY_MS
_FORMS = ("%Y-%m-%d", "%Y-%m")
_SHORT_FORMS = ("%m-%d %H:%M", "%m-%d")
_MARGIN = 4
LEAST_STRIP = 15
"""Two months and a space between them."""


def common_axis(infos: "Sequence[SeriesInfo]") -> "Span":
    """Return the time from the first bar of all series to the close of the last one."""
    from walkforge.market import Span

    starts = [one.spans[0].start_ms for one in infos]
    ends = [one.spans[-1].end_ms for one in infos]
    return Span(min(starts), max(ends))


def strip(info: "SeriesInfo", axis: "Span", width: int) -> str:
    """Return where on the axis a series has bars, `width` characters."""
    from walkforge.market import coverage, coverage_strip

    return coverage_strip(coverage(info.spans, axis, width))


def axis_text(axis: "Span", width: int) -> str:
    """Return the dates of both ends, and of the middle where there is room, `width` characters."""
    start_ms, end_ms = axis
    for form in _FORMS if end_ms - start_ms >= _SHORT_MS else _SHORT_FORMS:
        first, last = _moment(start_ms, form), _moment(end_ms - 1, form)
        between = width - len(first) - len(last)
        if between > 0:
            break
    else:
        return first[:width].ljust(width)
    room = between >= len(first) + 2 * _MARGIN
    middle = _moment((start_ms + end_ms) // 2, form) if room else ""
    return f"{first}{middle:^{between}}{last}"


def _moment(at_ms: int, form: str) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime(form)
