"""How a bar fills an order: the only place that decides it, for backtest, label and random entry.

All kernels stand in this one file, because Numba's cache follows a kernel's own file and would
keep an old copy of a function that it had taken from another one. They are compiled for the
types below when the file is imported, or loaded from the cache in a fraction of a second, so it
is imported by the functions that need it and not by the room's door.

Order of events in bar `row` for an open position (`side` is +1 long, -1 short):

1. its time is up at this open: it leaves at the open (market);
2. the open lies at or beyond the stop: it leaves at the open (market);
3. the open lies at or beyond the target: it leaves at the open (limit, so never worse);
4. the bar touches the stop, whether or not it touches the target too: the stop (market);
5. the bar touches the target: the target (limit);
6. it is the last bar before a hole or the end: it leaves at the close (market).

Decisions come after all of these, at the close. A market fill, the entry among them, is worse
than its price by the slippage, or by MOST_SLIPPAGE_FRAC of the price where that is less.
"""

# Numba reads the types of arguments from the signatures below, not from annotations.
# mypy: disallow-untyped-defs=False

import numpy as np
from numba import njit, types

from walkforge.base import compile_kernel

MOST_SLIPPAGE_FRAC = 0.01
# Of a fill's price. A coin may crash below one tick; no fill may then be at zero or less. It
# stands here because the cache does not see a constant of another file change.

NONE, STOP, TARGET, TIMEOUT, SEGMENT_END = 0, 1, 2, 3, 4
ENTERED, NOT_FLAT, LAST_BAR, NO_ATR, BELOW_MINIMUM = 0, 1, 2, 3, 4

# Arrays out of Polars and Parquet are read-only; kernels compiled for read-only arrays take both.
_F = types.Array(types.float64, 1, "C", readonly=True)
_I = types.Array(types.int64, 1, "C", readonly=True)
_S = types.Array(types.int8, 1, "C", readonly=True)
_TAPE = (_F, _F, _F, _F, _F, _I)  # open, high, low, close, atr, last row of the bar's segment
_RULES = (types.float64, types.float64, types.int64, types.float64)
# stop_atr, target_atr, max_hold_bars, slippage in quote currency


@njit
def _slipped(price, side, slippage):
    """Return what an order to buy (`side` +1) or sell (-1) at market gets."""
    return price + side * min(slippage, MOST_SLIPPAGE_FRAC * price)


@njit
def _levels(entry_price, side, atr, stop, target, stop_atr, target_atr):
    """Return stop and target: as given, or where NaN at multiples of the ATR from the fill."""
    if np.isnan(stop):
        stop = entry_price - side * stop_atr * atr
    if np.isnan(target):
        target = entry_price + side * target_atr * atr
    return stop, target


@njit
def _leave(open_, high, low, close, last, entry, side, stop, target, max_hold, slippage):
    """Return exit kind, exit row, exit price and whether it left at the open."""
    timeout = entry + max_hold
    for row in range(entry, min(timeout, last + 1)):
        if side * (open_[row] - stop) <= 0.0:
            return STOP, row, _slipped(open_[row], -side, slippage), True
        if side * (open_[row] - target) >= 0.0:
            return TARGET, row, open_[row], True
        worst, best = (low[row], high[row]) if side > 0 else (high[row], low[row])
        if side * (worst - stop) <= 0.0:
            return STOP, row, _slipped(stop, -side, slippage), False
        if side * (best - target) >= 0.0:
            return TARGET, row, target, False
    if timeout <= last:
        return TIMEOUT, timeout, _slipped(open_[timeout], -side, slippage), True
    return SEGMENT_END, last, _slipped(close[last], -side, slippage), False


@compile_kernel(*_TAPE, types.int64, *_RULES)
def outcomes_of_every_bar(
    open_, high, low, close, atr, last_row, side, stop_atr, target_atr, max_hold, slippage
):
    """Return kind, row and price of the exit, and the entry price, of a decision at each close."""
    n = len(open_)
    kind = np.zeros(n, np.int8)
    exit_row = np.full(n, -1, np.int64)
    exit_price = np.full(n, np.nan)
    entry_price = np.full(n, np.nan)
    for row in range(n):
        if row >= last_row[row] or np.isnan(atr[row]):
            continue
        price = _slipped(open_[row + 1], side, slippage)
        stop, target = _levels(price, side, atr[row], np.nan, np.nan, stop_atr, target_atr)
        found = _leave(
            open_, high, low, close, last_row[row], row + 1, side, stop, target, max_hold, slippage
        )
        kind[row], exit_row[row], exit_price[row], _ = found
        entry_price[row] = price
    return kind, exit_row, exit_price, entry_price


