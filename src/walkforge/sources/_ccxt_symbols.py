"""The markets of an exchange, by the names that they have in a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from walkforge.base import UsageError, nearest


class Symbols:
    """The spot markets of an exchange, or its linear perpetuals, by their names in a store.

    A name is BTCUSDT on exchanges that write it so themselves, and BTC-USD everywhere else.
    `BTC/USDT`, `BTC-USDT`, `BTCUSDT` and the exchange's own id find the same market.
    """

    def __init__(self, venue: str, kind: str, markets: Iterable[Mapping[str, Any]]) -> None:
        self._venue = venue
        self.by_name = _by_name([market for market in markets if _is(market, kind)])
        self._names = _names(self.by_name)

    def find(self, asked: str) -> tuple[str, Mapping[str, Any]]:
        """Return name and market; raise UsageError with the nearest name where there is none."""
        name = self._names.get(asked) or self._names.get(asked.upper())
        if name is None:
            raise UsageError(f"{self._venue} lists no {asked!r}{nearest(asked, self.by_name)}")
        return name, self.by_name[name]


def _is(market: Mapping[str, Any], kind: str) -> bool:
    if kind == "spot":
        return bool(market["spot"])
    # Paid for in what it is quoted in, so that prices and profits have one unit.
    return bool(market["swap"] and market["linear"] and market["settle"] == market["quote"])


def _by_name(markets: list[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    # Kraken writes SOLUSD and XXBTZUSD: how a venue writes Bitcoin tells how it writes at all.
    joined = any(m["id"] == m["base"] + m["quote"] for m in markets if m["base"] == "BTC")
    by_name: dict[str, Mapping[str, Any]] = {}
    for market in sorted(markets, key=lambda market: market["active"] is False):
        by_name.setdefault(_name(market, joined), market)
    return dict(sorted(by_name.items()))


def _name(market: Mapping[str, Any], joined: bool) -> str:
    base, quote, own = market["base"], market["quote"], str(market["id"])
    if joined and own in (base + quote, f"{market['baseId']}{market['quoteId']}"):
        return own
    return f"{base}-{quote}"


def _names(by_name: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return names by every spelling of them; a name itself comes before any other's spelling."""
    spellings = [
        lambda name, market: name,
        lambda name, market: str(market["id"]),
        lambda name, market: market["symbol"],
        lambda name, market: f"{market['base']}/{market['quote']}",
        lambda name, market: f"{market['base']}-{market['quote']}",
        lambda name, market: f"{market['base']}{market['quote']}",
    ]
    names: dict[str, str] = {}
    for spelling in spellings:
        for name, market in by_name.items():
            names.setdefault(spelling(name, market), name)
    return names
