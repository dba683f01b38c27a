"""One symbol's intentions to filled trades and what each of them earned."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from walkforge.base import FloatArray, Int8Array, IntArray
from walkforge.execution import (
    DECISION_STATES,
    EXIT_KINDS,
    Bracket,
    Charges,
    Decisions,
    Fills,
    Tape,
    fill,
    order_sizes,
    sizes_for_notional,
    slipped,
)
from walkforge.market import Instrument

from ._settlements import NO_SETTLEMENTS, Settlements

_TARGET = EXIT_KINDS.index("target")


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """One series, the rows of the backtest's window, and what somebody wants there."""

    symbol: str
    """What the bars go by: their symbol, or symbol and timeframe where there are several."""
    tape: Tape
    instrument: Instrument
    window: slice
    """Rows of the bars that the backtest covers; earlier bars only warm the ATR up."""
    row: IntArray
    """Bar of each decision (m,), rising; side (m,) is +1 or -1, the others NaN where not given."""
    side: Int8Array
    size: FloatArray
    stop: FloatArray
    target: FloatArray
    settlements: Settlements = NO_SETTLEMENTS
    """What a position pays for funding, and when."""
    closes_later_ms: int = 0
    """How much later its bars close than those of the shortest timeframe beside it."""

    def from_time(self, start_ms: int) -> Market:
        """Return the same market with window and decisions from `start_ms` on."""
        first = int(np.searchsorted(self.tape.bars.timestamp, start_ms))
        first = min(max(first, self.window.start), self.window.stop)
        kept = self.row >= first
        return replace(
            self,
            window=slice(first, self.window.stop),
            row=self.row[kept],
            side=self.side[kept],
            size=self.size[kept],
            stop=self.stop[kept],
            target=self.target[kept],
        )


@dataclass(frozen=True, slots=True)
class OrderSize:
    """How large an order is: contracts, or a notional in quote currency."""

    amount: float
    unit: str  # "contracts" or "notional"

    def contracts(self, rows: IntArray, market: Market) -> FloatArray:
        """Return the contracts (m,) of orders sent at the closes of `rows`; 0 where refused."""
        price = market.tape.close[rows]
        if self.unit == "contracts":
            wanted = np.full(len(rows), self.amount)
        else:
            wanted = sizes_for_notional(self.amount, price, market.instrument)
        return order_sizes(wanted, price, market.instrument)


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """Filled trades of one symbol in time order; money (k,) in quote currency."""

    market: Market
    fills: Fills
    size: FloatArray
    """Contracts."""
    fee: FloatArray
    """Of both sides together."""
    funding: FloatArray
    """Paid while it was held; below 0 where it was earned."""
    pnl: FloatArray
    """After fees and funding; slippage is in the prices."""
    entry_fee: FloatArray
    states: IntArray
    """How many decisions ended in each of execution's DECISION_STATES."""


def trade(
    market: Market, *, bracket: Bracket, charges: Charges, size: OrderSize, own_sizes: bool = True
) -> Ledger:
    """Fill a market's decisions. An intention's own size goes before `size` if `own_sizes`."""
    contracts = size.contracts(market.row, market)
    if own_sizes:
        price = market.tape.close[market.row]
        own = order_sizes(market.size, price, market.instrument)
        contracts = np.where(np.isnan(market.size), contracts, own)
    decisions = Decisions(
        row=market.row, side=market.side, size=contracts, stop=market.stop, target=market.target
    )
    fills, status = fill(market.tape, decisions, bracket, slippage_price=charges.slippage_price)
    states = np.bincount(status, minlength=len(DECISION_STATES)).astype(np.int64)
    return book(market, fills, contracts[fills.decision], charges, states)


