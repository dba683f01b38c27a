"""Instruments as an exchange describes its markets through ccxt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from walkforge.base import UsageError
from walkforge.market import Instrument

Market = Mapping[str, Any]

# Binance names the hours only of the symbols that differ from its usual ones.
_USUAL_FUNDING_H = {"binanceusdm": 8.0}
# Nobody said that sizes have a step, so they have as good as none.
_NO_LOT_STEP = 1e-8


def instruments_of(
    exchange_id: str,
    by_name: Mapping[str, Market],
    precision_mode: int,
    told_h: Mapping[str, float],
) -> dict[str, Instrument]:
    """Return the instruments of markets by the markets' names.

    `precision_mode` is ccxt's: whether a precision is a tick, a number of decimals, or a number
    of significant digits, which makes no tick, so that such markets are left out. `told_h` are
    hours between two fundings by ccxt's symbols, where the exchange lists them.
    """
    found = {}
    for name, market in by_name.items():
        tick_size = _step(market["precision"].get("price"), precision_mode)
        if tick_size is None:
            continue
        funding_h = told_h.get(market["symbol"]) or funding_interval_h(exchange_id, market)
        try:
            found[name] = Instrument(
                name,
                tick_size,
                _lot_step(market, precision_mode),
                _least(market, "cost") or 0.0,
                contract_size=float(market["contractSize"] or 1.0),
                maker_fee_frac=_fee_frac(market, "maker"),
                taker_fee_frac=_fee_frac(market, "taker"),
                funding_interval_h=funding_h,
                calendar="24/7",
                source=f"ccxt {exchange_id}",
            )
        except UsageError:  # what the exchange says of it cannot be, as of markets in the making
            continue
    return found


def funding_interval_h(exchange_id: str, market: Market) -> float | None:
    """Return the hours between two fundings, None for spot and where the market does not tell."""
    if not market["swap"]:
        return None
    told_min = market["info"].get("fundingInterval")  # Bybit
    return float(told_min) / 60 if told_min else _USUAL_FUNDING_H.get(exchange_id)


def funding_intervals_h(answer: Mapping[str, Market]) -> dict[str, float]:
    """Return hours by symbol out of ccxt's funding intervals, which it writes as `4h`."""
    written = {
        symbol: re.fullmatch(r"(\d+)h", str(each["interval"])) for symbol, each in answer.items()
    }
    return {symbol: float(match[1]) for symbol, match in written.items() if match}


def _step(precision: Any, mode: int) -> float | None:
    """Return the step that a precision stands for, None where there is none."""
    import ccxt

    if precision is None or mode == ccxt.SIGNIFICANT_DIGITS:
        return None
    # Not 10.0**-5, which is 1.0000000000000001e-05.
    step = float(f"1e{-int(precision)}") if mode == ccxt.DECIMAL_PLACES else float(precision)
    return step if step > 0 else None


def _lot_step(market: Market, mode: int) -> float:
    told = _step(market["precision"].get("amount"), mode)
    return told or _least(market, "amount") or _NO_LOT_STEP


def _least(market: Market, what: str) -> float | None:
    least = (market["limits"].get(what) or {}).get("min")
    return None if least is None else float(least)


def _fee_frac(market: Market, side: str) -> float | None:
    fee = market.get(side)
    return None if fee is None or market.get("percentage") is False else float(fee)
