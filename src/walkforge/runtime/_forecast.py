"""A forecaster's outputs to scores of classes and to columns of prices.

Shapes: n rows, K numbers of a forecast row
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from walkforge.base import FloatArray, IntArray
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
        return self.classes.scores(quantiles, self._sigma(bars, rows))

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
            sigma=self._sigma(bars, rows),
        )
        names = [f"q_{round(100 * level):02d}" for level in self.row.levels]
        columns: dict[str, FloatArray] = {}
        for step in range(self.row.horizon_bars):
            for kinds, values in (
                (_BAR, prices.bars),
                (_BAND, prices.bands),
                (names, prices.quantiles),
            ):
                columns |= {
                    f"{kind}_{step + 1}": values[:, step, k] for k, kind in enumerate(kinds)
                }
        return columns | {"volatility": prices.volatility}

    def _sigma(self, bars: Bars, rows: IntArray) -> FloatArray:
        return past_volatility(bars, self.volatility_bars)[rows]
