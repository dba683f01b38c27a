"""How much a market moved lately: the unit in which forecasts and some labels are measured."""

import numpy as np
import polars as pl

from walkforge.base import FloatArray

from ._bars import Bars

# Flat prices have no volatility; what is measured in it must then be 0 and not NaN.
_LEAST_VOLATILITY = 1e-12


def past_volatility(bars: Bars, n: int) -> FloatArray:
    """Return the standard deviation of the last `n` one-bar log returns (n_bars,), up to the bar.

    A fraction per bar, at least 1e-12. The first `n` bars of every segment are NaN.
    """
    volatility = np.full(len(bars), np.nan)
    log_close = np.log(bars.close)
    for rows in bars.segments:
        returns = pl.Series(np.diff(log_close[rows]))
        rolled = returns.rolling_std(window_size=n).cast(pl.Float64)
        volatility[rows.start + 1 : rows.stop] = rolled.fill_null(np.nan).to_numpy()
    return np.maximum(volatility, _LEAST_VOLATILITY)
