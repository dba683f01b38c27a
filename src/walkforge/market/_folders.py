"""Reading a venue's folder: SYMBOL/TIMEFRAME of a bar store, or SYMBOL/TIMEFRAME.parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from walkforge.base import BarsError, listed, nearest, timeframe_ms, utc_text

from ._bars import Bars
from ._calendar import LONGEST_PAUSE_MS
from ._resample import divides, resample
from ._series import holds_series, read_series, timeframes_in


def read_folder(
    folder: Path,
    *,
    timeframe: str,
    symbols: Sequence[str] | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> dict[str, Bars]:
    """Read the bars of one venue's folder that open in [start_ms, end_ms), by symbol.

    The venue is the folder's name. Without `symbols` all that have bars there are read. Where
    the timeframe is not there, it is made from the shorter one that yields most complete bars
    in the range (the shortest of equals), and `history` says so.

    Raises BarsError where the folder, a named symbol, a way to the timeframe or any bar in the
    range is missing, or where a file breaks a rule of `check_bars`; UsageError for an unknown
    timeframe.
    """
    timeframe_ms(timeframe)
    there = _symbols_in(folder)
    bars = {}
    for symbol in there if symbols is None else symbols:
        if symbol not in there:
            raise BarsError(
                f"{folder}: no symbol {symbol!r}{nearest(symbol.upper(), there)}; "
                f"there are {listed(there)}"
            )
        if symbols is None and not _sources_of(folder / symbol, timeframe):
            continue
        found = read_symbol(folder / symbol, timeframe, start_ms, end_ms)
        if len(found) or symbols is not None:
            bars[symbol] = found
    if not bars:
        raise BarsError(f"{folder}: no bars of {timeframe}{_range(start_ms, end_ms)}")
    for found in bars.values():
        if not len(found):
            raise _nothing_in_range(folder / found.symbol, timeframe, start_ms, end_ms)
    return bars


def read_venues(
    folder: Path,
    *,
    timeframe: str,
    symbols: Sequence[str] | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
    venue_of: Mapping[str, str] | None = None,
) -> dict[str, Bars]:
    """Read the bars of all venues in a folder laid out VENUE/SYMBOL/TIMEFRAME.parquet, by symbol.

    Venues without bars of the timeframe or in the range are passed over. Of a symbol that several
    venues have, the series with the most bars counts, of equals the first venue's; of a symbol
    that `venue_of` names, the series at that venue alone. Raises BarsError where the folder, a
    named symbol or any bar is missing, and as `read_folder` does.
    """
    timeframe_ms(timeframe)
    venue_of = venue_of or {}
    found: dict[str, Bars] = {}
    for symbol, venues in venues_by_symbol(folder, timeframe).items():
        if symbol not in (symbols or (symbol,)):
            continue
        there = [venue for venue in venues if venue == venue_of.get(symbol, venue)]
        series = [read_symbol(folder / v / symbol, timeframe, start_ms, end_ms) for v in there]
        longest = max(series, key=len, default=None)
        if longest is not None and len(longest):
            found[symbol] = longest
    missing = [f"{s} at {venue_of.get(s, 'any venue')}" for s in symbols or () if s not in found]
    if missing or not found:
        raise BarsError(
            f"{folder}: no bars of {timeframe}{_range(start_ms, end_ms)}"
            + (f" of {listed(missing)}" if missing else " at any venue")
        )
    return found


def venues_by_symbol(folder: Path, timeframe: str) -> dict[str, list[str]]:
    """Return the venues that hold bars of the timeframe or a way to it, by symbol; opens no file.

    Raises BarsError where the folder is not laid out VENUE/SYMBOL/TIMEFRAME.parquet.
    """
    if not folder.is_dir():
        raise BarsError(f"{folder}: no such folder of bars")
    there = sorted(path for path in folder.iterdir() if _is_venue(path))
    if not there:
        own = _is_venue(folder)
        hint = "; these are one venue's bars: the folder above is meant" if own else ""
        raise BarsError(f"{folder}: expected VENUE/SYMBOL/TIMEFRAME.parquet below it{hint}")
    found: dict[str, list[str]] = {}
    for venue in there:
        for symbol in _symbols_in(venue):
            if _sources_of(venue / symbol, timeframe):
                found.setdefault(symbol, []).append(venue.name)
    return found


def _symbols_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise BarsError(f"{folder}: no such folder of bars")
    there = sorted(path.name for path in folder.iterdir() if timeframes_in(path))
    if there:
        return there
    deeper = sorted(path.name for path in folder.iterdir() if _is_venue(path))
    hint = f"; perhaps one of its folders is meant: {listed(deeper)}" if deeper else ""
    raise BarsError(f"{folder}: no bars, expected SYMBOL/TIMEFRAME.parquet below it{hint}")


def _is_venue(folder: Path) -> bool:
    return folder.is_dir() and any(timeframes_in(path) for path in folder.iterdir())


def _sources_of(folder: Path, timeframe: str) -> list[str]:
    """Return the stored timeframe itself, or the shorter ones that add up to it."""
    if holds_series(folder, timeframe):
        return [timeframe]
    return [name for name in timeframes_in(folder) if divides(name, timeframe)]


def read_symbol(
    folder: Path, timeframe: str, start_ms: int | None = None, end_ms: int | None = None
) -> Bars:
    """Return the bars of a symbol's folder that open in [start_ms, end_ms), maybe none.

    As in `read_folder`, where every series is read like this one.
    """
    sources = _sources_of(folder, timeframe)
    if not sources:
        raise BarsError(
            f"{folder}: no bars of {timeframe} and none that add up to it; "
            f"there are {listed(timeframes_in(folder)) or 'none'}"
        )
    return max((_read_as(folder, name, timeframe, start_ms, end_ms) for name in sources), key=len)


def _read_as(
    folder: Path, stored: str, timeframe: str, start_ms: int | None, end_ms: int | None
) -> Bars:
    """Return stored bars as bars of a timeframe; only what the range needs is read."""
    venue = folder.absolute().parent.name
    if stored == timeframe:
        return read_series(folder, stored, venue=venue, start_ms=start_ms, end_ms=end_ms)
    # A longer bar is proved by the shorter ones around it, within one segment; see `resample`.
    around_ms = timeframe_ms(timeframe) + LONGEST_PAUSE_MS
    bars = read_series(
        folder,
        stored,
        venue=venue,
        start_ms=None if start_ms is None else start_ms - around_ms,
        end_ms=None if end_ms is None else end_ms + around_ms,
    )
    return resample(bars, timeframe).between(start_ms, end_ms)


def _nothing_in_range(
    folder: Path, timeframe: str, start_ms: int | None, end_ms: int | None
) -> BarsError:
    every = read_symbol(folder, timeframe, None, None)
    span = "none at all"
    if len(every):
        span = f"{utc_text(int(every.timestamp[0]))} to {utc_text(int(every.timestamp[-1]))}"
    return BarsError(f"{folder}: no bars of {timeframe}{_range(start_ms, end_ms)}; there is {span}")


def _range(start_ms: int | None, end_ms: int | None) -> str:
    start = "" if start_ms is None else f" from {utc_text(start_ms)}"
    return start if end_ms is None else f"{start} before {utc_text(end_ms)}"
