"""When a market trades: which grid its bars lie on, and which pauses are holes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from walkforge.base import BoolArray, IntArray, timeframe_ms, utc_text

CALENDARS = ("24/7", "session")

DAY_MS = 86_400_000
_ONE_DAY = np.timedelta64(1, "D")
# Two weeks without Saturdays are no accident.
CALENDAR_SHOWS_MS = 14 * DAY_MS
# A stray bar or two: less than this share of the Saturday bars that a 24/7 market would have.
_STRAY_SATURDAYS_FRAC = 0.02
# Shorter than this is a night, the hours around one, or a day that the market opens late.
_LONGEST_NIGHT_MS = 36 * 3_600_000
# Long weekends close a session market for at most 4 days in a row; the bar after such a pause
# opens up to 5 days after the last one. Anything longer is a hole.
LONGEST_PAUSE_MS = 5 * DAY_MS
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


def rises(timestamp: IntArray) -> bool:
    """Return whether every stamp (n,) comes after the one before it."""
    return bool(np.all(timestamp[1:] > timestamp[:-1]))


def distinct(timestamp: IntArray) -> IntArray:
    """Return every stamp (n,) once, in time order."""
    return timestamp if rises(timestamp) else np.unique(timestamp)


def infer_calendar(timestamp: IntArray) -> str:
    """Return `session` for two weeks or more without Saturdays, `24/7` otherwise.

    Stray bars of Saturdays are passed over: less than 2 % of those of a 24/7 market, which has
    one on a Saturday for every five from Monday to Friday.
    """
    if len(timestamp) < 2 or timestamp[-1] - timestamp[0] < CALENDAR_SHOWS_MS:
        return "24/7"
    per_weekday = np.bincount(timestamp // DAY_MS % 7, minlength=7)
    saturdays = per_weekday[_SATURDAY]
    usual = (per_weekday.sum() - saturdays - per_weekday[_SATURDAY + 1]) / 5
    stray = saturdays == 0 or saturdays < _STRAY_SATURDAYS_FRAC * usual
    return "session" if stray else "24/7"


def hole_before(timestamp: IntArray, step_ms: int, calendar: str) -> BoolArray:
    """Return for each bar (n,) whether a hole lies between it and the bar before it.

    In a `session` a pause of more than a day and a half is no hole if it is one of the closings
    that markets have: at most 5 days with a weekend in them, or a single weekday left out.
    Whether a bar begins a segment never depends on any bar but itself and the one before it.
    """
    holes = np.zeros(len(timestamp), dtype=np.bool_)
    pause = np.diff(timestamp)
    if calendar == "24/7":
        holes[1:] = pause > step_ms
        return holes
    rows = np.flatnonzero(pause > max(_LONGEST_NIGHT_MS, step_ms))
    before, after = _date(timestamp[rows]), _date(timestamp[rows + 1])
    weekdays = np.busday_count(before + _ONE_DAY, after)
    days = (after - before).astype(np.int64) - 1
    closing = (days > weekdays) | (weekdays <= 1)
    holes[rows + 1] = ~closing | (pause[rows] > LONGEST_PAUSE_MS)
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
        days = np.busday_count(_date(after) + _ONE_DAY, _date(before))
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
