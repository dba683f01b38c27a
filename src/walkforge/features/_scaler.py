"""Scalers: learned on training rows, then applied to any row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from walkforge.base import FeatureError, FloatArray, one_of

CLIP = 10.0
"""Scaled values are held within ±CLIP."""

MIN_ROWS = 10
"""Fewer rows tell nothing about a column's middle and spread."""

# A spread that is this small beside the column's largest value is the rounding of float32, not
# information; dividing by it would blow noise up to full size.
_ROUNDING_SHARE = 1e-6

Summary = Callable[[FloatArray], tuple[float, float]]


@dataclass(frozen=True, slots=True, eq=False)
class Scaler:
    """(X − center_) / scale_ per column, held within ±CLIP; both (F,) float64, scale_ > 0."""

    kind: str
    center_: FloatArray
    scale_: FloatArray

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the scaled values of X (n, F), a new float32 array; NaN stays NaN.

        Raises FeatureError for another number of columns.
        """
        if X.ndim != 2 or X.shape[1] != len(self.center_):
            raise FeatureError(
                f"scaler: found features of shape {X.shape}, expected {len(self.center_)} columns, "
                "those it was fitted on"
            )
        scaled = np.empty(X.shape, dtype=np.float32)
        np.subtract(X, self.center_, out=scaled, casting="same_kind")
        np.divide(scaled, self.scale_, out=scaled, casting="same_kind")
        return np.clip(scaled, -CLIP, CLIP, out=scaled)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data; `from_dict` gives the same scaler back to the last bit."""
        return {
            "kind": self.kind,
            "center": self.center_.tolist(),
            "scale": self.scale_.tolist(),
            "clip": CLIP,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Scaler":
        """Return the scaler of `as_dict`; raise FeatureError where a part is missing or absurd."""
        try:
            kind, clip = data["kind"], data["clip"]
            center = np.asarray(data["center"], dtype=np.float64)
            scale = np.asarray(data["scale"], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise FeatureError(
                f"scaler: cannot read it ({error!r}); expected kind, center, scale and clip as "
                "`Scaler.as_dict` writes them"
            ) from None
        sound = center.ndim == 1 and center.shape == scale.shape and kind in _SUMMARIES
        if not (sound and np.isfinite([*center, *scale]).all() and (scale > 0).all()):
            raise FeatureError(
                f"scaler of kind {kind!r}: found centers {center.shape} and scales {scale.shape}, "
                f"expected as many finite centers as positive scales and one of {_kinds()}"
            )
        if clip != CLIP:
            raise FeatureError(f"scaler: found clip {clip}, expected {CLIP}; fit it anew")
        return cls(kind=kind, center_=center, scale_=scale)


def fit_scaler(kind: str, X: NDArray[np.floating]) -> Scaler:
    """Learn a scaler from training rows X (n, F), n >= MIN_ROWS, all finite.

    `standard` uses mean and standard deviation, `robust` median and interquartile range (the
    standard deviation where half of the values are the same), `none` 0 and 1. A column that is
    constant within float32 gets scale 1. Raises UsageError for another kind, FeatureError for X.
    """
    summary = _SUMMARIES[one_of("scaler", kind, _SUMMARIES)]
    if X.ndim != 2 or len(X) < MIN_ROWS:
        raise FeatureError(
            f"scaler {kind!r}: found training rows of shape {X.shape}, expected at least "
            f"{MIN_ROWS} rows; widen the training slice or shorten the look-back"
        )
    learned = np.empty((2, X.shape[1]))
    for number in range(X.shape[1]):
        values = X[:, number].astype(np.float64)
        if not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            raise FeatureError(
                f"scaler {kind!r}: row {row} of column {number} is {values[row]}, expected a "
                "finite number; fit on valid rows only"
            )
        learned[:, number] = summary(values)
    return Scaler(kind=kind, center_=learned[0], scale_=learned[1])


def _mean_and_deviation(values: FloatArray) -> tuple[float, float]:
    center = float(values.mean())
    return center, _spread_or_one(values, float(values.std()))


def _median_and_quartile_range(values: FloatArray) -> tuple[float, float]:
    low, center, high = np.percentile(values, [25, 50, 75])
    return float(center), _spread_or_one(values, float(high - low), float(values.std()))


def _zero_and_one(values: FloatArray) -> tuple[float, float]:
    return 0.0, 1.0


def _spread_or_one(values: FloatArray, *spreads: float) -> float:
    """Return the first spread that is more than rounding, or 1."""
    rounding = _ROUNDING_SHARE * max(abs(float(values.min())), abs(float(values.max())))
    return next((spread for spread in spreads if spread > rounding), 1.0)


_SUMMARIES: dict[str, Summary] = {
    "standard": _mean_and_deviation,
    "robust": _median_and_quartile_range,
    "none": _zero_and_one,
}


def _kinds() -> str:
    return ", ".join(_SUMMARIES)
