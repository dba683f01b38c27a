"""What the exchange says about a symbol: its tick, lot, minimum notional and contract size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from walkforge.base import FloatArray, UsageError

from ._bars import Bars


@dataclass(frozen=True, slots=True)
class Instrument:
    """How a symbol is priced and sized; prices and notional in quote currency."""

    symbol: str
    tick_size: float
    """Prices are multiples of it."""
    lot_step: float
    """Sizes, in contracts, are multiples of it."""
    min_notional: float
    """Smallest price * size * contract_size that the exchange takes; 0 where it takes any."""
    contract_size: float = 1.0
    """Units of the base asset in one contract."""
    source: str = "given"
    """Where the numbers come from: `given`, `stored defaults` or `inferred from prices`."""

    def __post_init__(self) -> None:
        for name in ("tick_size", "lot_step", "contract_size"):
            value = getattr(self, name)
            if not 0 < value < np.inf:
                raise UsageError(f"{self.symbol}: {name} {value}, expected a positive number")
        if not 0 <= self.min_notional < np.inf:
            raise UsageError(f"{self.symbol}: min_notional {self.min_notional}, expected 0 or more")

    def as_dict(self) -> dict[str, Any]:
        """Return the instrument as plain data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


# Symbol: tick, lot step of spot, lot step of linear perpetuals. Sane for 2021-2025, in which
# exchanges changed some of them more than once; BTCUSDT has the tick of the perpetual (0.10)
# everywhere, because the fill rules are stated with it and it is the more careful one.
_COINS = {
    "BTCUSDT": (0.1, 0.00001, 0.001),
    "ETHUSDT": (0.01, 0.0001, 0.001),
    "BNBUSDT": (0.01, 0.001, 0.01),
    "SOLUSDT": (0.01, 0.001, 0.01),
    "XRPUSDT": (0.0001, 0.1, 0.1),
    "ADAUSDT": (0.0001, 0.1, 1.0),
    "DOGEUSDT": (0.00001, 1.0, 1.0),
    "AVAXUSDT": (0.01, 0.01, 1.0),
    "LINKUSDT": (0.01, 0.01, 0.01),
    "LTCUSDT": (0.01, 0.001, 0.001),
    "DOTUSDT": (0.001, 0.01, 0.1),
    "BCHUSDT": (0.01, 0.001, 0.001),
    "MATICUSDT": (0.0001, 0.1, 1.0),
    "NEARUSDT": (0.001, 0.1, 1.0),
}
_MIN_NOTIONAL = 5.0
_PERPETUAL_ENDINGS = ("_um", "_linear", "_perp", "_swap")

_MOST_DECIMALS = 8
_SAMPLED_BARS = 5_000
# Share of prices that must lie on a grid for it to be the tick: real files hold prices that were
# adjusted for a split, averaged, or quoted finer for a while.
_ON_GRID_FRAC = 0.95
# Decimals finer than this share of the price are somebody's arithmetic. A true tick may be finer
# still (a cent of a coin at 60 000), but slippage so small would say nothing.
_LEAST_TICK_FRAC = 1e-5
# Nobody said that sizes have a step, so they have as good as none.
_NO_LOT_STEP = 1e-8
# Prices that went through float32 are off by up to 6e-8 of themselves.
_FLOAT32_FRAC = 1e-7


def instrument_of(venue: str, symbol: str, bars: Bars | None = None) -> Instrument:
    """Return the instrument of a symbol: the stored defaults, or what its prices show.

    Inferred, the tick is the coarsest power of ten on which 95 % of opens and closes lie (5 000
    bars, evenly spread), and no finer than 1/100 000 of the median price; without such a grid it
    is 1/10 000 of it. Both fractions are rounded down to a power of ten. Nothing is known of
    lots and minimums then, so there are none: the lot step is 1e-8, the minimum notional 0.

    Raises UsageError where there are neither defaults nor bars.
    """
    if symbol in _COINS:
        tick_size, spot_step, perpetual_step = _COINS[symbol]
        step = perpetual_step if venue.endswith(_PERPETUAL_ENDINGS) else spot_step
        return Instrument(symbol, tick_size, step, _MIN_NOTIONAL, 1.0, "stored defaults")
    if bars is None or not len(bars):
        raise UsageError(
            f"{venue}/{symbol}: no stored tick size; pass the bars, or an Instrument of your own"
        )
    every = max(1, len(bars) // _SAMPLED_BARS)
    prices = np.concatenate([bars.open[::every], bars.close[::every]])
    return Instrument(symbol, _infer_tick(prices), _NO_LOT_STEP, 0.0, 1.0, "inferred from prices")


def _infer_tick(prices: FloatArray) -> float:
    usual = float(np.median(prices))
    for decimals in range(_MOST_DECIMALS + 1):
        tick = 10.0**-decimals
        # A tenth of the tick caps the tolerance, or any grid would fit a large price.
        slack = np.minimum(np.maximum(_FLOAT32_FRAC * prices, 1e-12), tick / 10)
        if np.mean(np.abs(prices - np.round(prices / tick) * tick) <= slack) >= _ON_GRID_FRAC:
            return max(_power_of_ten(usual * _LEAST_TICK_FRAC), float(np.round(tick, decimals)))
    return _power_of_ten(usual / 10_000)


def _power_of_ten(number: float) -> float:
    """Return the power of ten at or below a number; a hair above it counts as it."""
    return float(f"1e{math.floor(math.log10(number) + 1e-9)}")
