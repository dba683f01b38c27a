"""Sampled tokens to paths of bars, and many paths to one forecast.

Shapes: B decisions, N paths of each, S steps ahead, V tokens in the vocabulary, Q quantiles;
n, w bars that were known at the decision, the last of them its own
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Integer

from walkforge.base import FloatArray

BAND_BARS = 20
"""Closes behind the Bollinger band, as in the targets of a forecaster."""

_BAND_WIDTH = 2.0
# As in `market.past_volatility`: flat prices have no volatility to measure in.
_LEAST_VOLATILITY = 1e-12
# Bars of all paths at a time: each takes about 150 bytes while it is worked on.
_CHUNK_BARS = 500_000


@dataclass(frozen=True, slots=True, eq=False)
class PathForecast:
    """What many paths expect together, in units of each decision's sigma.

    All but the volatility are log ratios to the last close over sigma.
    """

    ohlc: Float[np.ndarray, "B S 4"]
    """Medians over the paths of open, high, low, close: always a possible bar."""
    band: Float[np.ndarray, "B S 2"]
    """Medians of the Bollinger band's middle and half width, of the last 20 log closes."""
    volatility: Float[np.ndarray, "B 1"]
    """Log of the horizon's volatility over sigma."""
    quantiles: Float[np.ndarray, "B S Q"]
    """Of the close, rising."""


def token_paths(
    tokens_BNS: Integer[np.ndarray, "B N S"],
    centres_V5: Float[np.ndarray, "V 5"],
    returns_Bn: Float[np.ndarray, "B n"],
) -> Float[np.ndarray, "B N S 4"]:
    """Return ln(open, high, low, close / last close) of every bar of every path.

    `centres_V5` are a tokenizer's bar vectors; `returns_Bn` the one-bar log returns up to the
    decision, as many as the tokenizer's `volatility_bars`: each bar of a path is as large as the
    volatility of the n returns before it says, those of the path included.
    """
    moves, bodies, *wicks = centres_V5.T[:4].astype(np.float64)
    uppers, lowers = (np.maximum(wick, 0.0) for wick in wicks)
    paths = np.empty((*tokens_BNS.shape, 4))
    window = _Window(returns_Bn, tokens_BNS.shape)
    close = np.zeros(tokens_BNS.shape[:2])
    for step in range(tokens_BNS.shape[2]):
        token = tokens_BNS[:, :, step]
        sigma = np.maximum(np.sqrt(window.variance(ddof=1)), _LEAST_VOLATILITY)
        window.add(sigma * moves[token])
        close = close + sigma * moves[token]
        first = close - sigma * bodies[token]
        high = np.maximum(first, close) + sigma * uppers[token]
        low = np.minimum(first, close) - sigma * lowers[token]
        paths[:, :, step] = np.stack([first, high, low, close], axis=-1)
    return paths


def forecast_paths(
    tokens_BNS: Integer[np.ndarray, "B N S"],
    centres_V5: Float[np.ndarray, "V 5"],
    *,
    returns_Bn: Float[np.ndarray, "B n"],
    closes_Bw: Float[np.ndarray, "B w"],
    sigma_B: Float[np.ndarray, " B"],
    levels: tuple[float, ...],
) -> PathForecast:
    """Return what the paths of each decision expect together, at quantile `levels` that rise.

    `returns_Bn` as for `token_paths`; `closes_Bw` are the last 20 closes up to the decision, and
    `sigma_B`, above 0, is the volatility in which the forecast is measured. A few decisions are
    worked on at a time, so that memory does not grow with their number.
    """
    assert closes_Bw.shape[1] == BAND_BARS, closes_Bw.shape
    parts = [
        _expected(
            token_paths(tokens_BNS[rows], centres_V5, returns_Bn[rows]),
            np.log(closes_Bw[rows] / closes_Bw[rows, -1:]),
            sigma_B[rows],
            levels,
        )
        for rows in _chunks(tokens_BNS.shape)
    ]
    names = [field.name for field in fields(PathForecast)]
    return PathForecast(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in names)
    )


