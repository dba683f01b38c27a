"""What each limit of the gates costs: how many markets would pass if it stood elsewhere.

A gate that is a test has a limit on its p-value; the others have one on the number they measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from walkforge.gates import LIMITS

from ._rates import MarketVerdict

# The lower end of a 95 % interval above the limit says the same as p below this.
_P_OF_INTERVAL = 0.025
P_LIMITS = {
    "beats_random_entries": LIMITS["RANDOM_P"],
    "deflated_sharpe": 1.0 - LIMITS["DEFLATED_SHARPE"],
}
_LESS_PASSES = ("calibrated", "train_test_gap")
# Of faults no other number than none makes sense; the last one measures a share or a gap.
_WITHOUT_CURVE = ("finite_numbers", "no_alarm", "not_overconfident")


def limit_curves(verdicts: Sequence[MarketVerdict]) -> dict[str, dict[str, Any]]:
    """Return per gate what it would take to draw the share that passes over its limit.

    `by` is `p_value` or `value`, `limit` the one in force (the median, where it differs from
    market to market), `less_passes` whether smaller values pass, and `values` those of the
    markets, rising. What was not measured is left out of `values` and passes nowhere, nor does
    what failed its gate by something else than this number.
    """
    names = dict.fromkeys(name for one in verdicts for name in one.gates)
    curves = {}
    for name in names:
        tested = sorted(one.p_values[name] for one in verdicts if name in one.p_values)
        if tested:
            limit = P_LIMITS.get(name, _P_OF_INTERVAL)
            curves[name] = _curve("p_value", tested, limit, less_passes=True)
        elif name not in _WITHOUT_CURVE and any(name in one.measured for one in verdicts):
            less = name in _LESS_PASSES
            pairs = [one.measured[name] for one in verdicts if _by_number(one, name, less=less)]
            limit = median(one.measured[name][1] for one in verdicts if name in one.measured)
            values = sorted(value for value, _ in pairs)
            curves[name] = _curve("value", values, limit, less_passes=less)
    return curves


def _by_number(one: MarketVerdict, name: str, *, less: bool) -> bool:
    """Return whether the number alone says why the gate was passed or failed."""
    if name not in one.measured:
        return False
    value, limit = one.measured[name]
    return (value <= limit if less else value >= limit) == (name not in one.failed)


def _curve(by: str, values: list[float], limit: float, *, less_passes: bool) -> dict[str, Any]:
    return {"by": by, "limit": limit, "less_passes": less_passes, "values": values}
