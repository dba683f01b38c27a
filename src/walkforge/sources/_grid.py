"""Where bars open."""

from walkforge.base import timeframe_ms

_MONDAY_MS = 4 * 86_400_000  # 1970-01-01 was a Thursday


def open_ms(at_ms: int, timeframe: str) -> int:
    """Return the opening time of the bar of the UTC grid that a moment falls into.

    Days open at 00:00, weeks on Mondays. Raises UsageError for an unknown timeframe.
    """
    step_ms = timeframe_ms(timeframe)
    origin_ms = _MONDAY_MS if timeframe == "1w" else 0
    return (at_ms - origin_ms) // step_ms * step_ms + origin_ms
