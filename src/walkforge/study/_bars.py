"""The bars that a study names, as one series per symbol and timeframe.

A series goes by its symbol where the study has one timeframe, else by `SYMBOL/TIMEFRAME`.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import polars as pl

from walkforge import evaluation, market
from walkforge.base import BarsError, StudyError, one_of, parse_utc_ms
from walkforge.market import Asset, Bars, Funding, Instrument, Universe

from ._study import EVERY_VENUE, DataSection, Study

# The tick of a symbol that nobody described is read off its first bars, so that no later price
# has a say in a label. A tick that a venue told does know something of later prices: it is today's,
# and was chosen for today's price.
_TICK_BARS = 1000
_TOLD_TWINS = 8


def read_bars(study: Study, venue_of: Mapping[str, str] | None = None) -> dict[str, Bars]:
    """Return the bars by series that the study's data section names.

    Where all venues of a folder are read, a symbol's venue is `venue_of`'s, or else the one with
    the longest series of the first timeframe; all timeframes of a symbol are of one venue.
    Raises StudyError, BarsError or UsageError where they are not there.
    """
    data = study.data
    first = _from_source(data, data.timeframe, venue_of)
    chosen = {symbol: one.venue for symbol, one in first.items()}
    by_timeframe = {data.timeframe: first} | {
        timeframe: _from_source(data, timeframe, chosen) for timeframe in data.more_timeframes
    }
    # Every symbol has all timeframes: a series that is missing would go unnoticed among forty.
    symbols = [
        symbol
        for symbol in by_timeframe[data.timeframe]
        if all(symbol in found for found in by_timeframe.values())
    ]
    if not symbols:
        raise BarsError(f"no symbol has bars of {' and '.join(data.timeframes)}; bring others")
    if not data.symbols:
        symbols = _most(symbols, by_timeframe[data.timeframe], data.most_symbols)
    newest = slice(None if data.newest_bars is None else -data.newest_bars, None)
    return {
        series_name(symbol, timeframe, data): by_timeframe[timeframe][symbol].take(newest)
        for symbol in symbols
        for timeframe in data.timeframes
    }


def series_name(symbol: str, timeframe: str, data: DataSection) -> str:
    """Return what a series goes by, in files and messages."""
    return f"{symbol}/{timeframe}" if data.more_timeframes else symbol


def missing_assets(data: DataSection, bars: Mapping[str, Bars]) -> list[str]:
    """Return the symbols of the study's universe that are not among the bars, in its order."""
    there = {one.symbol for one in bars.values()}
    if (universe := universe_of(data)) is None:
        return []
    wanted = data.symbols or _symbols_of(universe)
    return [symbol for symbol in wanted if symbol not in there]


def twins_told(data: DataSection, bars: Mapping[str, Bars]) -> str:
    """Return in a line which venues' series of the symbols do not count; empty where all do.

    `bars` are those that `read_bars` chose.
    """
    if data.universe != EVERY_VENUE or data.source != "folder" or data.bars is None:
        return ""
    venues = market.venues_by_symbol(Path(data.bars), data.timeframe)
    chosen = {one.symbol: one.venue for one in bars.values()}
    told = [
        f"{symbol}: {venue}, not {', '.join(others)}"
        for symbol, venue in chosen.items()
        if (others := [other for other in venues.get(symbol, ()) if other != venue])
    ]
    if not told:
        return ""
    more = f" and {len(told) - _TOLD_TWINS} more" if len(told) > _TOLD_TWINS else ""
    words = "; ".join(told[:_TOLD_TWINS])
    return f"of symbols at several venues the longest series counts: {words}{more}"


def categories_of(data: DataSection, bars: Mapping[str, Bars]) -> dict[str, str]:
    """Return the category of every series: its universe's, or else its venue."""
    universe = universe_of(data)
    known = {} if universe is None else {one.symbol: one.category for one in universe.assets}
    return {name: known.get(one.symbol, one.venue) for name, one in bars.items()}


def instrument_before(bars: Bars, data: DataSection) -> Instrument:
    """Return a symbol's instrument, as far as its first bars tell what is not known of it."""
    return instrument_of_series(bars.take(slice(0, _TICK_BARS)), data)


def instrument_of_series(bars: Bars, data: DataSection) -> Instrument:
    """Return what the folder of the bars says of their symbol, what is stored, or they show."""
    folder = _venue_folder(bars, data)
    return market.instrument_of(bars.venue, bars.symbol, bars, folder=folder)


