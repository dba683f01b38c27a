"""A checked table of intentions to one market per symbol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from walkforge.base import IntentionsError, timeframe_ms
from walkforge.execution import Bracket, make_tape
from walkforge.market import Bars, Instrument, instrument_of

from ._ledger import Market
from ._statistics import DAY_MS

_LONGEST_CLOSING_DAYS = 5  # what market calls a closing; a hole says nothing about a year


def make_markets(
    checked: pl.DataFrame,
    bars: Mapping[str, Bars],
    *,
    bracket: Bracket,
    instruments: Mapping[str, Instrument],
    source: str,
) -> list[Market]:
    """Return one market per symbol of a checked table, all over the same window of time.

    The window goes from the table's first row to the bar in which the last one's position must
    have ended. Raises IntentionsError where the symbols' timeframes differ.
    """
    symbols = checked["symbol"].unique(maintain_order=True).to_list()
    timeframes = sorted({bars[symbol].timeframe for symbol in symbols})
    if len(timeframes) > 1:
        raise IntentionsError(
            f"{source}: the bars of {', '.join(symbols)} have timeframes {', '.join(timeframes)}; "
            "expected one, so backtest them apart"
        )
    start, end = _window(checked, bars, bracket)
    markets = []
    for (symbol,), part in checked.group_by("symbol", maintain_order=True):
        one = bars[str(symbol)]
        wanted = part.filter(pl.col("side") != 0)
        window = slice(*np.searchsorted(one.timestamp, [start, end + 1]).tolist())
        instrument = instruments.get(one.symbol) or instrument_of(one.venue, one.symbol, one)
        columns = {name: wanted[name].to_numpy() for name in ("row", "side", "size", "stop")}
        target = wanted["target"].to_numpy()
        markets.append(
            Market(make_tape(one, bracket.atr_bars), instrument, window, **columns, target=target)
        )
    return markets


def _window(checked: pl.DataFrame, bars: Mapping[str, Bars], bracket: Bracket) -> tuple[int, int]:
    """Return the opening times of the first and the last bar that the backtest covers."""
    starts, ends = [], []
    for (symbol,), part in checked.group_by("symbol"):
        one = bars[str(symbol)]
        first, last = int(part["row"].min()), int(part["row"].max())  # type: ignore[arg-type]
        starts.append(int(one.timestamp[first]))
        # A position ends with its segment: what comes after a hole is no part of the window.
        segment_end = int(np.searchsorted(one.segment, one.segment[last], side="right")) - 1
        ends.append(int(one.timestamp[min(last + 1 + bracket.max_hold_bars, segment_end)]))
    return min(starts), max(ends)


def periods_per_year(markets: Sequence[Market]) -> float:
    """Return how many of the returns make a year: days, or bars where these are longer.

    365 days where any symbol trades around the clock. In session markets they are counted: 365
    over the mean distance between two UTC days with a bar of any symbol, in all the bars that
    are there and not in the window alone, pauses above 5 days left out. Stocks have about 252,
    currencies, which open on Sunday evening in UTC, about 310. 252 where nothing can be counted.
    """
    bars = [market.tape.bars for market in markets]
    step_ms = timeframe_ms(bars[0].timeframe)
    if step_ms > DAY_MS:
        return 365.0 * DAY_MS / step_ms
    if any(one.calendar == "24/7" for one in bars):
        return 365.0
    apart = np.diff(np.unique(np.concatenate([one.timestamp // DAY_MS for one in bars])))
    apart = apart[apart <= _LONGEST_CLOSING_DAYS]
    return 365.0 / float(apart.mean()) if len(apart) else 252.0
