"""One account's numbers: the block B of `backtest.json`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from walkforge.base import FloatArray
from walkforge.execution import DECISION_STATES, EXIT_KINDS
from walkforge.statistics import block_bootstrap, deflated_sharpe, moments_of, sharpe_ratio

from ._equity import Curve, drawdown, mark, pool
from ._ledger import Ledger
from ._statistics import daily_returns


@dataclass(frozen=True, kw_only=True, slots=True)
class Yardstick:
    """What every block of one backtest is measured with."""

    capital: float
    periods_per_year: float
    """Of the returns: 365 days, the days that a session market opens, or bars above a day."""
    n_trials: int
    n_resamples: int
    seed: int


def block_of(
    ledgers: Sequence[Ledger], yardstick: Yardstick, *, intervals: bool = True
) -> dict[str, Any]:
    """Return the numbers of one account that traded all `ledgers` from one purse.

    Fractions are of the starting capital (`roi_frac`), of the highest equity so far
    (`max_drawdown_frac`), of trades (`win_rate`) or of bars (`exposure_frac`). None stands where
    a number is not defined. Intervals (95 %) are left out on wish; they take most of the time.
    """
    curve = pool([mark(ledger) for ledger in ledgers])
    return {
        **_of_trades(ledgers, yardstick, intervals=intervals),
        **_of_equity(curve, yardstick, intervals=intervals),
    }


def _of_trades(
    ledgers: Sequence[Ledger], yardstick: Yardstick, *, intervals: bool
) -> dict[str, Any]:
    pnl = _in_order_of_exit(ledgers)
    kinds = sum(np.bincount(one.fills.exit_kind, minlength=5) for one in ledgers)
    held = sum(int(one.fills.held_bars.sum()) for one in ledgers)
    bars = sum(one.market.window.stop - one.market.window.start for one in ledgers)
    states = sum(one.states for one in ledgers)
    won, lost = float(pnl[pnl > 0].sum()), float(-pnl[pnl < 0].sum())
    n = len(pnl)
    return {
        "n_trades": n,
        "n_long": sum(int((one.fills.side > 0).sum()) for one in ledgers),
        "n_short": sum(int((one.fills.side < 0).sum()) for one in ledgers),
        "win_rate": float((pnl > 0).mean()) if n else None,
        "exits": {EXIT_KINDS[kind]: int(np.asarray(kinds)[kind]) for kind in (1, 2, 3, 4)},
        "pnl": float(pnl.sum()),
        "fees": float(sum(one.fee.sum() for one in ledgers)),
        "funding": float(sum(one.funding.sum() for one in ledgers)),
        "roi_frac": float(pnl.sum()) / yardstick.capital,
        "mean_trade_pnl": _mean_trade(pnl, yardstick, intervals=intervals),
        "profit_factor": won / lost if lost > 0 else None,
        "exposure_frac": held / bars if bars else None,
        "mean_hold_bars": held / n if n else None,
        "decisions": {
            name: int(count)
            for name, count in zip(DECISION_STATES, np.asarray(states), strict=True)
        },
    }


def _in_order_of_exit(ledgers: Sequence[Ledger]) -> FloatArray:
    left_at = np.concatenate(
        [one.market.tape.bars.timestamp[one.fills.exit_row] for one in ledgers]
    )
    pnl = np.concatenate([one.pnl for one in ledgers])
    return pnl[np.argsort(left_at, kind="stable")]


def _mean_trade(pnl: FloatArray, yardstick: Yardstick, *, intervals: bool) -> dict[str, Any]:
    return block_bootstrap(
        pnl,
        lambda drawn: drawn.mean(axis=1),
        n_resamples=yardstick.n_resamples if intervals else 0,
        seed=yardstick.seed,
        unit="quote currency",
    ).as_dict()


def _of_equity(curve: Curve, yardstick: Yardstick, *, intervals: bool) -> dict[str, Any]:
    equity = yardstick.capital + curve.earned
    returns = daily_returns(curve.timestamp, equity, yardstick.capital)
    sharpe = _sharpe(returns, yardstick, intervals=intervals)
    probability = deflated_sharpe(moments_of(returns), n_trials=yardstick.n_trials)
    fall = drawdown(equity, yardstick.capital)
    return {
        "max_drawdown_frac": float(fall.max()) if len(fall) else 0.0,
        "sharpe_annual": _or_none(sharpe["value"]),
        "sharpe": sharpe,
        "deflated_sharpe": _or_none(probability),
        "n_trials": yardstick.n_trials,
        "n_days": len(returns),
        "final_equity": float(equity[-1]) if len(equity) else yardstick.capital,
    }


def _sharpe(returns: FloatArray, yardstick: Yardstick, *, intervals: bool) -> dict[str, Any]:
    scale = math.sqrt(yardstick.periods_per_year)
    if math.isnan(sharpe_ratio(returns)):
        returns = returns[:0]

    def ratios(drawn: FloatArray) -> FloatArray:
        spread = drawn.std(axis=1, ddof=1)
        # A resample may miss the few days that had a trade; it has no ratio then.
        found = np.full(len(drawn), np.nan)
        np.divide(drawn.mean(axis=1), spread, out=found, where=spread > 0)
        return found * scale

    return block_bootstrap(
        returns,
        ratios,
        n_resamples=yardstick.n_resamples if intervals else 0,
        seed=yardstick.seed,
        unit="per year",
    ).as_dict()


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
