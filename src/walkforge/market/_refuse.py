"""What makes raw bars unusable: the errors that a check reports and a reader refuses."""

from __future__ import annotations

import numpy as np

from walkforge.base import one_of

from . import _look
from ._calendar import CALENDARS, infer_calendar, rises
from ._findings import Finding
from ._tables import Table


def errors_in(table: Table, timeframe: str, calendar: str = "auto") -> list[Finding]:
    """Return what makes a table unusable as bars of the timeframe, cells first."""
    return [*table.problems, *structural_errors(look_at(table, timeframe, calendar))]


def refuse_errors(table: Table, timeframe: str, calendar: str = "auto") -> None:
    """Raise BarsError for the first thing that makes a table unusable as bars."""
    errors = errors_in(table, timeframe, calendar)
    if errors:
        raise errors[0].as_error(table.name)


def look_at(table: Table, timeframe: str, calendar: str) -> _look.Look:
    """Return the usable rows of a table beside what they are meant to be."""
    one_of("calendar", calendar, ("auto", *CALENDARS))
    timestamp, values, rows = table.only_usable()
    if calendar == "auto":
        calendar = infer_calendar(timestamp if rises(timestamp) else np.sort(timestamp))
    return _look.Look(table, timestamp, values, rows, timeframe, calendar)


def structural_errors(look: _look.Look) -> list[Finding]:
    """Return the errors that lie between rows, or between the cells of one."""
    if not len(look.timestamp):
        return []
    found = [
        _look.unsorted(look),
        *_look.duplicates(look),
        # Bars of another timeframe are mostly off the grid as well; one line is enough.
        _look.wrong_timeframe(look) or _look.off_grid(look),
        *_look.bad_prices(look),
    ]
    return [finding for finding in found if finding is not None]