@compile_kernel(*_TAPE, _I, _S, _F, _F, _F, *_RULES)
def fill_decisions(
    open_,
    high,
    low,
    close,
    atr,
    last_row,
    rows,
    sides,
    sizes,
    stops,
    targets,
    stop_atr,
    target_atr,
    max_hold,
    slippage,
):
    """Return what became of every decision (rows rising), and the fills of those that entered."""
    n = len(rows)
    status = np.zeros(n, np.int8)
    which = np.empty(n, np.int64)
    prices = np.empty((4, n))  # entry, exit, stop, target
    exit_row = np.empty(n, np.int64)
    kind = np.empty(n, np.int8)
    at_open = np.empty(n, np.bool_)
    filled = 0
    flat_from = -1  # first close at which the symbol is flat again
    for index in range(n):
        row, side = rows[index], sides[index]
        if row < flat_from:
            status[index] = NOT_FLAT
        elif row >= last_row[row]:
            status[index] = LAST_BAR
        elif np.isnan(atr[row]) and (np.isnan(stops[index]) or np.isnan(targets[index])):
            status[index] = NO_ATR
        elif sizes[index] <= 0.0:
            status[index] = BELOW_MINIMUM
        else:
            price = _slipped(open_[row + 1], side, slippage)
            stop, target = _levels(
                price, side, atr[row], stops[index], targets[index], stop_atr, target_atr
            )
            left = _leave(
                open_,
                high,
                low,
                close,
                last_row[row],
                row + 1,
                side,
                stop,
                target,
                max_hold,
                slippage,
            )
            which[filled] = index
            kind[filled], exit_row[filled], exit_price, at_open[filled] = left
            prices[0, filled], prices[1, filled] = price, exit_price
            prices[2, filled], prices[3, filled] = stop, target
            flat_from = exit_row[filled]
            filled += 1
    return (
        status,
        which[:filled],
        prices[:, :filled],
        exit_row[:filled],
        kind[:filled],
        at_open[:filled],
    )


@compile_kernel(*_TAPE, _I, _S, _F, _F, *_RULES, types.float64, types.npy_rng)
def fill_at_random(
    open_,
    high,
    low,
    close,
    atr,
    last_row,
    rows,
    sides,
    stop_fracs,
    target_fracs,
    stop_atr,
    target_atr,
    max_hold,
    slippage,
    held_bars,
    random,
):
    """Enter `sides` one after the other at random closes among `rows`, one position at a time.

    Selection sampling: at every flat close the chance is (entries left) / (flat closes left), the
    latter being the closes left less those that the entries left will block. What an entry
    blocks is estimated from the entries so far, beginning with `held_bars`.
    """
    n = len(sides)
    entry_row = np.empty(n, np.int64)
    prices = np.empty((4, n))
    exit_row = np.empty(n, np.int64)
    kind = np.empty(n, np.int8)
    at_open = np.empty(n, np.bool_)
    filled, at = 0, 0
    blocked, blockers = 10.0 * max(held_bars, 1.0), 10.0
    while at < len(rows) and filled < n:
        left = n - filled
        free = len(rows) - at - left * (blocked / blockers - 1.0)
        if random.random() * max(free, left) >= left:
            at += 1
            continue
        row, side = rows[at], sides[filled]
        price = _slipped(open_[row + 1], side, slippage)
        stop, target = _levels(
            price,
            side,
            atr[row],
            stop_fracs[filled] * close[row],
            target_fracs[filled] * close[row],
            stop_atr,
            target_atr,
        )
        gone = _leave(
            open_, high, low, close, last_row[row], row + 1, side, stop, target, max_hold, slippage
        )
        kind[filled], exit_row[filled], exit_price, at_open[filled] = gone
        prices[0, filled], prices[1, filled] = price, exit_price
        prices[2, filled], prices[3, filled] = stop, target
        entry_row[filled] = row + 1
        first = at
        while at < len(rows) and rows[at] < exit_row[filled]:
            at += 1
        blocked += at - first
        blockers += 1.0
        filled += 1
    return (
        entry_row[:filled],
        prices[:, :filled],
        exit_row[:filled],
        kind[:filled],
        at_open[:filled],
    )
