"""Numbers about returns: Sharpe, deflated Sharpe and block-bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from walkforge.base import FloatArray, IntArray, Measure

DAY_MS = 86_400_000

LEAST_DAYS = 20
"""A Sharpe ratio of fewer daily returns than these says nothing, so there is none."""

_EULER_GAMMA = 0.5772156649015329


def daily_returns(timestamp: IntArray, equity: FloatArray, capital: float) -> FloatArray:
    """Return one return per UTC day that has a bar: equity at its last bar's close over the day
    before, less 1; the first day starts from `capital`.

    Days without a trade are there with 0; days inside a hole of all symbols are not. A bar
    belongs to the day on which it opens. NaN from the day on which the equity is used up.
    """
    day = timestamp // DAY_MS
    ends = np.flatnonzero(np.append(np.diff(day) > 0, True)) if len(day) else day
    levels = np.concatenate([[capital], equity[ends]])
    ruined = np.maximum.accumulate(levels <= 0)
    levels = np.where(ruined, np.nan, levels)
    return levels[1:] / levels[:-1] - 1.0


def sharpe_ratio(returns: FloatArray) -> float:
    """Return mean over standard deviation (n - 1) of the returns, per period; NaN if undefined.

    Undefined: fewer than LEAST_DAYS returns, NaN among them, or no variation beyond rounding.
    """
    if len(returns) < LEAST_DAYS or np.isnan(returns).any():
        return math.nan
    spread = float(np.std(returns, ddof=1))
    # Equity near 10 000 is exact to 1e-12 of itself; less variation than that is rounding.
    return float(np.mean(returns)) / spread if spread > 1e-14 else math.nan


def deflated_sharpe(returns: FloatArray, *, n_trials: int) -> float:
    """Return the deflated Sharpe ratio of `returns`, a probability; NaN where there is no Sharpe.

    It is the probability that the true Sharpe ratio is above what the best of `n_trials` worthless
    trials would show by luck. The spread between the trials' Sharpe ratios is not known here; it
    is taken to be that of worthless ones, 1 / (n - 1) in variance.
    """
    ratio = sharpe_ratio(returns)
    if math.isnan(ratio):
        return math.nan
    centred = returns - returns.mean()
    variance = float(np.mean(centred**2))
    return deflated_sharpe_probability(
        ratio,
        n_returns=len(returns),
        skewness=float(np.mean(centred**3)) / variance**1.5,
        kurtosis=float(np.mean(centred**4)) / variance**2,
        n_trials=n_trials,
        trial_variance=1.0 / (len(returns) - 1),
    )


def deflated_sharpe_probability(
    ratio: float,
    *,
    n_returns: int,
    skewness: float,
    kurtosis: float,
    n_trials: int,
    trial_variance: float,
) -> float:
    """Return the deflated Sharpe ratio (Bailey and Lopez de Prado 2014, The Deflated Sharpe Ratio,
    Journal of Portfolio Management 40(5), equations 1 and 2). All Sharpe ratios are per period.

        DSR = Phi((SR - SR0) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2))
        SR0 = sqrt(V) ((1 - e) Phi^-1(1 - 1 / N) + e Phi^-1(1 - 1 / (N exp(1))))

    with T returns of skewness g3 and kurtosis g4 (3 for a normal), N trials whose Sharpe ratios
    have variance V, and Euler's constant e. One trial has SR0 = 0.
    """
    from scipy.stats import norm

    luck = 0.0
    if n_trials > 1:
        luck = (1 - _EULER_GAMMA) * norm.ppf(1 - 1 / n_trials)
        luck += _EULER_GAMMA * norm.ppf(1 - 1 / (n_trials * math.e))
    spread = 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2
    if spread <= 0:
        return math.nan
    z = (ratio - math.sqrt(trial_variance) * luck) * math.sqrt(n_returns - 1)
    return float(norm.cdf(z / math.sqrt(spread)))


def block_bootstrap(
    values: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
    *,
    n_resamples: int,
    seed: int,
    unit: str,
) -> Measure:
    """Return `statistic` of `values` (n,) with the middle 95 % of its resamples.

    Circular block bootstrap (Politis and Romano 1992) with blocks of n^(1/3), rounded up, values
    in time order. `statistic` maps (resamples, n) to (resamples,). Below LEAST_DAYS values, or
    without resamples, there is no interval.
    """
    n = len(values)
    if n == 0:
        return Measure(math.nan, n=0, unit=unit)
    value = float(statistic(values[None, :])[0])
    if n < LEAST_DAYS or n_resamples == 0 or math.isnan(value):
        return Measure(value, n=n, unit=unit)
    random = np.random.default_rng(seed)
    blocks = _blocks(values, length=math.ceil(n ** (1 / 3)))
    resampled = np.concatenate(
        [
            statistic(_resampled(random, blocks, n_resamples=size))
            # A million trades times a thousand resamples would not fit at once.
            for size in _batches(n_resamples, max(1, 4_000_000 // n))
        ]
    )
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Measure(value, float(low), float(high), n, unit)


def _blocks(values: FloatArray, *, length: int) -> FloatArray:
    """Return the blocks (n, length) that begin at each value and go on at the first one."""
    circle = np.concatenate([values, values[: length - 1]])
    return np.lib.stride_tricks.sliding_window_view(circle, length)


def _resampled(random: np.random.Generator, blocks: FloatArray, *, n_resamples: int) -> FloatArray:
    """Return resamples (n_resamples, n) of n values, block after block."""
    n, length = blocks.shape
    starts = random.integers(0, n, (n_resamples, math.ceil(n / length)))
    return blocks[starts].reshape(n_resamples, -1)[:, :n]


def _batches(total: int, largest: int) -> list[int]:
    return [min(largest, total - done) for done in range(0, total, largest)]
