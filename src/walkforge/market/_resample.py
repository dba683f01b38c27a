"""Bars of a longer timeframe out of complete bars of a shorter one."""

from __future__ import annotations

import numpy as np

from walkforge.base import TIMEFRAMES_MS, BarsError, BoolArray, IntArray, timeframe_ms, utc_text

from ._bars import Bars
from ._calendar import bin_starts, hole_before


def divides(shorter: str, longer: str) -> bool:
    """Return whether bars of one timeframe add up to bars of another, longer one."""
    lower_ms, higher_ms = timeframe_ms(shorter), timeframe_ms(longer)
    return lower_ms < higher_ms and higher_ms % lower_ms == 0


def resample(bars: Bars, timeframe: str) -> Bars:
    """Return bars of a longer timeframe, built from complete bars only, on the grid of UTC.

    Days start at 00:00 UTC, weeks on Monday. In a 24/7 market a longer bar exists only if every
    shorter bar of it is there. In a session market nobody knows which bars should be there; a
    longer bar exists if its span is known to be over (a later bar follows in the same segment,
    or its last bar ends with it) and known to begin (an earlier bar precedes in the same
    segment, or its first bar begins with it), and holds what was traded in it.

    Cutting the future off never changes an earlier bar. Provenance, calendar and history stay;
    the history says what was done. The same timeframe returns the bars themselves.

    Raises BarsError where the timeframe is no multiple of the bars', or where a bar reaches over
    the end of a longer one.
    """
    if timeframe == bars.timeframe:
        return bars
    step_ms = timeframe_ms(timeframe)
    if not divides(bars.timeframe, timeframe):
        there = [name for name in TIMEFRAMES_MS if divides(bars.timeframe, name)]
        raise BarsError(
            f"{bars.name}: cannot be resampled to {timeframe}; "
            f"possible are {', '.join(there) or 'no longer ones'}"
        )
    start = bin_starts(bars.timestamp, timeframe)
    _refuse_overhang(bars, timeframe, start + step_ms)
    first = np.flatnonzero(np.diff(start, prepend=start[:1] - 1))
    last = np.append(first[1:], len(bars)) - 1
    complete = _complete(bars, first, last, start, step_ms)
    first, last = first[complete], last[complete]
    # Each kept bar's rows lie side by side; the rows between two kept ones are cut out by
    # giving `reduceat` both ends and taking every other result.
    edges = np.stack([first, last + 1], axis=1).ravel()

    def reduce(function: np.ufunc, values: np.ndarray) -> np.ndarray:
        padded = np.append(values, values[-1:])
        return function.reduceat(padded, edges)[::2] if len(edges) else values[:0]

    return Bars(
        venue=bars.venue,
        symbol=bars.symbol,
        timeframe=timeframe,
        timestamp=start[first],
        open=bars.open[first],
        high=reduce(np.maximum, bars.high),
        low=reduce(np.minimum, bars.low),
        close=bars.close[last],
        volume=reduce(np.add, bars.volume),
        provenance=bars.provenance,
        calendar=bars.calendar,
        history=(*bars.history, f"resampled from {bars.timeframe}"),
    )


def _complete(
    bars: Bars, first: IntArray, last: IntArray, start: IntArray, step_ms: int
) -> BoolArray:
    """Return which longer bars (k,) exist, given their first and last rows."""
    if bars.calendar == "24/7":
        return last - first + 1 == step_ms // timeframe_ms(bars.timeframe)
    new_segment = np.ones(len(bars) + 1, dtype=np.bool_)
    new_segment[1:-1] = hole_before(bars.timestamp, timeframe_ms(bars.timeframe), bars.calendar)[1:]
    begins = ~new_segment[first] | (bars.timestamp[first] == start[first])
    ends = ~new_segment[last + 1] | (bars.closes_at[last] == start[last] + step_ms)
    inside = bars.segment[first] == bars.segment[last]
    return begins & ends & inside


def _refuse_overhang(bars: Bars, timeframe: str, ends_at: IntArray) -> None:
    over = bars.closes_at > ends_at
    if over.any():
        row = int(np.argmax(over))
        raise BarsError(
            f"{bars.name}: bar {row} ({utc_text(int(bars.timestamp[row]))}) is not over when its "
            f"{timeframe} bar ends ({utc_text(int(ends_at[row]))}); "
            "its stamps lie off the grid of UTC, so it cannot be resampled"
        )
