"""Gates on the backtest: is there anything left after costs that is more than luck?"""

from __future__ import annotations

import math
from dataclasses import replace

from . import _limits as limits
from ._evidence import Evidence, at, decimal, estimate, percent
from ._finding import Finding, above_zero, not_measured


def enough_trades(evidence: Evidence) -> Finding:
    """There are enough trades to speak of an average."""
    count = evidence.traded("pooled", "n_trades")
    if count is None:
        return not_measured("the number of trades", limits.LEAST_TRADES, _why_missing(evidence))
    return Finding(
        value=int(count),
        limit=limits.LEAST_TRADES,
        passed=count >= limits.LEAST_TRADES,
        reason=f"There are {int(count)} trades; at least {limits.LEAST_TRADES} are needed.",
    )


def net_profit(evidence: Evidence) -> Finding:
    """The backtest earns money after all costs."""
    pnl = evidence.traded("pooled", "pnl")
    if pnl is None:
        return not_measured("the profit after costs", 0.0, _why_missing(evidence))
    fees = evidence.traded("pooled", "fees")
    told = "" if fees is None else f", fees of {fees:.2f} paid"
    return Finding(
        value=pnl,
        limit=0.0,
        passed=pnl > 0,
        reason=f"All trades together made {pnl:+.2f}{told}; it must be above 0.",
    )


def mean_trade_profit(evidence: Evidence) -> Finding:
    """The average trade surely earns money after costs."""
    what = "The mean profit of a trade after costs"
    found = estimate(at(evidence.backtest, "pooled", "mean_trade_pnl"))
    if found is None or found.low is None:
        return not_measured(what, 0.0, _why_missing(evidence))
    p = _p_of(found.value, found.value - found.low)
    return above_zero(replace(found, p_above=p), what=what, text=decimal)


def beats_random_entries(evidence: Evidence) -> Finding:
    """Few portfolios of the same trades entered at random bars earn as much."""
    p = evidence.traded("random_entries", "p_value")
    if p is None:
        return not_measured(
            "how random entries would have done", limits.RANDOM_P, _why_missing(evidence)
        )
    draws = evidence.traded("random_entries", "n_draws")
    among = f" of {int(draws)} draws" if draws else ""
    return Finding(
        value=p,
        limit=limits.RANDOM_P,
        passed=p < limits.RANDOM_P,
        reason=(
            f"Entered at random bars, {percent(p)}{among} earn as much as this model (the model "
            f"counted as one); it must be below {percent(limits.RANDOM_P)}."
        ),
        p_value=p,
    )


def deflated_sharpe(evidence: Evidence) -> Finding:
    """The Sharpe ratio is above what the best of all trials would show by luck."""
    probability = evidence.traded("pooled", "deflated_sharpe")
    if probability is None:
        return not_measured(
            "the deflated Sharpe ratio", limits.DEFLATED_SHARPE, _why_missing(evidence)
        )
    trials = evidence.traded("pooled", "n_trials")
    among = f"{int(trials)} trials" if trials else "all trials"
    rival = "0" if trials == 1 else f"the luckiest of {among}"
    return Finding(
        value=probability,
        limit=limits.DEFLATED_SHARPE,
        passed=probability >= limits.DEFLATED_SHARPE,
        reason=(
            f"The Sharpe ratio is better than {rival} with a probability of "
            f"{percent(probability)}; at least {percent(limits.DEFLATED_SHARPE)} are needed."
        ),
        p_value=1.0 - probability,
    )


def _why_missing(evidence: Evidence) -> str:
    return "no backtest" if not evidence.backtest else "not enough trades or days for it"


def _p_of(value: float, below: float) -> float | None:
    """Return the p-value at which an interval that reaches `below` the value just touches 0.

    The interval is taken to stretch as a normal's would.
    """
    if below <= 0:
        return None
    return 0.5 * math.erfc(value / below * limits.SPREADS_95 / math.sqrt(2.0))
