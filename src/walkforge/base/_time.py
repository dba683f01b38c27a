"""Times are int64 milliseconds since 1970 in UTC; a bar is stamped with its opening time."""

import re
from datetime import UTC, datetime

from ._errors import UsageError
from ._names import nearest

_MINUTE_MS = 60_000

TIMEFRAMES_MS = {
    "1m": _MINUTE_MS,
    "3m": 3 * _MINUTE_MS,
    "5m": 5 * _MINUTE_MS,
    "15m": 15 * _MINUTE_MS,
    "30m": 30 * _MINUTE_MS,
    "1h": 60 * _MINUTE_MS,
    "2h": 120 * _MINUTE_MS,
    "4h": 240 * _MINUTE_MS,
    "6h": 360 * _MINUTE_MS,
    "8h": 480 * _MINUTE_MS,
    "12h": 720 * _MINUTE_MS,
    "1d": 1440 * _MINUTE_MS,
    "1w": 7 * 1440 * _MINUTE_MS,
}


def timeframe_ms(timeframe: str) -> int:
    """Return a timeframe's length in milliseconds; raise UsageError for an unknown name."""
    if timeframe not in TIMEFRAMES_MS:
        raise UsageError(
            f"unknown timeframe {timeframe!r}{nearest(timeframe, TIMEFRAMES_MS)}; "
            f"choose one of {', '.join(TIMEFRAMES_MS)}"
        )
    return TIMEFRAMES_MS[timeframe]


def utc_text(time_ms: int) -> str:
    """Return a time as `2024-01-31 23:59` in UTC, with seconds only where there are any."""
    moment = datetime.fromtimestamp(time_ms / 1000, tz=UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S" if moment.second else "%Y-%m-%d %H:%M")


def parse_utc_ms(text: str) -> int:
    """Return the milliseconds of an ISO date or time, taken as UTC where it names no zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a time; write it as 2024-01-31 or 2024-01-31T12:00"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


_SPAN = re.compile(r"(\d+)\s*(h|d|w|mo|y)")
_HOUR_MS = 60 * _MINUTE_MS
# A month is a twelfth of a year here: nobody who says `6mo` counts days.
_SPAN_MS = {
    "h": _HOUR_MS,
    "d": 24 * _HOUR_MS,
    "w": 7 * 24 * _HOUR_MS,
    "mo": 730 * _HOUR_MS,
    "y": 365 * 24 * _HOUR_MS,
}


def parse_when_ms(text: str, now_ms: int) -> int:
    """Return a moment: an ISO date or time, or a span before now such as 2y, 6mo, 90d, 12h."""
    if match := _SPAN.fullmatch(text.strip()):
        return now_ms - int(match[1]) * _SPAN_MS[match[2]]
    try:
        return parse_utc_ms(text)
    except UsageError:
        raise UsageError(
            f"{text!r} is not a time; write 2024-01-31, or 2y, 6mo, 90d, 12h for a span before now"
        ) from None
