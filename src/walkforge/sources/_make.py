"""Sources by their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from walkforge.base import UsageError, one_of

from ._source import Source

SOURCES = {
    "binance-archive": "Binance's public files, spot and USD-M futures, checked by SHA-256",
    "ccxt": "the REST API of any exchange that ccxt knows: --exchange coinbase",
    "yahoo": "stocks, ETFs, commodities, FX and indices of Yahoo Finance, adjusted",
    "files": "a folder of CSV, zip and Parquet files: --folder downloads",
    "sample": "daily bars of the S&P 500 and NASDAQ that come with a library",
    "simulated": "markets that never were, for tests and null results: --kind garch",
}
MARKETS = ("spot", "perpetual")


def make_source(
    name: str,
    *,
    market: str = "spot",
    exchange: str | None = None,
    folder: Path | None = None,
    urls: Mapping[str, str] | None = None,
    law: Mapping[str, Any] | None = None,
) -> Source:
    """Return a source by its name; `urls` put a mirror or a local server in place of its own.

    `market` is spot or perpetual where a source has both; `exchange` belongs to `ccxt`, `folder`
    to `files`, and `law` (kind, seed, edge) to `simulated`. Raises UsageError for
    unknown names and for what a source needs and is not told.
    """
    one_of("source", name, SOURCES)
    one_of("market", market, MARKETS)
    urls = urls or {}
    if name == "binance-archive":
        from ._binance_archive import binance_archive

        return binance_archive(market=market, urls=urls)
    if name == "ccxt":
        from ._ccxt import ccxt_source

        return ccxt_source(_needed("ccxt", "--exchange", exchange), market=market, urls=urls)
    if name == "yahoo":
        from ._yahoo import yahoo

        return yahoo(urls=urls)
    if name == "files":
        from ._files import files

        return files(_needed("files", "--folder", folder), venue=exchange or "files")
    if name == "sample":
        from ._sample import sample

        return sample()
    from ._simulated import simulated

    return simulated(**(law or {}))


def _needed(source: str, option: str, value: Any) -> Any:
    if value is None:
        raise UsageError(f"{source} needs {option}; see `walkforge data fetch --help`")
    return value