def funding_beside(bars: Mapping[str, Bars], data: DataSection) -> dict[str, Funding]:
    """Return the funding rates that lie beside the bars, by series."""
    folders = {name: _venue_folder(one, data) for name, one in bars.items()}
    found = {
        name: market.read_funding(folder / bars[name].symbol)
        for name, folder in folders.items()
        if folder is not None
    }
    return {name: one for name, one in found.items() if one is not None}


def _venue_folder(bars: Bars, data: DataSection) -> Path | None:
    """Return the venue's folder that a series came from; None where it came from no folder."""
    if data.source != "folder" or data.bars is None:
        return None
    folder = Path(data.bars)
    places = (folder / bars.venue, folder)  # the folder above several venues, or one venue's
    return next((place for place in places if (place / bars.symbol).is_dir()), None)


def by_series(predictions: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose `symbol` is the name of the series."""
    return predictions.with_columns(evaluation.series_names(predictions).alias("symbol"))


def _from_source(
    data: DataSection, timeframe: str, venue_of: Mapping[str, str] | None
) -> dict[str, Bars]:
    start_ms, end_ms = (None if t is None else parse_utc_ms(t) for t in (data.start, data.end))
    if data.source == "folder":
        if data.bars is None:
            raise StudyError(
                "no bars: name a venue's folder with --bars FOLDER (laid out SYMBOL/"
                f"{timeframe}.parquet), or set data.source to sample or simulated"
            )
        universe = universe_of(data)
        if universe is not None:
            return _of_universe(data, universe, timeframe)
        read = market.read_folder
        if data.universe == EVERY_VENUE:
            read = partial(market.read_venues, venue_of=venue_of)
        return read(
            Path(data.bars),
            timeframe=timeframe,
            symbols=data.symbols or None,
            start_ms=start_ms,
            end_ms=end_ms,
        )
    wanted = data.symbols or _symbols_of(universe_of(data))
    made = _sample(data) if data.source == "sample" else _simulated(data)
    found = {s: market.resample(b, timeframe) for s, b in made.items()}
    return {s: b.between(start_ms, end_ms) for s, b in found.items() if s in (wanted or found)}


def _of_universe(data: DataSection, universe: Universe, timeframe: str) -> dict[str, Bars]:
    """Return the bars of those assets of a universe that the folder holds, in its order.

    The folder is one venue's, or holds a folder for each venue. Bars before an asset was listed
    or after it ended are another's of the same ticker, and no part.
    """
    assert data.bars is not None  # refused before
    for symbol in data.symbols:
        one_of("symbol", symbol, _symbols_of(universe))
    present, _ = market.present_and_missing(universe, Path(data.bars), timeframe)
    found = {
        asset.symbol: market.read_symbol(place, timeframe, *life_of(asset, data))
        for asset, place in present
        if asset.symbol in (data.symbols or (asset.symbol,))
    }
    return {symbol: one for symbol, one in found.items() if len(one)}


def life_of(asset: Asset, data: DataSection) -> tuple[int | None, int | None]:
    """Return from when to when an asset takes part: while it is listed, in the study's range."""
    begins = [asset.listed_ms, None if data.start is None else parse_utc_ms(data.start)]
    ends = [asset.ends_ms, None if data.end is None else parse_utc_ms(data.end)]
    return (
        max((begin for begin in begins if begin is not None), default=None),
        min((end for end in ends if end is not None), default=None),
    )


def universe_of(data: DataSection) -> Universe | None:
    """Return the universe that lists the assets; None where the folder itself does."""
    return None if data.universe in (None, EVERY_VENUE) else market.read_universe(data.universe)


def _symbols_of(universe: Universe | None) -> list[str]:
    return [] if universe is None else [asset.symbol for asset in universe.assets]


def _sample(data: DataSection) -> dict[str, Bars]:
    found = market.sample_bars()
    for symbol in data.symbols:
        one_of("symbol", symbol, found)
    return found


def _simulated(data: DataSection) -> dict[str, Bars]:
    made = data.simulated
    return {
        symbol: market.simulate(
            made.kind,
            n_bars=made.n_bars,
            seed=made.seed + number,
            symbol=symbol,
            timeframe=data.timeframe,
            edge=made.edge,
        )
        for number, symbol in enumerate(data.symbols or ("SIM",))
    }


def _most(symbols: list[str], bars: Mapping[str, Bars], most: int | None) -> list[str]:
    """Return at most so many symbols, those with the most bars, in their old order."""
    if most is None or len(symbols) <= most:
        return symbols
    longest = sorted(symbols, key=lambda symbol: -len(bars[symbol]))[:most]
    return [symbol for symbol in symbols if symbol in longest]
