"""A forecaster's quantiles to the classes of its study, by what the calibration slice taught.

Shapes: n rows, H steps ahead, Q quantiles, L limits, C = L + 1 classes
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from walkforge.base import CalibrationError

from ._quantile_rule import class_scores
from ._spread import Spread


@dataclass(frozen=True, slots=True, eq=False)
class ForecastClasses:
    """The rule by which a forecast of the last step's close becomes classes."""

    levels: Float64[np.ndarray, " Q"]
    spread: Spread
    limits: Float64[np.ndarray, " L"]
    """Between the classes: log returns over the horizon, or sigma where `in_sigma`."""
    in_sigma: bool

    def quantiles(self, forecast: Float[np.ndarray, "n H Q"]) -> Float64[np.ndarray, "n H Q"]:
        """Return the quantiles, in sigma as they came, with their spread set right."""
        return self.spread.apply(forecast, self.levels)

    def scores(
        self, forecast: Float[np.ndarray, "n H Q"], sigma: Float64[np.ndarray, " n"]
    ) -> Float64[np.ndarray, "n C"]:
        """Return the log probability of each class; see `class_scores`.

        `forecast` holds quantiles in sigma from the last close, `sigma` the volatility before each
        decision, a fraction per bar.
        """
        unit = np.ones_like(sigma) if self.in_sigma else sigma
        last_step = self.quantiles(forecast)[:, -1]
        return class_scores(last_step, self.levels, self.limits / unit[:, None])

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for a bundle; `ForecastClasses.from_dict` takes it back."""
        return {
            "levels": self.levels.tolist(),
            "spread": self.spread.as_dict(),
            "limits": self.limits.tolist(),
            "in_sigma": self.in_sigma,
        }

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> "ForecastClasses":
        """Return the rule that `as_dict` wrote; raise CalibrationError where it is damaged."""
        try:
            return ForecastClasses(
                levels=np.array(plain["levels"], dtype=np.float64),
                spread=Spread.from_dict(plain["spread"]),
                limits=np.array(plain["limits"], dtype=np.float64),
                in_sigma=bool(plain["in_sigma"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CalibrationError(f"forecast rule: something is missing ({error!r})") from None
