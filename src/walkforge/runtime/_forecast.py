"""A forecaster's outputs to scores of classes and to columns of prices.

Shapes: N bars, n rows, K numbers of a forecast row
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforge.base import BoolArray, FloatArray, IntArray
from walkforge.calibration import ForecastClasses
from walkforge.market import Bars, past_volatility

if TYPE_CHECKING:
    from walkforge.models import ForecastRow

_BAR = ("open", "high", "low", "close")
_BAND = ("band_low", "band_mid", "band_high")


@dataclass(frozen=True, slots=True, eq=False)
class ForecastReader:
    """Reads the outputs of a bundle that forecasts, as its run read them."""

    row: ForecastRow
    classes: ForecastClasses
    volatility_bars: int

    def scores(self, outputs: FloatArray, bars: Bars, rows: IntArray) -> FloatArray:
        """Return log probabilities of the classes (n, C), not yet calibrated."""
        quantiles = self.row.split(outputs)["quantiles"]
        return self.classes.scores(quantiles, self.sigma(bars, rows))

    @property
    def names(self) -> list[str]:
        """Return the columns of prices in order: step by step, and last the volatility."""
        quantiles = self.row.quantile_names
        steps = range(1, self.row.horizon_bars + 1)
        kinds = (*_BAR, *_BAND, *quantiles)
        return [*(f"{kind}_{step}" for step in steps for kind in kinds), "volatility"]

    def has_volatility(self, bars: Bars) -> BoolArray:
        """Tell which bars (N,) have a past volatility, which is the unit of every forecast."""
        return np.isfinite(past_volatility(bars, self.volatility_bars))

    def price_columns(
        self, outputs: FloatArray, bars: Bars, rows: IntArray
    ) -> dict[str, FloatArray]:
        """Return a column (n,) per price that is forecast, by name and step ahead."""
        from walkforge.models import forecast_prices

        prices = forecast_prices(
            self.row,
            outputs,
            quantiles=self.classes.quantiles(self.row.split(outputs)["quantiles"]),
            last_close=bars.close[rows],
            sigma=self.sigma(bars, rows),
        )
        kinds = (prices.bars, prices.bands, prices.quantiles)
        by_step = np.concatenate(kinds, axis=2).reshape(len(rows), -1)
        columns = dict(zip(self.names, by_step.T, strict=False))
        return columns | {"volatility": prices.volatility}

    def sigma(self, bars: Bars, rows: IntArray) -> FloatArray:
        """Return the volatility before each decision (n,), the unit of its forecast."""
        return past_volatility(bars, self.volatility_bars)[rows]
