"""A universe out of what a source lists: with dates, and so with what has died since."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from walkforge.base import UsageError

from ._names import safe_name
from ._universe import Asset, Universe

_LEVERED = ("UP", "DOWN", "BULL", "BEAR")
_STABLECOINS = frozenset({
    "AEUR", "BFUSD", "BUSD", "BUSDS", "DAI", "EURI", "FDUSD", "GUSD", "LUSD", "PAX", "PYUSD",
    "RLUSD", "SUSD", "TUSD", "USD1", "USDB", "USDC", "USDD", "USDE", "USDP", "USDS", "USDSB",
    "USDT", "UST", "XUSD",
})  # fmt: skip
_STATES = frozenset({
    "AUD", "BRL", "EUR", "GBP", "JPY", "NGN", "RUB", "TRY", "UAH", "USD", "ZAR",
})  # fmt: skip


class Listed(Protocol):
    """A symbol with its first moment, and the one where its bars end for good; None: not known."""

    @property
    def symbol(self) -> str:
        """Its name in a store."""

    @property
    def first_ms(self) -> int | None:
        """In ms UTC."""

    @property
    def last_ms(self) -> int | None:
        """In ms UTC; None while it trades."""


def universe_from_listings(
    name: str,
    listings: Iterable[Listed | tuple[str, int | None, int | None]],
    *,
    venue: str,
    category: str,
    currency: str,
    calendar: str,
    quote: str | None = None,
) -> tuple[Universe, dict[str, int]]:
    """Return the universe of a source's listings, and how many were left out, by reason.

    A listing tells symbol, first and last moment in ms UTC, by name or as a triple. It is free of
    survivorship only as far as the source still lists what was delisted, and tells when.

    With `quote`, such as USDT, only its pairs are taken: BASEQUOTE, or BASE-QUOTE. Of these are
    left out:
    - tokens that trade another one with leverage: the base is BULL or BEAR, or ends in UP, DOWN,
      BULL or BEAR behind a base that is listed too (BTCUP, as there is BTC; JUP stays);
    - money against money: the base is a stablecoin or a state's currency of a fixed list.
    Without `quote` all are taken. A name that no folder can have is always left out.

    Raises UsageError where nothing is left, or as `Asset` does.
    """
    known = [one if isinstance(one, tuple) else (one.symbol, one.first_ms, one.last_ms)
             for one in listings]  # fmt: skip
    bases = {_base_of(symbol, quote) for symbol, _, _ in known}
    left_out: Counter[str] = Counter()
    assets = []
    for symbol, first_ms, last_ms in known:
        if reason := _why_not(symbol, quote, bases):
            left_out[reason] += 1
            continue
        assets.append(Asset(symbol, venue, category, currency, calendar, first_ms, last_ms))
    if not assets:
        told = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "no listings"
        raise UsageError(f"{name}: nothing is left for a universe: {told}")
    return Universe(name, tuple(assets)), dict(left_out)


def _why_not(symbol: str, quote: str | None, bases: set[str]) -> str:
    """Return why a symbol is left out, empty where it is not."""
    try:
        safe_name("symbol", symbol)
    except UsageError:
        return "with a name that no folder can have"
    if quote is None:
        return ""
    base = _base_of(symbol, quote)
    if not base:
        return f"not in {quote}"
    if base in ("BULL", "BEAR") or any(
        base.endswith(end) and base.removesuffix(end) in bases - {""} for end in _LEVERED
    ):
        return "leveraged"
    return "money against money" if base in _STABLECOINS | _STATES else ""


def _base_of(symbol: str, quote: str | None) -> str:
    """Return what is traded for `quote`, empty where another is or nothing is left."""
    if quote is None:
        return ""
    base, separator, other = re.sub(r"[_./]", "-", symbol).rpartition("-")
    if separator:
        return base if other == quote else ""
    return symbol.removesuffix(quote) if symbol.endswith(quote) else ""
