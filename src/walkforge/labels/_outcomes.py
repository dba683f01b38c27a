"""Bars to outcomes: a score per bar, and the moment at which it is known.

This is the one room that looks ahead, and it says how far: `resolved_at`. It never looks across
the end of a segment; a bar whose future is not there has no score.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from walkforge.execution import EXIT_KINDS, bracket_outcomes
from walkforge.market import Bars, instrument_of, past_volatility

from ._rule import LabelRule

NEVER = np.iinfo(np.int64).max
"""`resolved_at` of a row without a label; later than every slice, so that no purge keeps it."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What happened after each bar (n,), from its decision at the close to its resolution."""

    score: Float64[np.ndarray, " n"]
    """NaN where the future is not there; `Limits.classify` makes classes of it."""
    decided_at: Int64[np.ndarray, " n"]
    """Close of the bar, ms UTC."""
    resolved_at: Int64[np.ndarray, " n"]
    """First close at which the outcome is known, ms UTC; NEVER where there is none."""
    valid: Bool[np.ndarray, " n"]
    """True where there is a score."""


def outcomes(
    bars: Bars,
    rule: LabelRule,
    *,
    slippage_price: float | None = None,
    ends_for_good: bool = False,
) -> Outcomes:
    """Return the outcome of a decision at every close of `bars`.

    Scores: `threshold`, `quantile`, `direction`: log(close[t + horizon] / close[t]). `volatility`:
    the same over what the last returns let expect, standard deviation x sqrt(horizon).
    `triple_barrier`: 1 where a long decided at t hits its target first, -1 where a short does,
    else 0. The first four are resolved at the close of bar t + horizon, `triple_barrier` at the
    close of the bar that settles it.

    `slippage_price` (quote currency a market fill) serves `triple_barrier`: hand over what the
    backtest takes, `slippage_ticks` x the instrument's tick, so that both mean the same trade.
    Left out, it is one tick: the instrument's, or as the prices before the first label show it.

    `ends_for_good` says that the asset died with its last bar, at whose close a position leaves:
    that close is then the outcome of decisions whose horizon or hold would go on, and the moment
    at which it is known. Otherwise these have no score, for nobody knows what came.
    """
    if rule.kind == "triple_barrier":
        score, resolved_row = _barrier_scores(bars, rule, slippage_price, ends_for_good)
    else:
        score, resolved_row = _return_scores(bars, rule, ends_for_good)
    valid = ~np.isnan(score)
    resolved_at = np.where(valid, bars.closes_at[resolved_row], NEVER)
    return Outcomes(score, bars.closes_at, resolved_at, valid)


def _return_scores(
    bars: Bars, rule: LabelRule, ends_for_good: bool
) -> tuple[Float64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    ahead = rule.horizon_bars
    score = np.full(len(bars), np.nan)
    log_close = np.log(bars.close)
    for rows in bars.segments:
        part = log_close[rows]
        known = max(len(part) - ahead, 0)
        score[rows.start : rows.start + known] = part[ahead:] - part[:known]
    if ends_for_good and len(bars):
        # A decision at the very last close cannot enter any more.
        cut = slice(max(bars.segments[-1].start, len(bars) - ahead), len(bars) - 1)
        score[cut] = log_close[-1] - log_close[cut]
    if rule.kind == "volatility":
        score /= np.sqrt(ahead) * past_volatility(bars, rule.volatility_bars)
    # Rows without a score stay in range; nobody reads their resolution.
    return score, np.minimum(np.arange(len(bars)) + ahead, len(bars) - 1)


def _barrier_scores(
    bars: Bars, rule: LabelRule, slippage_price: float | None, ends_for_good: bool
) -> tuple[Float64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    slippage = _one_tick(bars, rule) if slippage_price is None else slippage_price
    both = bracket_outcomes(bars, rule.bracket, slippage_price=slippage)
    target = EXIT_KINDS.index("target")
    long_won, short_won = both.long.exit_kind == target, both.short.exit_kind == target
    # Both sides can win one after the other where the target is nearer than the stop; then the
    # first one counts. Both in one bar: nobody can tell which was first, so neither.
    long_first = long_won & (~short_won | (both.long.exit_row < both.short.exit_row))
    short_first = short_won & (~long_won | (both.short.exit_row < both.long.exit_row))
    score = long_first.astype(np.float64) - short_first
    # Near a hole only quick winners would be known. To keep those alone would tilt the classes,
    # so a row needs the room for a full hold, however soon it is settled. An end for good settles
    # all that is open.
    room = _has_room(bars, rule.bracket.max_hold_bars)
    if ends_for_good and len(bars):
        room[bars.segments[-1]] = True
    score[~room] = np.nan
    score[both.long.exit_kind == 0] = np.nan
    last = np.maximum(both.long.exit_row, both.short.exit_row)
    settled = np.where(long_first, both.long.exit_row, both.short.exit_row)
    return score, np.where(long_first | short_first, settled, last)


def _has_room(bars: Bars, max_hold_bars: int) -> Bool[np.ndarray, " n"]:
    """Return True (n,) where the open that ends the longest hold lies in the bar's segment."""
    room = np.zeros(len(bars), dtype=np.bool_)
    for rows in bars.segments:
        room[rows.start : max(rows.start, rows.stop - 1 - max_hold_bars)] = True
    return room


def _one_tick(bars: Bars, rule: LabelRule) -> float:
    """Return the instrument's tick; where it must be read off the prices, from the first ones.

    The bars that warm the ATR up come before every label, so no later price moves one.
    """
    if len(bars) == 0:
        return 0.0
    warm_up = bars.take(slice(0, rule.bracket.atr_bars + 1))
    return instrument_of(bars.venue, bars.symbol, warm_up).tick_size
