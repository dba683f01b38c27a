"""What every position carries: its stop, target and longest hold, and what its fills cost."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from walkforge.base import UsageError
from walkforge.market import Instrument


@dataclass(frozen=True, kw_only=True, slots=True)
class Bracket:
    """Stop, target and time-out of a position; distances in ATR of the decision's bar."""

    stop_atr: float = 1.5
    target_atr: float = 2.5
    max_hold_bars: int = 20
    """A position entered in bar e leaves at the open of bar e + max_hold_bars."""
    atr_bars: int = 14

    def __post_init__(self) -> None:
        for name in ("stop_atr", "target_atr"):
            _refuse(name, getattr(self, name), above=0.0)
        for name in ("max_hold_bars", "atr_bars"):
            _refuse_count(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """What trading costs. The defaults are those of the GRU system: a maker fee and one tick."""

    fee_frac: float | None = 0.00018
    """Fraction of the notional of each fill, so it is paid twice a trade. None takes the fees of
    each instrument: its maker's for the target, its taker's for all other fills."""
    slippage_ticks: float = 1.0
    """How far a market fill (entry, stop, time-out, segment end) is worse than its price; never
    more than 1 % of that price."""

    def __post_init__(self) -> None:
        if self.fee_frac is not None:
            _refuse("fee_frac", self.fee_frac, at_least=0.0, below=1.0)
        _refuse("slippage_ticks", self.slippage_ticks, at_least=0.0)

    def of(self, instrument: Instrument) -> "Charges":
        """Return what the fills of one symbol cost.

        Raises UsageError, naming the symbol, where its own fees are asked for and not known.
        """
        slippage_price = self.slippage_ticks * instrument.tick_size
        if self.fee_frac is not None:
            fees = {"market_fee_frac": self.fee_frac, "limit_fee_frac": self.fee_frac}
        else:
            fees = {
                "market_fee_frac": own_fee(instrument, "taker"),
                "limit_fee_frac": own_fee(instrument, "maker"),
            }
        return Charges(**fees, slippage_price=slippage_price)


@dataclass(frozen=True, kw_only=True, slots=True)
class Charges:
    """What the fills of one symbol cost, its instrument known."""

    market_fee_frac: float
    """Fraction of the notional of entries, stops, time-outs and segment ends."""
    limit_fee_frac: float
    """Fraction of the notional of targets; below 0 where the venue pays its makers."""
    slippage_price: float
    """How far a market fill is worse than its price, quote currency."""

    def times(self, factor: float) -> "Charges":
        """Return fees and slippage multiplied by `factor`; what a venue pays never grows."""
        return Charges(
            market_fee_frac=_stressed(self.market_fee_frac, factor),
            limit_fee_frac=_stressed(self.limit_fee_frac, factor),
            slippage_price=self.slippage_price * factor,
        )

    def at_fee(self, fee_frac: float) -> "Charges":
        """Return the same with one fee for every fill."""
        return replace(self, market_fee_frac=fee_frac, limit_fee_frac=fee_frac)


def _stressed(fee_frac: float, factor: float) -> float:
    return fee_frac * (factor if fee_frac > 0 else min(factor, 1.0))


def own_fee(instrument: Instrument, who: Literal["maker", "taker"]) -> float:
    """Return what an instrument's makers or takers pay, a fraction of the notional.

    Raises UsageError, naming the symbol, where that is not known.
    """
    fee = instrument.maker_fee_frac if who == "maker" else instrument.taker_fee_frac
    if fee is None:
        raise UsageError(
            f"{instrument.symbol}: its {who} fee is not known (instrument {instrument.source}); "
            "give a fee in numbers (0.001 is 0.1 %), or an instrument that has one"
        )
    return fee


def _refuse(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
) -> None:
    if not (above < value < below and value >= at_least):
        low = f"above {above:g}" if above > -math.inf else f"at least {at_least:g}"
        high = f" and below {below:g}" if below < math.inf else ""
        raise UsageError(f"{name} is {value}; it must be a finite number {low}{high}")


def _refuse_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} is {value!r}; it must be a whole number of at least 1")
