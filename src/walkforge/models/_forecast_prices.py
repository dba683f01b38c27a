"""Forecast rows to prices.

Shapes: n decisions, H steps ahead, Q quantiles, K numbers of a forecast row
"""

from dataclasses import dataclass

import numpy as np

from walkforge.base import FloatArray

from ._forecast_row import ForecastRow


@dataclass(frozen=True, slots=True, eq=False)
class ForecastPrices:
    """What a forecaster expects, in the currency of the bars."""

    bars: FloatArray
    """Open, high, low, close of every step (n, H, 4): always a possible bar."""
    bands: FloatArray
    """Lower edge, middle and upper edge of the Bollinger band of log closes (n, H, 3)."""
    volatility: FloatArray
    """Of the horizon, a fraction per bar (n,)."""
    quantiles: FloatArray
    """Of the close of every step (n, H, Q), rising."""


def forecast_prices(
    row: ForecastRow,
    forecast: FloatArray,
    *,
    quantiles: FloatArray,
    last_close: FloatArray,
    sigma: FloatArray,
) -> ForecastPrices:
    """Return the prices of forecast rows (n, K), of which `quantiles` (n, H, Q) take the place
    of their own, from the close of the decision (n,) and the volatility before it (n,)."""
    parts = row.split(np.asarray(forecast, dtype=np.float64))
    middle, half = parts["band"][..., 0], parts["band"][..., 1]

    def price(in_sigma: FloatArray) -> FloatArray:
        return last_close[:, None, None] * np.exp(sigma[:, None, None] * in_sigma)

    return ForecastPrices(
        bars=price(parts["ohlc"]),
        bands=price(np.stack([middle - half, middle, middle + half], axis=-1)),
        volatility=sigma * np.exp(parts["volatility"][:, 0]),
        quantiles=price(quantiles),
    )
