"""Sampled tokens after decisions at bars of one series, as rows of a forecast.

Shapes: n bars, B decisions, N paths of each, S steps ahead, K numbers of a forecast row
"""

import numpy as np
from jaxtyping import Float, Integer

from ._paths import BAND_BARS, PathForecast, forecast_paths
from ._tokenizer import Tokenizer


def path_forecasts(
    tokens_BNS: Integer[np.ndarray, "B N S"],
    tokenizer: Tokenizer,
    *,
    close: Float[np.ndarray, " n"],
    rows_B: Integer[np.ndarray, " B"],
    sigma_B: Float[np.ndarray, " B"],
    levels: tuple[float, ...],
) -> Float[np.ndarray, "B K"]:
    """Return what the paths of decisions at `rows_B` of the closes expect, see `forecast_paths`.

    A row's numbers are bars, bands, volatility and quantiles, flattened one after the other. As
    many closes as the tokenizer's `volatility_bars` stand before each decision, and 19.
    """
    n_returns = tokenizer.rule.volatility_bars
    found = forecast_paths(
        tokens_BNS,
        tokenizer.centres,
        returns_Bn=np.diff(np.log(close[rows_B[:, None] + np.arange(-n_returns, 1)]), axis=1),
        closes_Bw=close[rows_B[:, None] + np.arange(1 - BAND_BARS, 1)],
        sigma_B=sigma_B,
        levels=levels,
    )
    return _joined(found)


def _joined(found: PathForecast) -> np.ndarray:
    parts = (found.ohlc, found.band, found.volatility, found.quantiles)
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