def book(
    market: Market, fills: Fills, size: FloatArray, charges: Charges, states: IntArray
) -> Ledger:
    """Return the ledger of `fills` with `size` (k,) contracts each.

    fee = fee fraction x notional of entry and of exit, the limit fill's at a target and the
    market fill's otherwise; pnl = side x (exit - entry) x units - fee - funding, where units are
    contracts x the instrument's contract size.
    """
    units = size * market.instrument.contract_size
    entry_fee = charges.market_fee_frac * fills.entry_price * units
    exit_frac = np.where(
        fills.exit_kind == _TARGET, charges.limit_fee_frac, charges.market_fee_frac
    )
    fee = entry_fee + exit_frac * fills.exit_price * units
    funding = market.settlements.paid(fills, market.tape.bars) * units
    pnl = fills.side * (fills.exit_price - fills.entry_price) * units - fee - funding
    return Ledger(market, fills, size, fee, funding, pnl, entry_fee, states)


def buy_and_hold(market: Market, *, charges: Charges, size: OrderSize) -> Ledger:
    """Buy at the first open after the window's first close, sell at its last close.

    Both are market fills: slippage and fee. It holds through holes, as a holder does, and pays
    the funding in between.
    """
    rows = market.window
    first = np.arange(rows.start, min(rows.start + 1, rows.stop - 1))
    contracts = size.contracts(first, market)
    first, contracts = first[contracts > 0], contracts[contracts > 0]
    n, last_close = len(first), market.tape.close[rows.stop - 1]
    slippage = charges.slippage_price
    fills = Fills(
        decision=np.arange(n),
        side=np.ones(n, np.int8),
        entry_row=first + 1,
        entry_price=slipped(market.tape.open[first + 1], 1, slippage_price=slippage),
        exit_row=np.full(n, rows.stop - 1),
        exit_price=slipped(np.full(n, last_close), -1, slippage_price=slippage),
        exit_kind=np.full(n, EXIT_KINDS.index("segment_end"), np.int8),
        at_open=np.zeros(n, np.bool_),
        stop=np.full(n, np.nan),
        target=np.full(n, np.nan),
    )
    states = np.array([n, 0, 0, 0, min(1, rows.stop - 1 - rows.start) - n])
    return book(market, fills, contracts, charges, np.maximum(states, 0))


def trades_table(ledgers: list[Ledger]) -> pl.DataFrame:
    """Return `trades.parquet`: one row per trade, sorted by entry time and symbol.

    `left_at` is the bar's opening time for exits at the open (time-outs, gaps) and its closing
    time for all others: a touch inside a bar is known, and stamped, when the bar is complete.
    """
    tables = [_table_of(ledger) for ledger in ledgers]
    return pl.concat(tables).sort("entered_at", "symbol")


def _table_of(ledger: Ledger) -> pl.DataFrame:
    fills, bars = ledger.fills, ledger.market.tape.bars
    opens_at, closes_at = bars.timestamp[fills.exit_row], bars.closes_at[fills.exit_row]
    times = {
        "decided_at": bars.closes_at[fills.entry_row - 1],
        "entered_at": bars.timestamp[fills.entry_row],
        "left_at": np.where(fills.at_open, opens_at, closes_at),
    }
    moment = {name: pl.Series(ms).cast(pl.Datetime("ms", "UTC")) for name, ms in times.items()}
    return pl.DataFrame(
        {
            "symbol": pl.repeat(ledger.market.symbol, len(fills), dtype=pl.String, eager=True),
            "side": fills.side,
            "decided_at": moment["decided_at"],
            "entered_at": moment["entered_at"],
            "entry_price": fills.entry_price,
            "left_at": moment["left_at"],
            "exit_price": fills.exit_price,
            "exit_kind": [EXIT_KINDS[kind] for kind in fills.exit_kind],
            "size": ledger.size,
            "fee": ledger.fee,
            "funding": ledger.funding,
            "pnl": ledger.pnl,
            "stop": fills.stop,
            "target": fills.target,
            "held_bars": fills.held_bars,
            "left_at_open": fills.at_open,
        },
        schema_overrides={"side": pl.Int8, "exit_kind": pl.String},
    )
