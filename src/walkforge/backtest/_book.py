"""One table of intentions, traded in several ways: the blocks of `backtest.json`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from walkforge.base import utc_text
from walkforge.execution import Costs

from ._block import Yardstick, block_of
from ._ledger import Ledger, Market, OrderSize, buy_and_hold, trade
from ._random import random_entries
from ._setup import BacktestSetup
from ._statistics import DAY_MS


class Book:
    """One table of intentions, to be traded in several ways."""

    def __init__(self, markets: list[Market], setup: BacktestSetup, yardstick: Yardstick) -> None:
        self._markets, self._setup, self._yardstick = markets, setup, yardstick

    def size(self, amount: float) -> OrderSize:
        """Return an amount in the unit of the setup's own size."""
        if self._setup.size_unit == "contracts":
            return OrderSize(amount, "contracts")
        return OrderSize(amount * self._setup.capital, "notional")

    def trade(
        self,
        *,
        markets: list[Market] | None = None,
        costs: Costs | None = None,
        size: float | None = None,
    ) -> list[Ledger]:
        """Fill the intentions, by the setup but for what is given here."""
        return [
            trade(
                market,
                bracket=self._setup.bracket,
                costs=costs or self._setup.costs,
                size=self.size(self._setup.size if size is None else size),
                own_sizes=size is None,
            )
            for market in markets or self._markets
        ]

    def hold(self) -> list[Ledger]:
        """Buy every symbol at the window's beginning and keep it."""
        size = self.size(self._setup.size)
        return [buy_and_hold(one, costs=self._setup.costs, size=size) for one in self._markets]

    def at_random(self, ledgers: list[Ledger]) -> dict[str, Any]:
        """The trades of `ledgers` at random bars."""
        return random_entries(
            ledgers,
            self._yardstick,
            bracket=self._setup.bracket,
            costs=self._setup.costs,
            size=self.size(self._setup.size),
            n_draws=self._setup.n_random,
        )

    def size_table(self) -> list[dict[str, Any]]:
        """Every intention in each size of the setup, own sizes set aside."""
        return [
            {"size": size, "unit": self._setup.size_unit, **self._block(self.trade(size=size))}
            for size in self._setup.sizes
        ]

    def cost_stress(self) -> list[dict[str, Any]]:
        """The same at multiples of fee and slippage; slippage moves fills, and with them levels."""
        table = []
        for factor in self._setup.cost_stress:
            costs = self._setup.costs.times(factor)
            cost = {"fee_frac": costs.fee_frac, "slippage_ticks": costs.slippage_ticks}
            table.append({"factor": factor, **cost, **self._block(self.trade(costs=costs))})
        return table

    def at_taker_fee(self) -> dict[str, Any]:
        """The same trades, each fill at the taker's fee."""
        fee = self._setup.taker_fee_frac
        ledgers = self.trade(costs=replace(self._setup.costs, fee_frac=fee))
        return {"fee_frac": fee, **block_of(ledgers, self._yardstick)}

    def last_days(self) -> dict[str, Any]:
        """The last days on their own: what was decided in them, starting flat."""
        days = self._setup.last_days
        end = max(int(one.tape.bars.closes_at[one.window.stop - 1]) for one in self._markets)
        start = end - days * DAY_MS
        recent = [market.from_time(start) for market in self._markets]
        recent = [market for market in recent if market.window.start < market.window.stop]
        first = min(int(one.tape.bars.timestamp[one.window.start]) for one in recent)
        span = {"days": days, "from": utc_text(first), "to": utc_text(end)}
        return {**span, **block_of(self.trade(markets=recent), self._yardstick)}

    def _block(self, ledgers: list[Ledger]) -> dict[str, Any]:
        return block_of(ledgers, self._yardstick, intervals=False)
