"""Names of venues, symbols and files."""

from __future__ import annotations

import re
from pathlib import Path

from walkforge.base import TIMEFRAMES_MS, UsageError, timeframe_ms

_SAFE = re.compile(r"[A-Za-z0-9^][A-Za-z0-9._^=+-]*")
# `BTCUSDT-1h-2023-01`, `BTC_USDT-15m`, `EURUSD_1d`: a symbol, a span of time, anything.
# A part of a stored series: `BTCUSDT/1m/2024-01.3f2a9c81d04b.parquet`.
_PART = re.compile(r"\d{4}(-\d\d)?\.[0-9a-f]{12}\.parquet")
_IN_A_NAME = re.compile(r"(?P<symbol>.+?)[-_](?P<timeframe>\d+(?:s|m|h|d|w|mo|M))(?:[-_.].*)?")


def safe_name(what: str, name: str) -> str:
    """Return a venue's or symbol's name if it can name a folder; raise UsageError if not."""
    if not _SAFE.fullmatch(name):
        raise UsageError(
            f"{what} {name!r} cannot name a folder; use letters, digits and . _ - + = ^ only, "
            "for instance BTC-USD for BTC/USD"
        )
    return name


def guess_names(path: Path) -> tuple[str | None, str | None]:
    """Return the symbol and timeframe that a file's name or folder tells, None where it does not.

    `BTCUSDT-1h-2023-01.zip`, `BTC_USDT-15m.csv`, `BTCUSDT/1h.parquet` and the parts below a stored
    `BTCUSDT/1h` tell both.
    Raises UsageError where the name holds a span of time that is no timeframe.
    """
    stem = path.name.split(".csv")[0].removesuffix(".zip").removesuffix(".parquet")
    if stem in TIMEFRAMES_MS:
        return path.absolute().parent.name or None, stem
    if _PART.fullmatch(path.name):
        return guess_names(path.absolute().parent)
    match = _IN_A_NAME.fullmatch(stem)
    if match is None:
        return None, None
    try:
        timeframe_ms(match["timeframe"])
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return match["symbol"], match["timeframe"]
