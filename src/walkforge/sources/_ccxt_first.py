"""Where the bars of a symbol begin, on exchanges that do not say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from walkforge.base import TIMEFRAMES_MS, FetchError, SourceUnreachableError, parse_utc_ms

Ask = Callable[[str, int, int], Sequence[Sequence[Any]]]
"""Of timeframe, since_ms and limit: rows whose first cell is their time."""

# The first exchange of coins opened in that month.
_NOTHING_BEFORE_MS = parse_utc_ms("2010-07-01")


def first_bar_ms(
    ask: Ask, timeframe: str, *, coarse: str, page_bars: int, now_ms: int
) -> int | None:
    """Return the opening time of the first bar, None where there is none until `now_ms`.

    Many exchanges answer `since=0` from their first bar on; whether it was the first is checked
    with the page before it. The others are searched from 2010 on in pages of `coarse`, a day
    where they have it, then within its first bar.
    """
    first_ms = _from_nought(ask, timeframe, page_bars)
    if first_ms is not None:
        return first_ms
    if TIMEFRAMES_MS[coarse] <= TIMEFRAMES_MS[timeframe]:
        coarse = timeframe
    first_ms = _scan(ask, coarse, page_bars, (_NOTHING_BEFORE_MS, now_ms))
    if first_ms is None or coarse == timeframe:
        return first_ms
    within = (first_ms, first_ms + TIMEFRAMES_MS[coarse])
    finer_ms = _scan(ask, timeframe, page_bars, within)
    return first_ms if finer_ms is None else finer_ms


def _from_nought(ask: Ask, timeframe: str, page_bars: int) -> int | None:
    try:
        first_ms = _least_ms(ask(timeframe, 0, 1))
    except SourceUnreachableError:
        raise
    except FetchError:  # some refuse a time so long ago
        return None
    if first_ms is None:
        return None
    page_before_ms = max(0, first_ms - page_bars * TIMEFRAMES_MS[timeframe])
    before_ms = _least_ms(ask(timeframe, page_before_ms, page_bars))
    return None if before_ms is not None and before_ms < first_ms else first_ms


def _scan(ask: Ask, timeframe: str, page_bars: int, within_ms: tuple[int, int]) -> int | None:
    """Return the first bar of the first page that has any."""
    for since_ms in range(*within_ms, page_bars * TIMEFRAMES_MS[timeframe]):
        first_ms = _least_ms(ask(timeframe, since_ms, page_bars))
        if first_ms is not None:
            return first_ms
    return None


def _least_ms(rows: Sequence[Sequence[Any]]) -> int | None:
    return min((int(row[0]) for row in rows), default=None)
