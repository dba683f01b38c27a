"""The instrument of a symbol: as its venue told it, by stored defaults, or read off its prices."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from walkforge.base import FloatArray, IntArray, UsageError

from ._bars import Bars
from ._calendar import DAY_MS
from ._coin_defaults import COINS, FEES, FUNDING_INTERVAL_H, MIN_NOTIONAL
from ._instrument import NO_LOT_STEP, Instrument, is_perpetual_venue
from ._instrument_files import read_instruments

_MOST_DECIMALS = 8
# A venue changes its ticks as prices rise and fall: the one in force is that of the newest bars.
_NEWEST_MS = 30 * DAY_MS
# A month has few daily bars, and in a market that stood still any grid fits.
_FEWEST_MOVES = 100
_SAMPLED_BARS = 5_000
# Share of prices that must lie on a grid for it to be the tick: real files hold prices that were
# adjusted for a split, averaged, or quoted finer for a while.
_ON_GRID_FRAC = 0.95
# Decimals finer than this share of the price are somebody's arithmetic. A true tick may be finer
# still (a cent of a coin at 60 000), but slippage so small would say nothing.
_LEAST_TICK_FRAC = 1e-5
# Prices of stocks that were adjusted for splits and dividends have decimals of their own, and begin
# at a fraction of what was paid then: their first bars show a tick that is nothing today.
_LEAST_STOCK_TICK = 0.01
_CURRENCIES = {
    "AUD", "CAD", "CHF", "CNH", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "INR",
    "JPY", "KRW", "MXN", "NOK", "NZD", "PLN", "SEK", "SGD", "THB", "TRY", "USD", "XAG", "XAU",
    "XPD", "XPT", "ZAR",
}  # fmt: skip
# Prices that went through float32 are off by up to 6e-8 of themselves.
_FLOAT32_FRAC = 1e-7


def instrument_of(
    venue: str, symbol: str, bars: Bars | None = None, *, folder: Path | None = None
) -> Instrument:
    """Return a symbol's instrument; its `source` says where the numbers come from.

    First what `folder`, the venue's folder of a store, keeps of it in instruments.json; else the
    stored defaults; else what its prices show. Fees, funding interval and calendar that are not
    told are the venue's stored ones, None where there are none.

    Inferred, the tick is the one that was in force when `bars` end: the coarsest power of ten on
    which 95 % of opens and closes lie, of those bars of the last 30 days in which the price moved
    (of more days for 100 such bars, and of 5 000 evenly spread), and no finer than 1/100 000 of
    the median price; without such a grid it is 1/10 000 of it. Both fractions are rounded down to a
    power of ten. Nothing after `bars` has a say: for the tick of a moment pass the bars that were
    closed by then. In a session market whatever is no future and no pair of currencies by its name
    counts as a stock, of which the tick is at least 0.01. Nothing is known of lots and minimums
    then, so there are none: the lot step is 1e-8, the minimum notional 0.

    Raises UsageError where nothing of these is there, BarsError for a damaged instruments.json.
    """
    told = {} if folder is None else read_instruments(folder)
    if symbol in told:
        return _completed(told[symbol], _of_venue(venue))
    if symbol in COINS:
        coin = COINS[symbol]
        step = coin.perpetual_lot_step if is_perpetual_venue(venue) else coin.spot_lot_step
        numbers = (coin.tick_size, step, MIN_NOTIONAL)
        return Instrument(symbol, *numbers, **_of_venue(venue), source="stored defaults")
    if bars is None or not len(bars):
        raise UsageError(
            f"{venue}/{symbol}: no stored tick size; pass the bars, or an Instrument of your own"
        )
    rows = _newest_moves(bars)
    rows = rows[:: max(1, len(rows) // _SAMPLED_BARS)]
    prices = np.concatenate([bars.open[rows], bars.close[rows]])
    least = _LEAST_STOCK_TICK if bars.calendar == "session" and _is_stock(symbol) else 0.0
    numbers = (max(_infer_tick(prices), least), NO_LOT_STEP, 0.0)
    return Instrument(symbol, *numbers, **_of_venue(venue), source="inferred from prices")


def _newest_moves(bars: Bars) -> IntArray:
    """Return the rows of the last 30 days whose close is another than the one before.

    Older ones, too, where they are fewer than 100; the first bar counts as a move.
    """
    moves = np.flatnonzero(np.diff(bars.close, prepend=np.nan))
    month = np.searchsorted(bars.timestamp[moves], bars.timestamp[-1] - _NEWEST_MS, side="right")
    return moves[min(int(month), max(0, len(moves) - _FEWEST_MOVES)) :]


def _completed(told: Instrument, stored: dict[str, Any]) -> Instrument:
    """Return what a venue told, with what is stored of it where it did not tell."""
    missing = {
        name: value
        for name, value in stored.items()
        if value is not None and getattr(told, name) is None
    }
    if not missing:
        return told
    return replace(told, **missing, source=f"{told.source}; else stored defaults")


def _is_stock(symbol: str) -> bool:
    """Return whether a symbol is none of Yahoo's futures (GC=F) and no pair (EURUSD, EURUSD=X)."""
    letters = "".join(letter for letter in symbol.upper() if letter.isalpha())
    is_pair = len(letters) == 6 and {letters[:3], letters[3:]} <= _CURRENCIES
    return "=" not in symbol and not is_pair


def _of_venue(venue: str) -> dict[str, Any]:
    """Return fees, funding interval and calendar that all symbols of a venue share."""
    perpetual, fees = is_perpetual_venue(venue), FEES.get(venue)
    return {
        "maker_fee_frac": fees and fees.maker_frac,
        "taker_fee_frac": fees and fees.taker_frac,
        "funding_interval_h": FUNDING_INTERVAL_H if perpetual else None,
        "calendar": "24/7" if perpetual or fees else None,
    }


def _infer_tick(prices: FloatArray) -> float:
    usual = float(np.median(prices))
    for decimals in range(_MOST_DECIMALS + 1):
        tick = 10.0**-decimals
        if tick > usual:
            continue  # any grid has 0, and beside it whatever is small enough
        # A tenth of the tick caps the tolerance, or any grid would fit a large price.
        slack = np.minimum(np.maximum(_FLOAT32_FRAC * prices, 1e-12), tick / 10)
        if np.mean(np.abs(prices - np.round(prices / tick) * tick) <= slack) >= _ON_GRID_FRAC:
            return max(_power_of_ten(usual * _LEAST_TICK_FRAC), float(np.round(tick, decimals)))
    return _power_of_ten(usual / 10_000)


def _power_of_ten(number: float) -> float:
    """Return the power of ten at or below a number; a hair above it counts as it.

    Of numbers that are all but 0 it is 1e-308.
    """
    return float(f"1e{math.floor(math.log10(max(number, sys.float_info.min)) + 1e-9)}")
