"""The trading rules once more, one trade after the other: slow, and easy to read.

Nothing is taken from the room that fills orders but what a bracket and a fee are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from walkforge.backtest import BacktestSetup
from walkforge.execution import Charges
from walkforge.market import Bars, Instrument


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowTrade:
    """What a backtest's table says of a trade, in its own words."""

    side: int
    entered_at: int
    """Opening time of the bar, ms UTC."""
    entry_price: float
    left_at: int
    """Opening time of the bar where it left at the open, else its close, ms UTC."""
    exit_price: float
    exit_kind: str
    size: float
    fee: float
    """Of both fills, quote currency."""
    pnl: float
    """After fees."""


@dataclass(frozen=True, slots=True)
class SlowRules:
    """One symbol and how it is traded."""

    bars: Bars
    instrument: Instrument
    setup: BacktestSetup

    @property
    def charges(self) -> Charges:
        """Return fees and slippage, from the numbers of the setup and the instrument."""
        costs, own = self.setup.costs, self.instrument
        market_fee, limit_fee = costs.fee_frac, costs.fee_frac
        if costs.fee_frac is None:
            market_fee, limit_fee = own.taker_fee_frac, own.maker_fee_frac
        assert market_fee is not None and limit_fee is not None  # noqa: PT018
        return Charges(
            market_fee_frac=market_fee,
            limit_fee_frac=limit_fee,
            slippage_price=costs.slippage_ticks * own.tick_size,
        )

    def size_at(self, price: float) -> float:
        """Return the contracts of an order that is sent at a close; 0 where it is too small."""
        own, setup = self.instrument, self.setup
        wanted = setup.size_contracts
        if setup.size_capital_frac is not None:
            wanted = setup.size_capital_frac * setup.capital / (price * own.contract_size)
        lots = math.floor(wanted / own.lot_step + 1e-9)
        size = round(lots * own.lot_step, 12)
        return size if size * own.contract_size * price >= own.min_notional else 0.0


def replay(rules: SlowRules, sides: Sequence[int]) -> list[SlowTrade]:
    """Return the trades of sides (n,), one per bar, +1, -1 or 0 for nothing.

    DESIGN, section 6: decided at a close, filled at the next open; one position at a time.
    """
    bars, atr = rules.bars, slow_atr(rules.bars, rules.setup.bracket.atr_bars)
    last_row = [rows.stop - 1 for rows in bars.segments for _ in range(rows.start, rows.stop)]
    trades, flat_from = [], 0
    for row, side in enumerate(sides):
        size = rules.size_at(float(bars.close[row])) if side else 0.0
        if side == 0 or row < flat_from or row == last_row[row] or math.isnan(atr[row]) or not size:
            continue
        trade, flat_from = _trade(rules, row, side, size, atr=atr[row], last=last_row[row])
        trades.append(trade)
    return trades


def slow_atr(bars: Bars, n: int) -> list[float]:
    """Return Wilder's average true range of every bar, NaN in the first `n` of each segment."""
    atr = [math.nan] * len(bars)
    for rows in bars.segments:
        ranges = [math.nan]
        for t in range(rows.start + 1, rows.stop):
            before = float(bars.close[t - 1])
            top, bottom = max(float(bars.high[t]), before), min(float(bars.low[t]), before)
            ranges.append(top - bottom)
        for t in range(n, len(ranges)):
            mean = sum(ranges[1 : n + 1]) / n
            before = atr[rows.start + t - 1]
            atr[rows.start + t] = mean if t == n else (before * (n - 1) + ranges[t]) / n
    return atr


def _trade(
    rules: SlowRules, row: int, side: int, size: float, *, atr: float, last: int
) -> tuple[SlowTrade, int]:
    """Return the trade decided at the close of `row`, and the bar it leaves in."""
    bars, bracket, charges = rules.bars, rules.setup.bracket, rules.charges
    entry = row + 1
    entry_price = _market(float(bars.open[entry]), side, charges)
    stop = entry_price - side * bracket.stop_atr * atr
    target = entry_price + side * bracket.target_atr * atr
    timeout = entry + bracket.max_hold_bars
    exit_row, price, kind, at_open = last, float(bars.close[last]), "segment_end", False
    for t in range(entry, last + 1):
        left = _leaves(bars, t, side, stop, target, is_over=t == timeout)
        if left is not None:
            exit_row, (price, kind, at_open) = t, left
            break
    if kind != "target":
        price = _market(price, -side, charges)
    units = size * rules.instrument.contract_size
    exit_fee = charges.limit_fee_frac if kind == "target" else charges.market_fee_frac
    fee = units * (charges.market_fee_frac * entry_price + exit_fee * price)
    trade = SlowTrade(
        side=side,
        entered_at=int(bars.timestamp[entry]),
        entry_price=entry_price,
        left_at=int((bars.timestamp if at_open else bars.closes_at)[exit_row]),
        exit_price=price,
        exit_kind=kind,
        size=size,
        fee=fee,
        pnl=side * (price - entry_price) * units - fee,
    )
    return trade, exit_row


def _leaves(
    bars: Bars, t: int, side: int, stop: float, target: float, *, is_over: bool
) -> tuple[float, str, bool] | None:
    """Return price, kind and whether it is at the open, of a position that leaves in bar t."""
    open_ = float(bars.open[t])
    worst, best = float(bars.low[t]), float(bars.high[t])
    if side < 0:
        worst, best = best, worst
    if is_over:
        return open_, "timeout", True
    if (open_ - stop) * side <= 0:
        return open_, "stop", True
    if (open_ - target) * side >= 0:
        return open_, "target", True
    if (worst - stop) * side <= 0:
        return stop, "stop", False
    if (best - target) * side >= 0:
        return target, "target", False
    return None


def _market(price: float, side: int, charges: Charges) -> float:
    """Return what an order at market gets: worse by the slippage, but by no more than 1 %."""
    return price + side * min(charges.slippage_price, 0.01 * price)
