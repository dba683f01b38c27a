"""What was measured, and how to look a number up without tripping over one that is not there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any


@dataclass(frozen=True, slots=True)
class Evidence:
    """The plain data of `metrics.json`, `diagnostics.json`, `backtest.json`, `data_info.json`.

    Each may be None. `alarms` are those raised by the same evidence.
    """

    metrics: Any = None
    diagnostics: Any = None
    backtest: Any = None
    data_info: Any = None
    alarms: tuple[str, ...] = ()

    def pooled(self, name: str) -> Estimate | None:
        """Return a measure of the model over all rows."""
        return estimate(at(self.metrics, "model", "pooled", name))

    def diagnosed(self, *path: str) -> float | None:
        """Return a number of the diagnostics."""
        return number(at(self.diagnostics, *path))

    def traded(self, *path: str) -> float | None:
        """Return a number of the backtest."""
        return number(at(self.backtest, *path))

    @property
    def classes(self) -> list[str]:
        """Return the names of the classes, none where nothing was measured."""
        found = at(self.metrics, "model", "pooled", "confusion_matrix", "labels")
        return list(found) if isinstance(found, list | tuple) else []

    @property
    def true_shares(self) -> list[float]:
        """Return each class's share of the labels, none where nothing was measured."""
        counts = at(self.metrics, "model", "pooled", "confusion_matrix", "counts")
        if not isinstance(counts, list):
            return []
        rows = [sum(row) for row in counts]
        total = sum(rows)
        return [row / total for row in rows] if total else []

    @property
    def predicted_shares(self) -> dict[str, float]:
        """Return each class's share of the predictions, none where nothing was measured."""
        found = entries(self.diagnostics, "class_shares", "predicted")
        shares = {name: number(share) for name, share in found.items()}
        return {name: share for name, share in shares.items() if share is not None}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval, where there is one."""

    value: float
    low: float | None
    high: float | None
    p_above: float | None = None
    """One-sided p-value against its limit, where it was measured."""

    def span(self, text: Any) -> str:
        """Return the interval in brackets, each end written by `text`."""
        if self.low is None or self.high is None:
            return "(no interval)"
        return f"(95 % interval {text(self.low)} to {text(self.high)})"


def at(data: Any, *path: Any) -> Any:
    """Return `data[key][key]...`, or None as soon as one of them is not there."""
    for key in path:
        if not isinstance(data, Mapping) or key not in data:
            return None
        data = data[key]
    return data


def entries(data: Any, *path: Any) -> Mapping[str, Any]:
    """Return the mapping at the end of a path, an empty one where there is none."""
    found = at(data, *path)
    return found if isinstance(found, Mapping) else {}


def number(found: Any) -> float | None:
    """Return a finite number, that of a measure too; None for anything else, NaN among it."""
    value = found.get("value") if isinstance(found, Mapping) else found
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    return float(value) if math.isfinite(value) else None


def estimate(found: Any) -> Estimate | None:
    """Return a measure as an estimate, None where it has no value."""
    value = number(found)
    if value is None:
        return None
    return Estimate(value, *(number(at(found, key)) for key in ("low", "high", "p_above")))


def percent(value: float) -> str:
    """Return a fraction as it is read aloud."""
    return f"{100 * value:.1f} %"


def decimal(value: float) -> str:
    """Return a number with four decimals."""
    return f"{value:.4f}"
