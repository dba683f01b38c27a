"""The trading rules once more, as one plain walk over the bars: slow, and easy to read."""

import math
from dataclasses import dataclass

from walkforge.execution import Bracket
from walkforge.market import Bars


@dataclass
class SlowTrade:
    decision: int
    side: int
    size: float
    entry_row: int
    entry_price: float
    stop: float
    target: float
    exit_row: int = -1
    exit_price: float = math.nan
    exit_kind: str = ""
    at_open: bool = False


@dataclass
class Wish:
    """What somebody wants at the close of a bar."""

    side: int
    size: float = 1.0
    stop: float = math.nan
    target: float = math.nan


def walk(
    bars: Bars, wishes: dict[int, Wish], bracket: Bracket, *, atr: list[float], slippage: float
) -> tuple[list[SlowTrade], dict[int, str]]:
    """Return the trades, and what became of the wish of each bar."""
    trades: list[SlowTrade] = []
    became: dict[int, str] = {}
    position: SlowTrade | None = None
    order: tuple[int, Wish] | None = None
    for t in range(len(bars)):
        last_of_segment = t + 1 == len(bars) or bars.segment[t + 1] != bars.segment[t]
        if order is not None:
            position = _enter(bars, t, order, bracket, atr, slippage)
            trades.append(position)
            order = None
        if position is not None and _live_through(bars, t, position, bracket, slippage):
            position = None
        if position is not None and last_of_segment:
            _close(position, t, _slipped(bars.close[t], -position.side, slippage), "segment_end")
            position = None
        wish = wishes.get(t)
        if wish is None:
            continue
        needs_atr = math.isnan(wish.stop) or math.isnan(wish.target)
        if position is not None:
            became[t] = "not_flat"
        elif last_of_segment:
            became[t] = "last_bar"
        elif needs_atr and math.isnan(atr[t]):
            became[t] = "no_atr"
        elif wish.size <= 0:
            became[t] = "below_minimum"
        else:
            became[t] = "entered"
            order = (t, wish)
    return trades, became


def _slipped(price, side, slippage) -> float:
    """Return a market order's fill: worse by the slippage, but by no more than 1 %."""
    return price + side * slippage if slippage <= 0.01 * price else price + side * 0.01 * price


def _enter(bars, t, order, bracket, atr, slippage) -> SlowTrade:
    decided, wish = order
    price = _slipped(bars.open[t], wish.side, slippage)
    stop = wish.stop
    if math.isnan(stop):
        stop = price - wish.side * bracket.stop_atr * atr[decided]
    target = wish.target
    if math.isnan(target):
        target = price + wish.side * bracket.target_atr * atr[decided]
    return SlowTrade(decided, wish.side, wish.size, t, price, stop, target)


def _live_through(bars, t, position, bracket, slippage) -> bool:
    """Return True where the position leaves at the open of bar t or inside it."""
    open_, high, low = bars.open[t], bars.high[t], bars.low[t]
    stop, target = position.stop, position.target
    if position.side > 0:
        opens_beyond_stop, opens_beyond_target = open_ <= stop, open_ >= target
        touches_stop, touches_target = low <= stop, high >= target
    else:
        opens_beyond_stop, opens_beyond_target = open_ >= stop, open_ <= target
        touches_stop, touches_target = high >= stop, low <= target
    leave = -position.side
    if t == position.entry_row + bracket.max_hold_bars:
        return _close(position, t, _slipped(open_, leave, slippage), "timeout", at_open=True)
    if opens_beyond_stop:
        return _close(position, t, _slipped(open_, leave, slippage), "stop", at_open=True)
    if opens_beyond_target:
        return _close(position, t, open_, "target", at_open=True)
    if touches_stop:
        return _close(position, t, _slipped(stop, leave, slippage), "stop")
    if touches_target:
        return _close(position, t, target, "target")
    return False


def _close(position, t, price, kind, *, at_open=False) -> bool:
    position.exit_row, position.exit_price = t, price
    position.exit_kind, position.at_open = kind, at_open
    return True
