"""Isotonic calibration: per class, the rising curve that fits the slice best."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from walkforge.base import FloatArray

from ._scores import margins, normalise, row_by_row, softmax
from ._slice import Slice

Curve = tuple[list[float], list[float]]
"""Log odds, rising, and the share of hits there; straight lines between, flat outside."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Isotonic:
    """One curve per class against the rest, from log odds to hit rate; then rows sum to 1.

    `curves_` holds None for a class that the slice has no rows of, or nothing else: its softmax
    probability is taken as it is. `floor_` is the least weight of a class before rows are
    divided by their sum.
    """

    KIND: ClassVar[str] = "isotonic"
    MIN_ROWS: ClassVar[int] = 200

    curves_: list[Curve | None]
    floor_: float
    n_classes: int
    n_rows: int
    note: str = ""

    def apply(self, logits: Float[np.ndarray, "rows classes"]) -> Float[np.ndarray, "rows classes"]:
        return row_by_row(logits, self._probabilities, n_classes=self.n_classes)

    def _probabilities(self, logits: FloatArray) -> FloatArray:
        odds, plain = margins(logits), softmax(logits)
        columns = [
            plain[:, k] if curve is None else _along(curve, odds[:, k])
            for k, curve in enumerate(self.curves_)
        ]
        return normalise(np.maximum(np.stack(columns, axis=1), self.floor_))

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.KIND,
            "n_classes": self.n_classes,
            "n_rows": self.n_rows,
            "note": self.note,
            "floor": self.floor_,
            "curves": [
                curve and {"log_odds": curve[0], "share": curve[1]} for curve in self.curves_
            ],
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> "Isotonic":
        return cls(
            curves_=[
                curve
                and ([float(x) for x in curve["log_odds"]], [float(y) for y in curve["share"]])
                for curve in d["curves"]
            ],
            floor_=float(d["floor"]),
            n_classes=int(d["n_classes"]),
            n_rows=int(d["n_rows"]),
            note=str(d["note"]),
        )


def fit_isotonic(rows: Slice) -> Isotonic:
    """Fit one rising curve per class by pooling adjacent violators (Zadrozny and Elkan 2002).

    The curve of a rare class ends in exact zeros. The floor is 1 / (n + C): a slice of n rows
    cannot tell a rarer class from none, and a zero would make the log loss infinite.
    """
    n_rows, n_classes = rows.logits.shape
    odds = margins(rows.logits)
    curves = [_curve(odds[:, k], rows.labels == k) for k in range(n_classes)]
    missing = [k for k, curve in enumerate(curves) if curve is None]
    return Isotonic(
        curves_=curves,
        floor_=1.0 / (n_rows + n_classes),
        n_classes=n_classes,
        n_rows=n_rows,
        note=f"class {missing}: no rows, or no others, so its softmax stays" if missing else "",
    )


def _curve(odds: FloatArray, hit: np.ndarray) -> Curve | None:
    if hit.all() or not hit.any():
        return None
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(odds, hit.astype(np.float64))
    return fitted.X_thresholds_.tolist(), fitted.y_thresholds_.tolist()


def _along(curve: Curve, odds: FloatArray) -> FloatArray:
    """Return the curve at each point; written out, as np.interp differs for few and many points."""
    x, y = np.array(curve[0]), np.array(curve[1])
    if len(x) == 1:
        return np.full(len(odds), y[0])
    inside = np.clip(odds, x[0], x[-1])
    left = np.clip(np.searchsorted(x, inside, side="right") - 1, 0, len(x) - 2)
    way = (inside - x[left]) / (x[left + 1] - x[left])
    return y[left] + way * (y[left + 1] - y[left])
