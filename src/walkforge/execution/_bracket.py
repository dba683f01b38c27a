"""What every position carries: its stop, target and longest hold, and what its fills cost."""

import math
from dataclasses import dataclass

from walkforge.base import UsageError


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

    fee_frac: float = 0.00018
    """Fraction of the notional of each fill, so it is paid twice a trade."""
    slippage_ticks: float = 1.0
    """How far a market fill (entry, stop, time-out, segment end) is worse than its price; never
    more than 1 % of that price."""

    def __post_init__(self) -> None:
        _refuse("fee_frac", self.fee_frac, at_least=0.0, below=1.0)
        _refuse("slippage_ticks", self.slippage_ticks, at_least=0.0)

    def times(self, factor: float) -> "Costs":
        """Return fee and slippage multiplied by `factor`."""
        return Costs(fee_frac=self.fee_frac * factor, slippage_ticks=self.slippage_ticks * factor)


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
