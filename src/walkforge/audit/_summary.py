"""Verdicts of many markets to rates: how many were let out, by which gates the others were held.

`exact` gates ask whether a number that is nothing but luck on null markets lies above its limit:
there their p-values must be uniform. Those of the others need not be. What their number is there
is not luck alone: a network pays for what it learned of noise in log loss, a learned baseline pays
as well and perhaps more, and trades pay fees (without costs the gates on profit are exact, too).
A gate on trades is no test of a model that hardly trades.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from walkforge.statistics import binomial_interval, uniformity

from ._limit_curves import limit_curves
from ._rates import MarketVerdict

_EXACT = ("beats_chance", "knows_direction", "beats_random_entries")
_EXACT_WITHOUT_COSTS = ("mean_trade_profit", "deflated_sharpe")
_ON_TRADES = ("beats_random_entries", *_EXACT_WITHOUT_COSTS)
SMALL_P = 0.05
# Of fewer markets a distribution says nothing.
_FEWEST_P_VALUES = 20
ENOUGH_POWER = 0.95


def summary(verdicts: Sequence[MarketVerdict], *, costs: bool) -> dict[str, Any]:
    """Return rates, with 95 % intervals, of the verdicts of independent markets, as plain data.

    `costs` says whether trades paid any.
    """
    n = len(verdicts)
    ratios = [one.sharpe_annual for one in verdicts if one.sharpe_annual is not None]
    failed = Counter(name for one in verdicts for name in one.failed)
    alone = Counter(one.failed[0] for one in verdicts if len(one.failed) == 1)
    names = list(dict.fromkeys(name for one in verdicts for name in one.gates))
    return {
        "n_markets": n,
        "n_fit": sum(one.fit for one in verdicts),
        "rate": asdict(binomial_interval(sum(one.fit for one in verdicts), n)),
        "sharpe_annual_mean": float(np.mean(ratios)) if ratios else None,
        "n_trades_mean": float(np.mean([one.n_trades for one in verdicts])),
        "gates": {
            name: {
                "passed": asdict(binomial_interval(n - failed[name], n)),
                "alone": alone[name],
            }
            for name in names
        },
        "limits": limit_curves(verdicts),
        "p_values": _p_values(verdicts, _EXACT if costs else (*_EXACT, *_EXACT_WITHOUT_COSTS)),
        "alarms": dict(Counter(alarm for one in verdicts for alarm in one.alarms)),
        "seconds": sum(one.seconds for one in verdicts),
    }


def _p_values(verdicts: Sequence[MarketVerdict], exact: Sequence[str]) -> dict[str, Any]:
    """Return of every gate that is a test its p-values, rising, and whether they are uniform."""
    found = {}
    for name in dict.fromkeys(name for one in verdicts for name in one.p_values):
        asked = [one for one in verdicts if name in one.p_values and _is_test(name, one)]
        values = sorted(one.p_values[name] for one in asked)
        if len(values) < _FEWEST_P_VALUES:
            continue
        small = sum(value < SMALL_P for value in values)
        found[name] = {
            "exact": name in exact,
            "uniformity": asdict(uniformity(values)),
            "below_5_percent": asdict(binomial_interval(small, len(values))),
            "values": values,
        }
    return found


def _is_test(name: str, one: MarketVerdict) -> bool:
    return name not in _ON_TRADES or "enough_trades" not in one.failed


def power_reached(results: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return the smallest measured edges that are let out often enough.

    `rate`: the share itself is at least 95 %; `surely`: the lower end of its interval is. An edge
    counts where all stronger ones do as well; None where none does.
    """
    ways = {"rate": "value", "surely": "low"}
    return {way: _smallest(results, end) for way, end in ways.items()}


def _smallest(results: Sequence[dict[str, Any]], end: str) -> float | None:
    smallest = None
    for one in sorted(results, key=lambda one: -one["oracle"]["sharpe"]):
        if one["rate"][end] < ENOUGH_POWER:
            break
        smallest = one["oracle"]["sharpe"]
    return smallest
