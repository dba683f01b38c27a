"""One table of intentions, traded in several ways: the blocks of `backtest.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from walkforge.base import utc_text
from walkforge.execution import Charges, own_fee

from ._block import Yardstick, block_of
from ._ledger import Ledger, Market, OrderSize, buy_and_hold, trade
from ._random import random_entries
from ._setup import BacktestSetup
from ._statistics import DAY_MS


class Book:
    """One table of intentions, to be traded in several ways.

    Raises UsageError where an instrument's own fees are asked for and not known.
    """

    def __init__(self, markets: list[Market], setup: BacktestSetup, yardstick: Yardstick) -> None:
        self._markets, self._setup, self._yardstick = markets, setup, yardstick
        self._charges = {one.symbol: setup.costs.of(one.instrument) for one in markets}

    def size(self, amount: float) -> OrderSize:
        """Return an amount in the unit of the setup's own size."""
        if self._setup.size_unit == "contracts":
            return OrderSize(amount, "contracts")
        return OrderSize(amount * self._setup.capital, "notional")

    def trade(
        self,
        *,
        markets: list[Market] | None = None,
        charges: Mapping[str, Charges] | None = None,
        size: float | None = None,
    ) -> list[Ledger]:
        """Fill the intentions, by the setup but for what is given here."""
        return [
            trade(
                market,
                bracket=self._setup.bracket,
                charges=(charges or self._charges)[market.symbol],
                size=self.size(self._setup.size if size is None else size),
                own_sizes=size is None,
            )
            for market in markets or self._markets
        ]

    def hold(self) -> list[Ledger]:
        """Buy every symbol at the window's beginning and keep it."""
        size = self.size(self._setup.size)
        return [
            buy_and_hold(one, charges=self._charges[one.symbol], size=size) for one in self._markets
        ]

    def at_random(self, ledgers: list[Ledger]) -> dict[str, Any]:
        """The trades of `ledgers` at random bars."""
        return random_entries(
            ledgers,
            self._yardstick,
            bracket=self._setup.bracket,
            charges=self._charges,
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
        """The same at multiples of fee and slippage; slippage moves fills, and with them levels.

        Funding stays what it is. `fee_frac` is None where each instrument has its own.
        """
        table = []
        for factor in self._setup.cost_stress:
            fee, ticks = self._setup.costs.fee_frac, self._setup.costs.slippage_ticks
            cost = {
                "fee_frac": None if fee is None else fee * factor,
                "slippage_ticks": ticks * factor,
            }
            charges = {symbol: one.times(factor) for symbol, one in self._charges.items()}
            table.append({"factor": factor, **cost, **self._block(self.trade(charges=charges))})
        return table

    def at_taker_fee(self) -> dict[str, Any]:
        """The same trades, each fill at the taker's fee; `fee_frac` is None where it differs."""
        fees = {one.symbol: self._taker_fee(one) for one in self._markets}
        charges = {symbol: self._charges[symbol].at_fee(fee) for symbol, fee in fees.items()}
        fee = next(iter(fees.values())) if len(set(fees.values())) == 1 else None
        return {"fee_frac": fee, **block_of(self.trade(charges=charges), self._yardstick)}

    def _taker_fee(self, market: Market) -> float:
        fee = self._setup.taker_fee_frac
        if fee is None or self._setup.costs.fee_frac is None:
            return own_fee(market.instrument, "taker")
        return fee

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
