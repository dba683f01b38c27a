"""One series of bars out of whatever a user points at."""

from collections.abc import Sequence
from pathlib import Path

from walkforge.base import TIMEFRAMES_MS, BarsError, UsageError

from ._bars import Bars
from ._folders import read_folder
from ._frames import read_bars_file
from ._names import guess_names
from ._series import holds_series, timeframes_in


def read_bars(path: Path, *, symbol: str, timeframe: str) -> Bars:
    """Return bars of `symbol` from a file, a symbol's folder or a venue's folder.

    Raises BarsError where there are none, or where a file's name tells another symbol or
    timeframe; a name that tells neither is taken at the caller's word.
    """
    if path.is_file():
        for expected, told in zip((symbol, timeframe), guess_names(path), strict=True):
            if told not in (None, expected):
                raise BarsError(f"{path}: its name tells {told}, expected {expected}")
        return read_bars_file(
            path, venue=path.absolute().parents[1].name, symbol=symbol, timeframe=timeframe
        )
    if not path.is_dir():
        raise BarsError(f"{path}: no such file or folder of bars")
    if path.name in TIMEFRAMES_MS:
        path = path.parent  # the folder of a stored series: its symbol's is meant
    venue = path.parent if timeframes_in(path) else path
    return read_folder(venue, timeframe=timeframe, symbols=[symbol])[symbol]


def only_timeframe(folder: Path, symbols: Sequence[str]) -> str:
    """Return the one timeframe that a venue's folder has for all `symbols`.

    Raises UsageError where there are several, BarsError where there is none.
    """
    there = [
        name
        for name in TIMEFRAMES_MS
        if symbols and all(holds_series(folder / str(s), name) for s in symbols)
    ]
    if len(there) == 1:
        return there[0]
    if there:
        raise UsageError(
            f"{folder}: has {', '.join(there)} for {', '.join(map(str, symbols))}; name the "
            "timeframe that is meant"
        )
    # Says what is wrong: the folder, a symbol, or the timeframes.
    read_folder(folder, timeframe="1m", symbols=list(symbols))
    raise BarsError(f"{folder}: {', '.join(map(str, symbols))} have no timeframe in common")
