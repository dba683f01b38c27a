"""Who was liquid when: daily quote volume, and the most traded symbols as of a date.

coins = membership(bars_by_symbol, most=20, lookback_days=30)
decided = coins.mask(bars)  # by what was known at each bar's close
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from walkforge.base import (
    BoolArray,
    FloatArray,
    IntArray,
    UsageError,
    one_of,
    timeframe_ms,
)

from ._bars import Bars
from ._calendar import DAY_MS

REBALANCINGS = ("1mo", "1w")
_MONDAY = 4  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True, eq=False)
class DailyVolume:
    """Quote volume of the UTC days that have bars, in time order."""

    day_ms: IntArray
    """When each day began (n_days,), ms UTC."""
    quote_volume: FloatArray
    """Sum of close x volume (n_days,), in quote currency."""


def liquidity(bars: Bars) -> DailyVolume:
    """Return the daily quote volume of a symbol.

    A bar counts on the day in which it closes, so that a day's sum is known when the day is over.
    Raises UsageError for bars longer than a day.
    """
    if timeframe_ms(bars.timeframe) > DAY_MS:
        raise UsageError(
            f"{bars.name}: bars of {bars.timeframe} tell no day's volume; use 1d or shorter"
        )
    day = (bars.closes_at - 1) // DAY_MS
    first = np.flatnonzero(np.diff(day, prepend=-1))  # no unique: that would sort what is sorted
    traded = bars.close * bars.volume
    volume = np.add.reduceat(traded, first) if len(first) else np.zeros(0)
    return DailyVolume(day[first] * DAY_MS, volume)


def most_liquid(
    bars_by_symbol: Mapping[str, Bars], *, most: int, lookback_days: int, at_ms: int
) -> list[str]:
    """Return at most so many symbols, those that were traded most by `at_ms`, the first the most.

    What counts is the median daily quote volume of the days there are among the `lookback_days`
    whole UTC days before `at_ms`; of two alike the first by name. Half of these days must be
    there, and the median above 0. Sees no bar that closes after `at_ms`. Quote currencies are not
    converted: compare what is quoted alike.
    """
    _refuse_less_than_one(most=most, lookback_days=lookback_days)
    volumes = {symbol: liquidity(bars) for symbol, bars in bars_by_symbol.items()}
    return _most(volumes, most, lookback_days, at_ms)


@dataclass(frozen=True, slots=True)
class Membership:
    """Who was among the most liquid, from each rebalancing date until the next."""

    dates_ms: tuple[int, ...]
    """In ms UTC, rising."""
    members: tuple[tuple[str, ...], ...]
    """The symbols of each date, the most liquid first."""

    def mask(self, bars: Bars) -> BoolArray:
        """Return whether the bars' symbol was a member when each bar (n_bars,) closed.

        Before the first date nobody is one.
        """
        date = np.searchsorted(self.dates_ms, bars.closes_at, side="right")
        member = [False, *(bars.symbol in symbols for symbols in self.members)]
        return np.array(member, dtype=np.bool_)[date]


def membership(
    bars_by_symbol: Mapping[str, Bars], *, most: int, lookback_days: int, every: str = "1mo"
) -> Membership:
    """Return who was among the `most` most liquid, by what was known at each rebalancing date.

    `every` is 1mo, from the first of each month, or 1w, from each Monday, 00:00 UTC. Each date's
    members are those of `most_liquid` then: bars that close after it change nothing. Raises
    UsageError for bars longer than a day.
    """
    _refuse_less_than_one(most=most, lookback_days=lookback_days)
    one_of("rebalancing", every, REBALANCINGS)
    volumes = {symbol: liquidity(bars) for symbol, bars in bars_by_symbol.items()}
    dates_ms = tuple(_dates(bars_by_symbol.values(), every))
    return Membership(
        dates_ms, tuple(tuple(_most(volumes, most, lookback_days, date)) for date in dates_ms)
    )


def _most(
    volumes: Mapping[str, DailyVolume], most: int, lookback_days: int, at_ms: int
) -> list[str]:
    medians = {s: _median_before(one, lookback_days, at_ms) for s, one in volumes.items()}
    traded = [symbol for symbol, median in medians.items() if median > 0]
    return sorted(traded, key=lambda symbol: (-medians[symbol], symbol))[:most]


def _median_before(volume: DailyVolume, lookback_days: int, at_ms: int) -> float:
    """Return the median of the days of a look-back, 0 where fewer than half of them are there."""
    end_ms = at_ms // DAY_MS * DAY_MS
    edges = [end_ms - lookback_days * DAY_MS, end_ms]
    first, stop = np.searchsorted(volume.day_ms, edges)
    if 2 * (stop - first) < lookback_days:
        return 0.0
    return float(np.median(volume.quote_volume[first:stop]))


def _dates(bars: Iterable[Bars], every: str) -> list[int]:
    """Return the rebalancing dates after the first bar's opening, up to the last one's close."""
    spans = [(int(one.timestamp[0]), int(one.closes_at[-1])) for one in bars if len(one)]
    if not spans:
        return []
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    if every == "1w":
        week_ms, monday_ms = 7 * DAY_MS, _MONDAY * DAY_MS
        return list(range((first - monday_ms) // week_ms * week_ms + monday_ms + week_ms,
                          last + 1, week_ms))  # fmt: skip
    months = np.array([first, last], dtype="datetime64[ms]").astype("datetime64[M]")
    starts = np.arange(months[0] + 1, months[1] + 1).astype("datetime64[ms]")
    return [int(start) for start in starts.astype(np.int64)]


def _refuse_less_than_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"{name} is {count}; expected at least 1")
