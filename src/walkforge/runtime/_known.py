"""Which series a bundle can predict, and their bars where the user points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from walkforge.base import TIMEFRAMES_MS, BarsError, BundleError, UsageError, listed, nearest
from walkforge.market import Bars, guess_names, read_bars, timeframes_in
from walkforge.registry import Bundle, KnownSeries, known_series


def require_known(bundle: Bundle, symbol: str, timeframe: str) -> KnownSeries:
    """Return the series of a symbol and timeframe.

    Raises BundleError where the bundle does not know it, or was never judged on it.
    """
    for one in known_series(bundle.description):
        if (one.symbol, one.timeframe) == (symbol, timeframe):
            return _require_judged(bundle, one)
    judged = _judged(bundle)
    timeframes = " ".join(dict.fromkeys(one.timeframe for one in judged))
    raise BundleError(
        f"{bundle.folder}: was trained on {_listed([one.symbol for one in judged])} {timeframes}, "
        f"but the bars are {symbol} {timeframe}"
    )


def bars_for(bundle: Bundle, path: Path, symbol: str | None = None) -> list[Bars]:
    """Return the bars of a file or folder that a bundle can predict.

    `symbol` chooses; without it a file's name tells its symbol, a symbol's folder its own, and of
    a venue's folder all that are there are read. Raises BarsError or UsageError where none fits,
    or where several would and the file does not tell which; BundleError for a symbol that the
    bundle does not know or was never judged on.
    """
    wanted = _judged(bundle) if symbol is None else _named(bundle, symbol)
    if len(wanted) > 1 and (path.is_file() or path.name in TIMEFRAMES_MS):
        wanted = [_told_by(bundle, path, wanted)]
    elif len(wanted) > 1 and path.is_dir():
        wanted = _there(bundle, path, wanted)
    return [read_bars(path, symbol=one.symbol, timeframe=one.timeframe) for one in wanted]


def _judged(bundle: Bundle) -> list[KnownSeries]:
    return [one for one in known_series(bundle.description) if one.judged]


def _require_judged(bundle: Bundle, one: KnownSeries) -> KnownSeries:
    if not one.judged:
        raise BundleError(
            f"{bundle.folder}: knows {one.name}, but was never judged on it, so there is nothing "
            "that calibrates a prediction"
        )
    return one


def _named(bundle: Bundle, symbol: str) -> list[KnownSeries]:
    """Return the series of a symbol, one for each timeframe."""
    every = known_series(bundle.description)
    found = [one for one in every if one.symbol == symbol]
    if not found:
        names = [one.symbol for one in every]
        raise BundleError(
            f"{bundle.folder}: does not know {symbol!r}{nearest(symbol, names)}; it was trained on "
            f"{_listed(names)}"
        )
    return [one for one in found if one.judged] or [_require_judged(bundle, found[0])]


def _told_by(bundle: Bundle, path: Path, wanted: Sequence[KnownSeries]) -> KnownSeries:
    """Return the series that the name of a file, or of a stored series' folder, tells."""
    symbol, timeframe = guess_names(path)
    if symbol is not None:
        wanted = _named(bundle, symbol)
    fit = [one for one in wanted if timeframe in (None, one.timeframe)]
    if len(fit) == 1:
        return fit[0]
    if not fit:
        raise BarsError(
            f"{path}: its name tells {timeframe}, expected {' or '.join(_timeframes(wanted))}"
        )
    raise UsageError(
        f"{path}: its name does not tell its symbol and timeframe, and the bundle knows "
        f"{_listed([one.name for one in fit])}; choose with --symbol, or name it SYMBOL-TIMEFRAME"
    )


def _there(bundle: Bundle, path: Path, wanted: Sequence[KnownSeries]) -> list[KnownSeries]:
    """Return the series that a folder holds: a symbol's own, or a venue's."""
    if timeframes_in(path):
        symbol = path.absolute().name
        return [one for one in wanted if one.symbol == symbol] or _named(bundle, symbol)
    found = [one for one in wanted if (path / one.symbol).is_dir()]
    if not found:
        raise BarsError(
            f"{path}: none of the bundle's symbols is there ({_listed([w.symbol for w in wanted])})"
        )
    return found


def _timeframes(series: Sequence[KnownSeries]) -> list[str]:
    return list(dict.fromkeys(one.timeframe for one in series))


def _listed(names: Sequence[str]) -> str:
    return listed(list(dict.fromkeys(names)))
