"""Platt scaling for several classes: a slope and an offset per class."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from walkforge.base import CalibrationError, FloatArray

from ._scores import log_softmax, row_by_row, softmax
from ._slice import Slice
from ._temperature import best_temperature

_LARGEST_SLOPE, _LARGEST_OFFSET = 20.0, 20.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Platt:
    """Probabilities are softmax(slope_c * log_softmax(logits / T)_c + offset_c), c a class.

    This is Platt's sigmoid (1999) in its multi-class form, called vector scaling by Guo et al.
    (2017); for two classes it is a logistic curve of the two log probabilities. The log softmax
    first makes it blind to a constant that a network may add to all logits of a row.
    """

    KIND: ClassVar[str] = "platt"
    MIN_ROWS: ClassVar[int] = 100

    temperature_: float
    slope_: list[float]
    offset_: list[float]
    n_classes: int
    n_rows: int
    note: str = ""

    def apply(self, logits: Float[np.ndarray, "rows classes"]) -> Float[np.ndarray, "rows classes"]:
        slope, offset = np.array(self.slope_), np.array(self.offset_)

        def probabilities(finite: FloatArray) -> FloatArray:
            return softmax(log_softmax(finite / self.temperature_) * slope + offset)

        return row_by_row(logits, probabilities, n_classes=self.n_classes)

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.KIND,
            "n_classes": self.n_classes,
            "n_rows": self.n_rows,
            "note": self.note,
            "temperature": self.temperature_,
            "slope": list(self.slope_),
            "offset": list(self.offset_),
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> "Platt":
        return cls(
            temperature_=float(d["temperature"]),
            slope_=[float(value) for value in d["slope"]],
            offset_=[float(value) for value in d["offset"]],
            n_classes=int(d["n_classes"]),
            n_rows=int(d["n_rows"]),
            note=str(d["note"]),
        )


def fit_platt(rows: Slice) -> Platt:
    """Find slopes and offsets with the lowest loss over the slice, near the temperature's answer.

    One normal prior of width 1 around slope 1 and offset 0 weighs as much as one row: it keeps
    the offset of a class without rows finite and is not felt otherwise. Slopes stay at 0 or
    above: a calibrator may doubt a score but not turn it round.
    """
    temperature, note = best_temperature(rows)
    n_classes = rows.n_classes
    slope, offset = [1.0] * n_classes, [0.0] * n_classes
    if rows.teaches:
        slope, offset = _best_line(log_softmax(rows.logits / temperature), rows)
        note = f"no row of class {rows.absent} in the calibration slice" if rows.absent else ""
    return Platt(
        temperature_=temperature,
        slope_=slope,
        offset_=offset,
        n_classes=n_classes,
        n_rows=len(rows.labels),
        note=note,
    )


def _best_line(scores: FloatArray, rows: Slice) -> tuple[list[float], list[float]]:
    from scipy.optimize import minimize

    n_rows, n_classes = scores.shape
    start = np.concatenate([np.ones(n_classes), np.zeros(n_classes)])
    truth = np.eye(n_classes)[rows.labels]

    def loss_and_slope(theta: FloatArray) -> tuple[float, FloatArray]:
        log_p = log_softmax(scores * theta[:n_classes] + theta[n_classes:])
        miss = np.exp(log_p) - truth
        pull = (theta - start) / n_rows
        loss = -np.mean((log_p * truth).sum(axis=1)) + 0.5 * float((theta - start) @ pull)
        return loss, np.concatenate([(miss * scores).mean(axis=0), miss.mean(axis=0)]) + pull

    bounds = [(0.0, _LARGEST_SLOPE)] * n_classes + [(-_LARGEST_OFFSET, _LARGEST_OFFSET)] * n_classes
    found = minimize(
        loss_and_slope,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-9},
    )
    if not np.isfinite(found.fun):
        raise CalibrationError(
            f"platt calibration: no finite loss over {n_rows} rows; choose temperature"
        )
    return found.x[:n_classes].tolist(), found.x[n_classes:].tolist()
