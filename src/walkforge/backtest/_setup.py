"""With how much, at which cost and by which bracket intentions are filled."""

import math
from dataclasses import dataclass, field

from walkforge.base import UsageError
from walkforge.execution import Bracket, Costs


@dataclass(frozen=True, kw_only=True, slots=True)
class BacktestSetup:
    """Capital, size, bracket and costs of a backtest, and what stands beside it.

    The defaults are those of the GRU system and of the plan: 10 000 quote units of capital, 0.001
    contracts, and the bracket and costs of `execution`.
    """

    capital: float = 10_000.0
    """Quote currency, one purse for all symbols; profits are not put back into the size."""
    size_contracts: float = 0.001
    size_capital_frac: float | None = None
    """Notional of an order as a fraction of the starting capital; where set, it is the size."""
    bracket: Bracket = field(default_factory=Bracket)
    costs: Costs = field(default_factory=Costs)
    taker_fee_frac: float | None = 0.0005
    """Fee of the second run beside the first: stops, time-outs and entries take liquidity. None,
    or None for the fee of `costs`, takes each instrument's own."""
    last_days: int = 30
    """Length of the window at the end that is shown on its own, in days."""
    sizes: tuple[float, ...] = (0.001, 0.01, 0.05)
    """The sizes of the size table, in the unit of the setup's own size."""
    cost_stress: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0)
    """Factors on fee and slippage; funding stays what it is."""
    n_random: int = 200
    """Draws of random entries."""
    n_resamples: int = 1000
    """Resamples of a block bootstrap."""
    seed: int = 0

    def __post_init__(self) -> None:
        positive = {"capital": self.capital, "size_contracts": self.size_contracts}
        if self.size_capital_frac is not None:
            positive["size_capital_frac"] = self.size_capital_frac
        positive |= {f"sizes[{index}]": size for index, size in enumerate(self.sizes)}
        for name, value in positive.items():
            if not 0 < value < math.inf:
                raise UsageError(f"backtest.{name} is {value}; it must be a positive number")
        if self.taker_fee_frac is not None and not 0 <= self.taker_fee_frac < 1:
            raise UsageError(
                f"backtest.taker_fee_frac is {self.taker_fee_frac}; it must be a fraction of the "
                "notional of at least 0 and below 1 (0.0005 is 0.05 %)"
            )
        for factor in self.cost_stress:
            if not 0 <= factor < math.inf:
                raise UsageError(f"backtest.cost_stress holds {factor}; factors are at least 0")
        for name, least in (("last_days", 1), ("n_random", 0), ("n_resamples", 0)):
            if getattr(self, name) < least:
                raise UsageError(
                    f"backtest.{name} is {getattr(self, name)}; it must be at least {least}"
                )

    @property
    def size(self) -> float:
        """Return the size, in the unit that `size_unit` names."""
        return self.size_contracts if self.size_capital_frac is None else self.size_capital_frac

    @property
    def size_unit(self) -> str:
        """Return `contracts`, or `capital_frac` where the size is a fraction of the capital."""
        return "contracts" if self.size_capital_frac is None else "capital_frac"
