"""Bars to what a forecaster learns to foresee, free of any scale.

All targets look from the close of a bar, C, at the `horizon_bars` bars after it, and are measured
in sigma, the volatility of the bars before. A whole forecast is as good as its bars are far from
`0`, `0`, `0`: the last close again.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64

from walkforge.base import LabelError
from walkforge.market import Bars, past_volatility

from ._rule import LabelRule

BAND_BARS = 20
"""Closes behind the Bollinger band."""

BAND_WIDTH = 2.0
"""Half width of the band, in standard deviations."""

# A jump out of a market that hardly moved would be thousands of its own past volatility, and one
# such row would teach more than all others. What it truly was is `forecast_moves`.
_FURTHEST = 50.0
# A market that stood still has no unit to measure its next move in.
_STANDS_STILL = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What came after each bar (n,), in units of what came before it."""

    values: Float32[np.ndarray, "n targets"]
    """Per step ahead ln(open, high, low, close / C) / sigma; then per step the middle of the band
    and its half width, likewise; last the volatility of the horizon over sigma. 0 where not known.

    The band is that of log closes: the mean of the last 20, and two standard deviations.
    """
    volatility: Float64[np.ndarray, " n"]
    """sigma: of the last log returns up to the bar; NaN in the warm-up."""
    valid: Bool[np.ndarray, " n"]
    """Whether past and future are there, in one segment, and the past moved at all."""
    rule: LabelRule


def forecast_moves(bars: Bars, rule: LabelRule) -> Float64[np.ndarray, "n targets"]:
    """Return what came after each bar, ordered as targets are, in logarithms and not in sigma.

    The last number is the volatility of the horizon, a fraction per bar. NaN where not known.
    """
    steps = rule.horizon_bars
    moves = np.full((len(bars), 6 * steps + 1), np.nan)
    for rows in bars.segments:
        _fill_segment(moves[rows], bars, rows, steps)
    return moves


def forecast_targets(bars: Bars, rule: LabelRule) -> Targets:
    """Return the targets of the `rule.horizon_bars` bars after every close of `bars`.

    sigma is the standard deviation of the last `rule.volatility_bars` log returns. Raises
    LabelError for a rule without a horizon.
    """
    if rule.kind == "triple_barrier":
        raise LabelError(
            "labels.kind is triple_barrier, whose trades end when they end; a forecaster looks "
            "labels.horizon_bars ahead, so choose quantile, threshold, volatility or direction"
        )
    sigma = past_volatility(bars, rule.volatility_bars)
    values = forecast_moves(bars, rule)
    values /= sigma[:, None]
    valid = np.isfinite(values).all(axis=1) & (sigma > _STANDS_STILL)
    values[~valid] = 0.0
    held = values.clip(-_FURTHEST, _FURTHEST).astype(np.float32)
    return Targets(held, sigma, valid, rule)


def _fill_segment(values: np.ndarray, bars: Bars, rows: slice, steps: int) -> None:
    """Write the targets of one segment, not yet divided by sigma."""
    close = np.log(bars.close[rows])
    known = len(close) - steps
    if known <= 0:
        return
    prices = np.log(np.stack([getattr(bars, name)[rows] for name in _BAR], axis=1))
    middle, half = _band(close)
    for step in range(1, steps + 1):
        ahead = slice(step, step + known)
        at = 4 * (step - 1)
        values[:known, at : at + 4] = prices[ahead] - close[:known, None]
        at = 4 * steps + 2 * (step - 1)
        values[:known, at] = middle[ahead] - close[:known]
        values[:known, at + 1] = half[ahead]
    squares = np.concatenate([[0.0], np.cumsum(np.diff(close) ** 2)])
    values[:known, -1] = np.sqrt((squares[steps:] - squares[:known]).clip(0.0) / steps)


_BAR = ("open", "high", "low", "close")


def _band(log_close: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return middle and half width (n,) of the band of log closes; NaN in the warm-up."""
    # Around the first close: the sums of a long series would lose digits.
    series = pl.Series(log_close - log_close[0])
    middle = series.rolling_mean(BAND_BARS).cast(pl.Float64).fill_null(np.nan).to_numpy()
    spread = series.rolling_std(BAND_BARS, ddof=0).cast(pl.Float64).fill_null(np.nan).to_numpy()
    return middle + log_close[0], BAND_WIDTH * spread
