"""What series cut off the calendar that all of them share."""

from collections.abc import Mapping

import numpy as np

from walkforge.base import IntArray, listed, utc_text

_WEEK_MS = 7 * 86_400_000
_WEEKS_PER_MONTH = 365.25 / 12 / 7
# More than a month.
_MANY_WEEKS = 4
_NAMED = 4


def cuts_told(decided_at: Mapping[str, IntArray]) -> str:
    """Return in a line which series lack more than a month of what most have; empty where none.

    `decided_at` holds the moments of decision of every series, ms UTC, rising. What one lacks is
    no part of a calendar that all share: its beginning, its end, or a hole. Weeks are compared,
    as series of several timeframes decide at other moments of the same week.
    """
    weeks = {name: np.unique(moments // _WEEK_MS) for name, moments in decided_at.items()}
    if not weeks:
        return ""
    every, counts = np.unique(np.concatenate(list(weeks.values())), return_counts=True)
    most = every[2 * counts >= len(weeks)]
    lacks = {name: int((~np.isin(most, own)).sum()) for name, own in weeks.items()}
    cutting = sorted((name for name in lacks if lacks[name] > _MANY_WEEKS), key=lacks.__getitem__)
    if not cutting:
        return ""
    words = [
        f"{name} ({_span_of(decided_at[name])}) {lacks[name] / _WEEKS_PER_MONTH:.0f} months"
        for name in reversed(cutting)
    ]
    return (
        "the common calendar is what all series share, and these cut more than a month off what "
        f"most have: {listed(words, _NAMED)}; set folds.calendar=own, choose data.start or "
        "data.end, or leave them out"
    )


def _span_of(moments: IntArray) -> str:
    if len(moments) == 0:
        return "no decision"
    first, last = (utc_text(int(moments[k])).split()[0] for k in (0, -1))
    return f"decides {first} to {last}"
