"""One decision on a market drawn by hand, as a long, and mirrored as a short.

The mirror turns a price p into 200 - p and the high into the low, so that whatever happens to a
long happens to a short, and each rule is drawn once and tested on both sides.
"""

import math
from dataclasses import dataclass

import numpy as np

from drawn import bars_from
from walkforge.execution import (
    DECISION_STATES,
    EXIT_KINDS,
    Bracket,
    Decisions,
    Fills,
    fill,
    make_tape,
)
from walkforge.market import Bars

# ATR over one bar is that bar's true range: readable in a drawing.
BRACKET = Bracket(stop_atr=1.0, target_atr=2.0, max_hold_bars=3, atr_bars=1)


@dataclass
class Trade:
    kind: str
    row: int
    price: float
    entry_row: int
    entry_price: float
    at_open: bool
    stop: float
    target: float
    state: str = "entered"


def mirror(price: float, side: int) -> float:
    return price if side > 0 else 200.0 - price


def market(drawing: str, side: int, missing_before: tuple[int, ...] = ()) -> Bars:
    lines = [line.split("#")[0].split() for line in drawing.splitlines()]
    bars = [[float(word) for word in words] for words in lines if words]
    if side < 0:
        bars = [
            [200 - open_, 200 - low, 200 - high, 200 - close] for open_, high, low, close in bars
        ]
    text = "\n".join(" ".join(map(repr, bar)) for bar in bars)
    return bars_from(text, missing_before=missing_before)


def decide(
    drawing: str,
    side: int,
    *,
    at: tuple[int, ...] = (1,),
    stop: float = math.nan,
    target: float = math.nan,
    slippage: float = 0.0,
    bracket: Bracket = BRACKET,
    missing_before: tuple[int, ...] = (),
) -> tuple[list[Trade], list[str]]:
    """Return the trades, prices mirrored back to the long's market, and what decisions became."""
    bars = market(drawing, side, missing_before)
    n = len(at)
    decisions = Decisions(
        row=np.array(at),
        side=np.full(n, side),
        size=np.ones(n),
        stop=np.full(n, mirror(stop, side)),
        target=np.full(n, mirror(target, side)),
    )
    tape = make_tape(bars, bracket.atr_bars)
    fills, states = fill(tape, decisions, bracket, slippage_price=slippage)
    return _trades(fills, side), [DECISION_STATES[state] for state in states]


def only_trade(drawing: str, side: int, **rules) -> Trade:
    trades, _ = decide(drawing, side, **rules)
    (trade,) = trades
    return trade


def _trades(fills: Fills, side: int) -> list[Trade]:
    return [
        Trade(
            kind=EXIT_KINDS[fills.exit_kind[k]],
            row=int(fills.exit_row[k]),
            price=mirror(fills.exit_price[k], side),
            entry_row=int(fills.entry_row[k]),
            entry_price=mirror(fills.entry_price[k], side),
            at_open=bool(fills.at_open[k]),
            stop=mirror(fills.stop[k], side),
            target=mirror(fills.target[k], side),
        )
        for k in range(len(fills))
    ]
