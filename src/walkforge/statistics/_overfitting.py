"""Is the best of many trials still good where it was not chosen? By combinatorially symmetric
cross-validation.

Bailey, Borwein, Lopez de Prado and Zhu (2017), The Probability of Backtest Overfitting, Journal
of Computational Finance 20(4). Shapes: T times, N trials, S blocks of time, C splits
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from walkforge.base import EvaluationError, FloatArray, IntArray

_MOST_AT_ONCE = 4_000_000
"""12 870 splits of a thousand trials are a hundred megabytes a table; they go in parts."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BacktestOverfitting:
    """What became of the best trial of one half of the time in the other, over all splits."""

    pbo: float
    """The probability of backtest overfitting: the share of splits in which the trial that was
    best in sample is no better than the median out of sample. About 0.5 where trials do not
    differ ((N + 1) / 2N for an odd N), near 0 where one is truly better, above
    that where what was best turns worst."""
    logits: FloatArray
    """ln(w / (1 - w)) a split (C,), w the chosen trial's rank out of sample over N + 1."""
    chosen: IntArray
    """The trial that was best in sample (C,)."""
    in_sample: FloatArray
    """Its Sharpe ratio per period there (C,)."""
    out_of_sample: FloatArray
    """Its Sharpe ratio per period in the other half (C,)."""
    n_trials: int
    n_blocks: int

    @property
    def degradation_slope(self) -> float:
        """Return the slope of the least-squares line of `out_of_sample` over `in_sample`.

        Below 0: the better it looks, the worse it turns out. NaN where nothing varies.
        """
        away = self.in_sample - self.in_sample.mean()
        spread = float(away @ away)
        return float(away @ self.out_of_sample) / spread if spread > 1e-24 else math.nan

    @property
    def probability_of_loss(self) -> float:
        """Return the share of splits in which the chosen trial loses money out of sample."""
        return float((self.out_of_sample < 0).mean())


def probability_of_backtest_overfitting(
    returns: FloatArray, *, n_blocks: int = 16
) -> BacktestOverfitting:
    """Return how often the best of N trials in sample is a poor one out of sample.

    `returns` (T, N) are finite and per period, one column a trial, all over the same times. Time
    is cut into `n_blocks` (S) runs that differ by one row at most; each choice of S / 2 of them
    is a half to choose on, and the rest the half to judge by: C(S, S / 2) splits, 12 870 for 16.
    The best is that with the highest Sharpe ratio, 0 where a half has no variation. Equal ratios
    share their ranks. A block should be longer than what the returns remember. Raises
    EvaluationError for fewer than 2 trials, an odd number of blocks, blocks of fewer than two
    rows, and returns that are not finite.
    """
    _refuse(returns, n_blocks)
    halves = _halves(n_blocks)
    centre = returns.mean(axis=0)
    sums = _block_sums(returns - centre, n_blocks)
    parts = [
        _judged(half, sums, centre)
        for half in np.array_split(halves, -(-halves.size * returns.shape[1] // _MOST_AT_ONCE))
    ]
    chosen, best, then, rank = (np.concatenate(column) for column in zip(*parts, strict=True))
    relative = rank / (returns.shape[1] + 1)
    logits = np.log(relative / (1 - relative))
    return BacktestOverfitting(
        pbo=float((2 * rank <= returns.shape[1] + 1).mean()),
        logits=logits,
        chosen=chosen,
        in_sample=best,
        out_of_sample=then,
        n_trials=returns.shape[1],
        n_blocks=n_blocks,
    )


def _halves(n_blocks: int) -> FloatArray:
    """Return 1 where a block is in sample, else 0 (C, S)."""
    picks = np.array(list(itertools.combinations(range(n_blocks), n_blocks // 2)))
    halves = np.zeros((len(picks), n_blocks))
    np.put_along_axis(halves, picks, 1.0, axis=1)
    return halves


def _block_sums(centred: FloatArray, n_blocks: int) -> FloatArray:
    """Return rows, sum and sum of squares of each block and trial (3, S, N)."""
    starts = [block[0] for block in np.array_split(np.arange(len(centred)), n_blocks)]
    tables = (np.ones_like(centred), centred, centred**2)
    return np.stack([np.add.reduceat(table, starts, axis=0) for table in tables])


def _judged(
    half: FloatArray, sums: FloatArray, centre: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """Return of each split the chosen trial, its ratio in and out of sample, and its rank there.

    Ranks go from 1, the worst, to N.
    """
    inside, outside = (_sharpe_ratios(part, sums, centre) for part in (half, 1.0 - half))
    chosen = inside.argmax(axis=1)
    best, then = (np.take_along_axis(table, chosen[:, None], axis=1) for table in (inside, outside))
    rank = (outside < then).sum(axis=1) + ((outside == then).sum(axis=1) + 1) / 2
    return chosen, best[:, 0], then[:, 0], rank


def _sharpe_ratios(part: FloatArray, sums: FloatArray, centre: FloatArray) -> FloatArray:
    """Return the Sharpe ratio of each trial in each choice of blocks (C, N)."""
    n, total, squares = part @ sums
    mean = total / n
    # Centred columns: a whole that is far from 0 would lose the digits of its variance.
    variance = (squares - n * mean**2) / (n - 1)
    spread = np.sqrt(np.maximum(variance, 0.0))
    ratios = np.zeros_like(mean)
    np.divide(mean + centre, spread, out=ratios, where=spread > 1e-14)
    return ratios


def _refuse(returns: FloatArray, n_blocks: int) -> None:
    if returns.ndim != 2 or returns.shape[1] < 2:
        raise EvaluationError(
            f"returns {returns.shape}; expected (times, trials) with at least 2 trials"
        )
    if n_blocks < 2 or n_blocks % 2 or len(returns) < 2 * n_blocks:
        raise EvaluationError(
            f"{n_blocks} blocks of {len(returns)} rows; expected an even number of blocks with at "
            "least two rows each"
        )
    if not np.isfinite(returns).all():
        row, trial = np.argwhere(~np.isfinite(returns))[0]
        raise EvaluationError(
            f"returns[{row}, {trial}] is {returns[row, trial]}; expected a number: compare trials "
            "over times that all of them have, with 0 where one did not trade"
        )
