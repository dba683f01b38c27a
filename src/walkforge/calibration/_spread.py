"""How far a forecaster's quantiles must move apart to be right as often as they say.

Shapes: n rows, H steps ahead, Q quantiles
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from walkforge.base import CalibrationError, FloatArray

# Beyond these a forecaster is broken, not badly spread; a search that ends here says so by it.
_NARROWEST, _WIDEST = 0.1, 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Per step ahead a factor on the distance of every quantile from the median."""

    factors_: Float64[np.ndarray, " H"]

    def apply(
        self, quantiles: Float[np.ndarray, "n H Q"], levels: Float64[np.ndarray, " Q"]
    ) -> Float64[np.ndarray, "n H Q"]:
        """Return the quantiles with their spread set right; their order stays."""
        quantiles = np.asarray(quantiles, dtype=np.float64)
        middle = quantiles[..., [_median(levels)]]
        return middle + self.factors_[:, None] * (quantiles - middle)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for a bundle; `Spread.from_dict` takes it back."""
        return {"factors": self.factors_.tolist()}

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> "Spread":
        """Return the spread that `as_dict` wrote; raise CalibrationError where it is damaged."""
        try:
            factors = np.array(plain["factors"], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise CalibrationError(f"spread {dict(plain)}: expected factors ({error})") from None
        if factors.ndim != 1 or not (np.isfinite(factors) & (factors > 0)).all():
            raise CalibrationError(f"spread factors {factors.tolist()}: expected positive numbers")
        return Spread(factors)


def no_spread(n_steps: int) -> Spread:
    """Return the spread that changes nothing."""
    return Spread(np.ones(n_steps))


def fit_spread(
    quantiles: Float[np.ndarray, "n H Q"],
    levels: Float64[np.ndarray, " Q"],
    realised: Float[np.ndarray, "n H"],
) -> Spread:
    """Return the factors with the least pinball loss on the calibration slice, step by step.

    The loss is convex in a factor (Koenker and Bassett 1978), so that a bounded search finds the
    one minimum. Raises CalibrationError for an empty slice or values that are not finite.
    """
    if len(quantiles) == 0:
        raise CalibrationError("spread of a forecast: no rows in the calibration slice")
    if not (np.isfinite(quantiles).all() and np.isfinite(realised).all()):
        raise CalibrationError(
            "spread of a forecast: NaN or Inf in the calibration slice. The network diverged; "
            "lower its learning rate."
        )
    steps = range(quantiles.shape[1])
    return Spread(np.array([_best(quantiles[:, h], levels, realised[:, h]) for h in steps]))


def _best(quantiles: FloatArray, levels: FloatArray, realised: FloatArray) -> float:
    from scipy.optimize import minimize_scalar

    middle = quantiles[:, [_median(levels)]].astype(np.float64)
    apart, missed = quantiles - middle, realised[:, None] - middle

    def loss(log_factor: float) -> float:
        gap = missed - np.exp(log_factor) * apart
        return float(np.maximum(levels * gap, (levels - 1.0) * gap).mean())

    bounds = (np.log(_NARROWEST), np.log(_WIDEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _median(levels: FloatArray) -> int:
    return int(np.argmin(np.abs(levels - 0.5)))
