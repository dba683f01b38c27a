"""A bar as five numbers without a scale, measured by the bars before it, and back.

Shapes: n bars, 5 numbers in the order of VECTOR
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from walkforge.base import BoolArray, FloatArray
from walkforge.market import Bars, past_volatility

from ._rolling import rolling_mean
from ._token_rule import VECTOR, TokenizerRule

# Where the market stood still, a bar has no unit to be measured in.
LEAST_SIGMA = 1e-10

# A volume of nothing, or the first after nothing, has no logarithm; a hundred times as much or as
# little as before says all that one bar can say.
_VOLUME_LIMIT = 100.0

# exp(700) is the last that float64 holds, and prices stay where they can still be divided.
_MOST_LOG = 700.0
_LEAST_PRICE, _MOST_PRICE = 1e-300, 1e300


@dataclass(frozen=True, slots=True, eq=False)
class BarVectors:
    """Bars as vectors: `values` (n, 5) float32, 0 where not valid.

    `sigma` (n,) is the volatility of the returns before the bar, a fraction per bar, NaN where
    there are too few. `valid` (n,) is True where the bar has a token.
    """

    values: NDArray[np.float32]
    sigma: FloatArray
    valid: BoolArray

    def take(self, rows: slice | BoolArray) -> "BarVectors":
        """Return the vectors of some rows."""
        return BarVectors(self.values[rows], self.sigma[rows], self.valid[rows])


def bar_vectors(bars: Bars, rule: TokenizerRule) -> BarVectors:
    """Return the bars as vectors; row t knows bar t, its past, and nothing of another segment.

    With sigma = `past_volatility(bars, volatility_bars)` of bar t − 1:
    move = ln(close_t / close_{t−1}) / sigma, body = ln(close_t / open_t) / sigma,
    upper = ln(high_t / max(open_t, close_t)) / sigma, lower = ln(min(open_t, close_t) / low_t) /
    sigma, both at least 0, and volume = ln(volume_t / mean of the `volume_bars` before), held
    within ± ln 100, 0 where there is none and was none.

    The first bars of a segment are not valid, nor those whose sigma is below 1e-10.
    """
    sigma, past_volume = _before(bars, rule)
    valid = np.isfinite(past_volume) & (sigma >= LEAST_SIGMA)
    values = np.zeros((len(bars), len(VECTOR)), dtype=np.float32)
    rows = np.flatnonzero(valid)
    open_, high, low, close = (
        np.log(price[rows]) for price in (bars.open, bars.high, bars.low, bars.close)
    )
    moves = (
        close - np.log(bars.close[rows - 1]),
        close - open_,
        np.maximum(high - np.maximum(open_, close), 0.0),
        np.maximum(np.minimum(open_, close) - low, 0.0),
    )
    for number, move in enumerate(moves):
        values[rows, number] = move / sigma[rows]
    values[rows, 4] = _log_surge(bars.volume[rows], past_volume[rows])
    return BarVectors(values, sigma, valid)


def bar_prices(
    values: NDArray[np.floating], last_close: FloatArray | float, sigma: FloatArray | float
) -> FloatArray:
    """Return open, high, low and close (..., 4) of vectors (..., 5) after `last_close` (...,).

    Always a possible bar: positive, finite, the high not below and the low not above the others.
    """
    # A product of a large number and a large sigma may overflow; the limits below hold it.
    with np.errstate(over="ignore"):
        move, body, upper, lower = (
            values[..., number].astype(np.float64) * sigma for number in range(4)
        )
    close = _moved(last_close, move)
    open_ = _moved(close, -body)
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    high = np.maximum(_moved(top, upper), top)
    low = np.minimum(_moved(bottom, -lower), bottom)
    return np.stack(np.broadcast_arrays(open_, high, low, close), axis=-1)


def _before(bars: Bars, rule: TokenizerRule) -> tuple[FloatArray, FloatArray]:
    """Return per bar (n,) what the bars before it in its segment tell: sigma and mean volume."""
    volatility = past_volatility(bars, rule.volatility_bars)
    sigma, past_volume = np.full(len(bars), np.nan), np.full(len(bars), np.nan)
    for rows in bars.segments:
        after = slice(rows.start + 1, rows.stop)
        sigma[after] = volatility[rows][:-1]
        past_volume[after] = rolling_mean(bars.volume[rows], rule.volume_bars)[:-1]
    return sigma, past_volume


def _log_surge(volume: FloatArray, past_volume: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        surge = np.where((volume == 0) & (past_volume == 0), 1.0, volume / past_volume)
    return np.log(np.clip(surge, 1 / _VOLUME_LIMIT, _VOLUME_LIMIT))


def _moved(price: FloatArray | float, log_move: FloatArray) -> FloatArray:
    with np.errstate(over="ignore", under="ignore"):
        moved = price * np.exp(np.clip(log_move, -_MOST_LOG, _MOST_LOG))
    return np.clip(moved, _LEAST_PRICE, _MOST_PRICE)
