"""Sources by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
URL_KEYS = {"binance-archive": ("files", "listing"), "ccxt": ("api",), "yahoo": ("api",)}
"""The addresses that a source may be given."""


def url_key(name: str, source: str) -> str | None:
    """Return the key of an address if it is meant for a source, None if for others.

    `name` is KEY or SOURCE.KEY. Raises UsageError for one that no source knows.
    """
    keys = sorted({key for known in URL_KEYS.values() for key in known})
    owned = [f"{owner}.{key}" for owner, known in URL_KEYS.items() for key in known]
    owner, _, key = one_of("key in WALKFORGE_URLS", name, [*keys, *owned]).rpartition(".")
    return key if owner in ("", source) and key in URL_KEYS.get(source, ()) else None


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

    `market` is spot or perpetual where a source has both; `exchange` belongs to `ccxt` and names
    the venue of `files`, `folder` belongs to `files`, and `law` (kind, seed, edge) to
    `simulated`. Raises UsageError for unknown names, for what a source needs and is not told, and
    for what it is told and does not have.
    """
    one_of("source", name, SOURCES)
    one_of("market", market, MARKETS)
    given = {
        "--market perpetual": market != "spot" and name not in ("binance-archive", "ccxt"),
        "--exchange": exchange is not None and name not in ("ccxt", "files"),
        "--folder": folder is not None and name != "files",
        "--url": bool(urls) and name not in URL_KEYS,
        "--kind, --seed and --edge": name != "simulated"
        and any(value is not None for value in (law or {}).values()),
    }
    for option, is_strange in given.items():
        if is_strange:
            raise UsageError(f"{name} has no {option}; see `walkforge data fetch --help`")
    makers: dict[str, Callable[[], Source]] = {
        "binance-archive": lambda: _binance_archive(market, urls or {}),
        "ccxt": lambda: _ccxt(exchange, market, urls or {}),
        "yahoo": lambda: _yahoo(urls or {}),
        "files": lambda: _files(folder, exchange),
        "sample": _sample,
        "simulated": lambda: _simulated(law or {}),
    }
    return makers[name]()


# Each is imported where it is made: the libraries behind them take seconds.


def _binance_archive(market: str, urls: Mapping[str, str]) -> Source:
    from ._binance_archive import binance_archive

    return binance_archive(market=market, urls=urls)


def _ccxt(exchange: str | None, market: str, urls: Mapping[str, str]) -> Source:
    from ._ccxt import ccxt_source

    return ccxt_source(_needed("ccxt", "--exchange", exchange), market=market, urls=urls)


def _yahoo(urls: Mapping[str, str]) -> Source:
    from ._yahoo import yahoo

    return yahoo(urls=urls)


def _files(folder: Path | None, venue: str | None) -> Source:
    from ._files import files

    return files(_needed("files", "--folder", folder), venue=venue or "files")


def _sample() -> Source:
    from ._sample import sample

    return sample()


def _simulated(law: Mapping[str, Any]) -> Source:
    from ._simulated import simulated

    return simulated(**law)


def _needed(source: str, option: str, value: Any) -> Any:
    if value is None:
        raise UsageError(f"{source} needs {option}; see `walkforge data fetch --help`")
    return value
