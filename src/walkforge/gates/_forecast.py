"""Gates on price forecasts: are they surely nearer than what costs nothing?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._evidence import Estimate, Evidence, at, entries, number
from ._finding import Finding, Gate, above_zero

_LOSSES = {
    "crps": ("CRPS saved", "bps"),
    "squared_error": ("Squared error saved", "bps²"),
}


def forecast_gates(metrics: Mapping[str, Any] | None) -> dict[str, Gate]:
    """Return a gate per baseline that a run's forecasts were held against, by name."""
    against = entries(metrics, "forecast", "better_than")
    return {f"forecast_beats_{name}": forecast_beats(name) for name in against}


def forecast_beats(baseline: str) -> Gate:
    """Return the gate that asks for a loss surely below that of a baseline's forecasts.

    It is the CRPS where the baseline says how unsure it is, else the squared error of the close:
    a range would beat one price by CRPS whatever it knows.
    """

    def gate(evidence: Evidence) -> Finding:
        tests = at(evidence.metrics, "forecast", "better_than", baseline)
        ranges = bool(at(tests, "crps", "baseline_has_quantiles"))
        loss = "crps" if ranges else "squared_error"
        words, unit = _LOSSES[loss]
        found = at(tests, loss)
        mean = number(at(found, "mean_difference"))
        return above_zero(
            None
            if mean is None
            else Estimate(mean, number(at(found, "low")), number(at(found, "high"))),
            what=f"{words} against the forecasts of {baseline.replace('_', ' ')!r}, in {unit},",
            text=lambda value: f"{value:.3g}",
            why_missing=str(at(found, "reason") or ""),
        )

    return gate
