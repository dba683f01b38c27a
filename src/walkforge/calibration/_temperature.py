"""Temperature scaling: one number that makes all scores more or less sure."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from walkforge.base import FloatArray

from ._scores import row_by_row, softmax
from ._slice import Slice

# Bounds of 1/T for logits whose centred spread is 1: at 0.01 all classes are as good as equally
# likely, at 100 every row is as good as certain. Nothing worth having lies beyond.
_SOFTEST, _SHARPEST = 0.01, 100.0
# No network is made more than ten times as sure as it is. Stretching logits that hardly differ
# (those of a class prior, say) until they fit the slice would be learning its luck by heart.
_LOWEST_TEMPERATURE = 0.1
# Logits closer than this are rounding, and stretching them would invent an opinion.
_AS_GOOD_AS_EQUAL = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Temperature:
    """Probabilities are softmax(logits / T). One T for all classes: the order never changes.

    Source: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", 2017.
    """

    KIND: ClassVar[str] = "temperature"
    MIN_ROWS: ClassVar[int] = 30

    temperature_: float
    n_classes: int
    n_rows: int
    note: str = ""

    def apply(self, logits: Float[np.ndarray, "rows classes"]) -> Float[np.ndarray, "rows classes"]:
        return row_by_row(
            logits, lambda finite: softmax(finite / self.temperature_), n_classes=self.n_classes
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.KIND,
            "n_classes": self.n_classes,
            "n_rows": self.n_rows,
            "note": self.note,
            "temperature": self.temperature_,
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> "Temperature":
        return cls(
            temperature_=float(d["temperature"]),
            n_classes=int(d["n_classes"]),
            n_rows=int(d["n_rows"]),
            note=str(d["note"]),
        )


def fit_temperature(rows: Slice) -> Temperature:
    """Find the T with the lowest mean negative log likelihood over the slice.

    The loss is convex in 1/T, so its slope changes sign once; the search runs over log T, between
    bounds that scale with the logits, and never below 0.1. At a bound T is the bound. Logits that
    are the same for all classes, or a slice with one class only, teach nothing: T stays 1.
    """
    temperature, note = best_temperature(rows)
    return Temperature(
        temperature_=temperature, n_classes=rows.n_classes, n_rows=len(rows.labels), note=note
    )


def best_temperature(rows: Slice) -> tuple[float, str]:
    """Return T and, where the slice could not decide it, why."""
    from scipy.optimize import brentq

    centred = rows.logits - rows.logits.mean(axis=1, keepdims=True)
    # The largest logit comes out first, so that squares of huge logits do not overflow.
    largest = float(np.abs(centred).max())
    if not rows.teaches:
        return 1.0, "one class only in the calibration slice: temperature left at 1"
    if largest < _AS_GOOD_AS_EQUAL:
        return 1.0, "all logits are equal: temperature left at 1"
    spread = largest * float(np.sqrt(np.mean((centred / largest) ** 2)))
    unit = centred / spread

    def slope_at(log_sharpness: float) -> float:
        return _slope(np.exp(log_sharpness), unit, rows)

    sharpest = min(_SHARPEST, spread / _LOWEST_TEMPERATURE)
    softest = min(_SOFTEST, sharpest / 100.0)
    if slope_at(np.log(softest)) >= 0:
        return spread / softest, "the logits carry no information: temperature at its upper bound"
    if slope_at(np.log(sharpest)) <= 0:
        return spread / sharpest, "the logits could be surer: temperature at its lower bound"
    best = brentq(slope_at, np.log(softest), np.log(sharpest), xtol=1e-12)
    return spread / float(np.exp(best)), ""


def _slope(sharpness: float, unit: FloatArray, rows: Slice) -> float:
    """Return d(mean loss)/d(1/T): the logit that is expected, less the one that came true."""
    expected = (softmax(unit * sharpness) * unit).sum(axis=1)
    came_true = np.take_along_axis(unit, rows.labels[:, None], axis=1)[:, 0]
    return float(np.mean(expected - came_true))
