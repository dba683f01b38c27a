"""The numbers that a forecaster says of one decision, and where each stands in its row.

Shapes: H steps ahead, Q quantiles, K numbers of a row
"""

import itertools
from dataclasses import dataclass
from typing import Any

from walkforge.base import TrainingError

LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_BAR = ("open", "high", "low", "close")
_BAND = ("band_mid", "band_half")


@dataclass(frozen=True, slots=True)
class ForecastRow:
    """Bars, Bollinger bands, volatility and quantiles of the close, in this order.

    All but the volatility are log ratios to the last close in sigma, the volatility before the
    decision: a price is the last close times exp(sigma x). `volatility` is the log of the
    horizon's volatility over sigma.
    """

    horizon_bars: int
    levels: tuple[float, ...] = LEVELS

    def __post_init__(self) -> None:
        if self.horizon_bars < 1:
            raise TrainingError(f"horizon_bars is {self.horizon_bars}; expected at least 1")
        rising = all(low < high for low, high in itertools.pairwise((0.0, *self.levels, 1.0)))
        if not rising or 0.5 not in self.levels:
            raise TrainingError(
                f"quantile levels are {list(self.levels)}; expected rising numbers between 0 and "
                "1, the median 0.5 among them"
            )

    @property
    def n_numbers(self) -> int:
        """Return K."""
        return self.horizon_bars * (len(_BAR) + len(_BAND) + len(self.levels)) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """Return what each of the K numbers is, in order."""
        steps = range(1, self.horizon_bars + 1)
        return (
            *(f"{name}_{step}" for step in steps for name in _BAR),
            *(f"{name}_{step}" for step in steps for name in _BAND),
            "volatility",
            *(f"{name}_{step}" for step in steps for name in self.quantile_names),
        )

    @property
    def quantile_names(self) -> tuple[str, ...]:
        """Return what the quantile of each level is called: `q_05` is that of 0.05."""
        return tuple(f"q_{round(100 * level):02d}" for level in self.levels)

    def split_targets(self, targets: Any) -> dict[str, Any]:
        """Return views of what came true [..., 6 H + 1], as `labels.forecast_targets` orders it:
        `ohlc` [..., H, 4], `band` [..., H, 2] and `volatility` [..., 1], no logarithm of it."""
        steps, lead = self.horizon_bars, targets.shape[:-1]
        bars, bands = steps * len(_BAR), steps * len(_BAND)
        return {
            "ohlc": targets[..., :bars].reshape(*lead, steps, len(_BAR)),
            "band": targets[..., bars : bars + bands].reshape(*lead, steps, len(_BAND)),
            "volatility": targets[..., bars + bands :],
        }

    def split(self, row: Any) -> dict[str, Any]:
        """Return views of a tensor or array [..., K]: `ohlc` [..., H, 4], `band` [..., H, 2],
        `volatility` [..., 1] and `quantiles` [..., H, Q]."""
        steps, lead = self.horizon_bars, row.shape[:-1]
        bars, bands = steps * len(_BAR), steps * len(_BAND)
        return {
            "ohlc": row[..., :bars].reshape(*lead, steps, len(_BAR)),
            "band": row[..., bars : bars + bands].reshape(*lead, steps, len(_BAND)),
            "volatility": row[..., bars + bands : bars + bands + 1],
            "quantiles": row[..., bars + bands + 1 :].reshape(*lead, steps, len(self.levels)),
        }
