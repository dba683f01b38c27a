"""When a market trades: which grid its bars lie on, and which pauses are holes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from walkforge.base import BoolArray, IntArray, timeframe_ms, utc_text

CALENDARS = ("24/7", "session")

DAY_MS = 86_400_000
# Two weeks without a single Saturday are no accident.
CALENDAR_SHOWS_MS = 14 * DAY_MS
# Long weekends close a session market for at most 4 days in a row; the bar after such a pause
# opens up to 5 days after the last one. Anything longer is a hole.
_LONGEST_PAUSE_MS = 5 * DAY_MS
_SATURDAY = 2  # 1970-01-01 was a Thursday
_MONDAY_MS = 4 * DAY_MS


@dataclass(frozen=True, slots=True)
class Hole:
    """Bars that are not there: between the bar opening at `after_ms` and that at `before_ms`."""

    after_ms: int
    before_ms: int
    missing_bars: int

    def as_dict(self) -> dict[str, Any]:
        """Return the hole with its times as text."""
        return {
            "after": utc_text(self.after_ms),
            "before": utc_text(self.before_ms),
            "missing_bars": self.missing_bars,
        }


def infer_calendar(timestamp: IntArray) -> str:
    """Return `session` for two weeks or more without a single Saturday, `24/7` otherwise."""
    if len(timestamp) < 2 or timestamp[-1] - timestamp[0] < CALENDAR_SHOWS_MS:
        return "24/7"
    weekday = (timestamp // DAY_MS) % 7
    return "24/7" if np.any(weekday == _SATURDAY) else "session"


def hole_before(timestamp: IntArray, step_ms: int, calendar: str) -> BoolArray:
    """Return for each bar (n,) whether a hole lies between it and the bar before it."""
    longest_ms = step_ms if calendar == "24/7" else max(_LONGEST_PAUSE_MS, step_ms)
    holes = np.zeros(len(timestamp), dtype=np.bool_)
    holes[1:] = np.diff(timestamp) > longest_ms
    return holes


def holes_in(timestamp: IntArray, step_ms: int, calendar: str) -> tuple[Hole, ...]:
    """Return the holes of rising stamps (n,) in time order.

    The number of missing bars is exact for `24/7`. For `session` it is an estimate: the weekdays
    that lie wholly in the hole (public holidays are not known), times the usual bars of a day.
    """
    rows = np.flatnonzero(hole_before(timestamp, step_ms, calendar))
    if not len(rows):
        return ()
    after, before = timestamp[rows - 1], timestamp[rows]
    if calendar == "24/7" or step_ms > DAY_MS:
        missing = (before - after - 1) // step_ms
    else:
        days = np.busday_count(_date(after) + 1, _date(before))
        missing = days * _usual_bars_a_day(timestamp)
    return tuple(
        Hole(int(left), int(right), int(count))
        for left, right, count in zip(after, before, missing, strict=True)
    )


def bin_starts(timestamp: IntArray, timeframe: str) -> IntArray:
    """Return the start (n,) of the bar of the UTC grid that each stamp falls into.

    Days start at 00:00 UTC and weeks on Monday.
    """
    step_ms = timeframe_ms(timeframe)
    origin_ms = _MONDAY_MS if timeframe == "1w" else 0
    return (timestamp - origin_ms) // step_ms * step_ms + origin_ms


def _date(timestamp: IntArray) -> np.ndarray:
    return (timestamp // DAY_MS).astype("datetime64[D]")


def _usual_bars_a_day(timestamp: IntArray) -> int:
    _, counts = np.unique(timestamp // DAY_MS, return_counts=True)
    return max(1, int(np.median(counts)))
