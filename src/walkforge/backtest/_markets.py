"""A checked table of intentions to one market per symbol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from walkforge.base import timeframe_ms
from walkforge.execution import Bracket, make_tape
from walkforge.market import Bars, Funding, Instrument, instrument_of

from ._ledger import Market
from ._settlements import settlements_of
from ._statistics import DAY_MS

_LONGEST_CLOSING_DAYS = 5  # what market calls a closing; a hole says nothing about a year


def make_markets(
    checked: pl.DataFrame,
    bars: Mapping[str, Bars],
    *,
    bracket: Bracket,
    instruments: Mapping[str, Instrument],
    funding: Mapping[str, Funding],
    own_windows: bool,
) -> list[Market]:
    """Return one market per symbol of a checked table.

    A window goes from the table's first row to the bar in which the last one's position must have
    ended: one for all symbols, or with `own_windows` one for each.
    """
    windows = {
        str(symbol): _window(part, bars[str(symbol)], bracket)
        for (symbol,), part in checked.group_by("symbol", maintain_order=True)
    }
    whole = min(first for first, _ in windows.values()), max(last for _, last in windows.values())
    shortest_ms = min(timeframe_ms(bars[symbol].timeframe) for symbol in windows)
    markets = []
    for (symbol,), part in checked.group_by("symbol", maintain_order=True):
        name = str(symbol)
        one, wanted = bars[name], part.filter(pl.col("side") != 0)
        first, last = windows[name] if own_windows else whole
        columns = {key: wanted[key].to_numpy() for key in ("row", "side", "size", "stop", "target")}
        markets.append(
            Market(
                symbol=name,
                tape=make_tape(one, bracket.atr_bars),
                instrument=instruments.get(name) or instrument_of(one.venue, one.symbol, one),
                window=slice(*np.searchsorted(one.timestamp, [first, last + 1]).tolist()),
                settlements=settlements_of(one, funding.get(name)),
                closes_later_ms=timeframe_ms(one.timeframe) - shortest_ms,
                **columns,
            )
        )
    return markets


def _window(part: pl.DataFrame, bars: Bars, bracket: Bracket) -> tuple[int, int]:
    """Return the opening times of the first and the last bar that one symbol's rows cover."""
    first, last = int(part["row"].min()), int(part["row"].max())  # type: ignore[arg-type]
    # A position ends with its segment: what comes after a hole is no part of the window.
    segment_end = int(np.searchsorted(bars.segment, bars.segment[last], side="right")) - 1
    end = min(last + 1 + bracket.max_hold_bars, segment_end)
    return int(bars.timestamp[first]), int(bars.timestamp[end])


def periods_per_year(markets: Sequence[Market]) -> float:
    """Return how many of the returns make a year: days, or bars where these are longer.

    365 days where any symbol trades around the clock, by its instrument's calendar or, where that
    is None, by its bars. In session markets they are counted: 365 over the mean distance between
    two UTC days with a bar of any symbol, in all the bars that are there and not in the window
    alone, pauses above 5 days left out. Stocks have about 252, currencies, which open on Sunday
    evening in UTC, about 310. 252 where nothing can be counted.
    """
    bars = [market.tape.bars for market in markets]
    step_ms = min(timeframe_ms(one.timeframe) for one in bars)
    if step_ms > DAY_MS:
        return 365.0 * DAY_MS / step_ms
    if any((one.instrument.calendar or one.tape.bars.calendar) == "24/7" for one in markets):
        return 365.0
    apart = np.diff(np.unique(np.concatenate([one.timestamp // DAY_MS for one in bars])))
    apart = apart[apart <= _LONGEST_CLOSING_DAYS]
    return 365.0 / float(apart.mean()) if len(apart) else 252.0
