"""One symbol of a venue: its tick, lot, minimum notional, contract size, fees and calendar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from walkforge.base import UsageError, one_of

from ._calendar import CALENDARS

_PERPETUAL_ENDINGS = ("_um", "_linear", "_perp", "_swap")
# Makers may be paid a little. Beyond these somebody wrote percent, or basis points.
_LEAST_FEE_FRAC, _MOST_FEE_FRAC = -0.01, 0.1

NO_LOT_STEP = 1e-8
"""Lot step of a symbol of which nobody said that sizes have one, so that there is as good as none.
"""


@dataclass(frozen=True, slots=True)
class Instrument:
    """How a symbol is priced, sized and charged for; prices and notional in quote currency."""

    symbol: str
    tick_size: float
    """Prices are multiples of it."""
    lot_step: float
    """Sizes, in contracts, are multiples of it."""
    min_notional: float
    """Smallest price * size * contract_size that the exchange takes; 0 where it takes any."""
    contract_size: float = 1.0
    """Units of the base asset in one contract."""
    maker_fee_frac: float | None = None
    """Fraction of the notional that a resting limit order pays, below 0 where it is paid; None
    where nobody knows."""
    taker_fee_frac: float | None = None
    """Fraction of the notional that a market order pays; None where nobody knows."""
    funding_interval_h: float | None = None
    """Hours from one funding moment to the next; None where there is no funding, or unknown."""
    calendar: str | None = None
    """`24/7` or `session`; None where the bars shall tell."""
    source: str = "given"
    """Where the numbers come from: `given`, `stored defaults`, `inferred from prices`, or who was
    asked and when."""

    def __post_init__(self) -> None:
        for name in ("tick_size", "lot_step", "contract_size"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise UsageError(f"{self.symbol}: {name} {value}, expected a positive number")
        if not 0 <= self.min_notional < math.inf:
            raise UsageError(f"{self.symbol}: min_notional {self.min_notional}, expected 0 or more")
        for name in ("maker_fee_frac", "taker_fee_frac"):
            fee = getattr(self, name)
            if fee is not None and not _LEAST_FEE_FRAC <= fee <= _MOST_FEE_FRAC:
                raise UsageError(
                    f"{self.symbol}: {name} {fee}, expected a fraction of the notional from "
                    f"{_LEAST_FEE_FRAC:g} to {_MOST_FEE_FRAC:g} (0.001 is 0.1 %), or none"
                )
        hours = self.funding_interval_h
        if hours is not None and not 0 < hours < math.inf:
            raise UsageError(
                f"{self.symbol}: funding_interval_h {hours}, expected a positive number or none"
            )
        if self.calendar is not None:
            one_of(f"calendar of {self.symbol}", self.calendar, CALENDARS)

    @property
    def has_lot_step(self) -> bool:
        """Return whether sizes have a step that matters; False where nobody knows of one."""
        return self.lot_step > NO_LOT_STEP

    def as_dict(self) -> dict[str, Any]:
        """Return the instrument as plain data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def is_perpetual_venue(venue: str) -> bool:
    """Return whether a venue's symbols are perpetuals: its name ends in _um, _linear, _perp or
    _swap.
    """
    return venue.endswith(_PERPETUAL_ENDINGS)