def _chunks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices over decisions, at least one."""
    B, N, S = shape
    size = max(1, _CHUNK_BARS // (N * S))
    for start in range(0, max(1, B), size):
        yield slice(start, start + size)


def _expected(
    paths_BNS4: FloatArray, known_Bw: FloatArray, sigma_B: FloatArray, levels: tuple[float, ...]
) -> PathForecast:
    """Return the forecast of paths; `known_Bw` are log closes less the last one."""
    close_BNS, unit_B11 = paths_BNS4[..., 3], sigma_B[:, None, None]
    squares = np.diff(close_BNS, axis=2, prepend=0.0) ** 2
    # The QLIKE loss asks for the mean variance (Patton 2011), not for that of a typical path.
    volatility = np.maximum(np.sqrt(squares.mean(axis=(1, 2))), _LEAST_VOLATILITY)
    # Of N paths and the truth each is as likely to be the k-th: Weibull's positions make the
    # share of truths below a quantile its level, where others draw the outer ones too close.
    quantiles_QBS = np.quantile(close_BNS, levels, axis=1, method="weibull")
    return PathForecast(
        # Where every high is at least its close, so is the median of the highs.
        ohlc=np.median(paths_BNS4, axis=1) / unit_B11,
        band=np.median(_bands(close_BNS, known_Bw), axis=1) / unit_B11,
        volatility=np.log(volatility / sigma_B)[:, None],
        quantiles=np.moveaxis(quantiles_QBS, 0, -1) / unit_B11,
    )


def _bands(close_BNS: FloatArray, known_Bw: FloatArray) -> FloatArray:
    """Return middle and half width of the band at every step of every path (B, N, S, 2)."""
    window, bands = _Window(known_Bw, close_BNS.shape), np.empty((*close_BNS.shape, 2))
    for step in range(close_BNS.shape[2]):
        window.add(close_BNS[:, :, step])
        bands[:, :, step, 0] = window.mean()
        bands[:, :, step, 1] = _BAND_WIDTH * np.sqrt(window.variance(ddof=0))
    return bands


class _Window:
    """Moments of the last w values: of w known ones, and of those that each path adds to them.

    Known values that have left the window are not in its sums, rather than taken off them again,
    and all are counted from their median: a storm that is over leaves no rounding behind.
    """

    def __init__(self, known_Bw: FloatArray, shape: tuple[int, ...]) -> None:
        B, N, S = shape
        self._n_values, self._step = known_Bw.shape[1], 0
        self._centre_B1 = np.median(known_Bw, axis=1, keepdims=True)
        known = _with_squares(known_Bw - self._centre_B1)
        # Sums of values and squares (2, B, w + 1): of all, of all but the first, ... of none.
        self._left = np.zeros((2, B, self._n_values + 1))
        self._left[..., :-1] = known[..., ::-1].cumsum(axis=-1)[..., ::-1]
        self._added = np.zeros((S + 1, 2, B, N))

    def add(self, values_BN: FloatArray) -> None:
        """Move on by one value."""
        added = _with_squares(values_BN - self._centre_B1)
        self._added[self._step + 1] = self._added[self._step] + added
        self._step += 1

    def mean(self) -> FloatArray:
        """Return the mean (B, N)."""
        return self._centre_B1 + self._sums()[0] / self._n_values

    def variance(self, *, ddof: int) -> FloatArray:
        """Return the variance (B, N)."""
        total, squares = self._sums()
        return np.maximum(squares - total**2 / self._n_values, 0.0) / (self._n_values - ddof)

    def _sums(self) -> FloatArray:
        left = self._left[:, :, min(self._step, self._n_values), None]
        gone = self._added[max(0, self._step - self._n_values)]
        return left + (self._added[self._step] - gone)


def _with_squares(values: FloatArray) -> FloatArray:
    return np.stack([values, values**2])
