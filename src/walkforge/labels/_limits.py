"""Scores to classes. Only `quantile` learns its limits, and only from the scores handed over."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int8

from walkforge.base import LabelError

from ._rule import LabelRule, class_names


@dataclass(frozen=True, slots=True)
class Limits:
    """Below `low` is down, above `high` is up, what lies between (limits included) is hold.

    With two classes there is one limit, `low` = `high`: above it is up, all else is down.
    """

    low: float
    high: float
    classes: tuple[str, ...] = ("down", "hold", "up")

    def classify(self, scores: Float64[np.ndarray, " n"]) -> Int8[np.ndarray, " n"]:
        """Return the index into `classes` of each score (n,), -1 where a score is NaN."""
        up = scores > self.high
        if len(self.classes) == 2:
            found = up.astype(np.int8)
        else:
            found = (1 + up.astype(np.int8) - (scores < self.low)).astype(np.int8)
        return np.where(np.isnan(scores), np.int8(-1), found)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for a bundle; `Limits.from_dict` takes it back."""
        return {"low": self.low, "high": self.high, "classes": list(self.classes)}

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> "Limits":
        """Return the limits that `as_dict` wrote; raise LabelError where they are damaged."""
        try:
            limits = Limits(
                float(plain["low"]), float(plain["high"]), tuple(map(str, plain["classes"]))
            )
        except (KeyError, TypeError, ValueError) as error:
            raise LabelError(
                f"label limits {dict(plain)}: expected low, high and classes ({error})"
            ) from None
        if not (math.isfinite(limits.low) and limits.low <= limits.high < math.inf):
            raise LabelError(f"label limits {limits.low} and {limits.high}: expected low <= high")
        return limits


def fit_limits(rule: LabelRule, train_scores: Float64[np.ndarray, " n"]) -> Limits:
    """Return the limits of `rule`; `quantile` learns them from `train_scores` (n,) alone.

    NaN scores are left out. `quantile` takes the terciles, so that the three classes are equally
    frequent among the training rows, ties apart. Raises LabelError where there are no scores, or
    where all of them are equal: whatever the limits, they hold one class only.
    """
    known = train_scores[~np.isnan(train_scores)]
    if len(known) == 0:
        raise LabelError(
            f"no training row has a {rule.kind} label; use more bars or a shorter horizon"
        )
    if known.min() == known.max():
        raise LabelError(
            f"all {len(known)} training rows have the same {rule.kind} score {known[0]:g}, "
            "expected at least two classes; use more bars, other labels, or check the prices "
            "with `walkforge data check`"
        )
    low, high = _limits_of(rule, known)
    return Limits(low, high, class_names(rule))


def _limits_of(rule: LabelRule, scores: Float64[np.ndarray, " n"]) -> tuple[float, float]:
    if rule.kind == "threshold":
        # A move of exactly 1.2 %, up or down, in the log returns that the scores are.
        return math.log1p(-rule.threshold_frac), math.log1p(rule.threshold_frac)
    if rule.kind == "quantile":
        low, high = np.quantile(scores, [1 / 3, 2 / 3])
        return float(low), float(high)
    if rule.kind == "volatility":
        return -rule.volatility_multiple, rule.volatility_multiple
    if rule.kind == "triple_barrier":
        return -0.5, 0.5  # scores are -1, 0 and 1
    return 0.0, 0.0
