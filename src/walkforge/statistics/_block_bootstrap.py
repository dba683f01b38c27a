"""Block bootstraps: intervals for numbers about values that have a memory.

Shapes: n values in time order, R resamples, L values a block
"""

import math
from collections.abc import Callable

import numpy as np

from walkforge.base import FloatArray, Measure

from ._block_length import BlockKind, optimal_block_length

FEWEST_VALUES = 20
"""With fewer values than this, nothing is said about how sure a number is."""

_MOST_DRAWN = 4_000_000
"""A million trades times a thousand resamples would not fit at once."""


def block_bootstrap(
    values: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
    *,
    n_resamples: int,
    seed: int,
    unit: str,
    kind: BlockKind = "circular",
) -> Measure:
    """Return `statistic` of `values` (n,), in time order, with the middle 95 % of its resamples.

    `circular` draws blocks of one length that go on at the first value after the last (Politis
    and Romano 1992, A Circular Block-Resampling Procedure for Stationary Data); `stationary`
    draws blocks of geometric length (Politis and Romano 1994, The Stationary Bootstrap, Journal
    of the American Statistical Association 89). The length is that of `optimal_block_length`,
    rounded up for `circular`. `statistic` maps (R, n) to (R,). Below FEWEST_VALUES values,
    without resamples, and where the statistic is not defined, there is no interval.
    """
    n = len(values)
    if n == 0:
        return Measure(math.nan, n=0, unit=unit)
    value = float(statistic(values[None, :])[0])
    if n < FEWEST_VALUES or n_resamples == 0 or math.isnan(value):
        return Measure(value, n=n, unit=unit)
    random = np.random.default_rng(seed)
    length = optimal_block_length(values, kind=kind)
    drawn = np.concatenate(
        [
            statistic(_RESAMPLED[kind](random, values, length, size))
            for size in _batches(n_resamples, max(1, _MOST_DRAWN // n))
        ]
    )
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Measure(value, float(low), float(high), n, unit)


def _circular(
    random: np.random.Generator, values: FloatArray, length: float, n_resamples: int
) -> FloatArray:
    """Return resamples (R, n) of blocks of `length` values, rounded up, one after the other."""
    n, whole = len(values), math.ceil(length)
    circle = np.concatenate([values, values[: whole - 1]])
    blocks = np.lib.stride_tricks.sliding_window_view(circle, whole)
    starts = random.integers(0, n, (n_resamples, math.ceil(n / whole)))
    return blocks[starts].reshape(n_resamples, -1)[:, :n]


def _stationary(
    random: np.random.Generator, values: FloatArray, length: float, n_resamples: int
) -> FloatArray:
    """Return resamples (R, n) in which each value begins a new block with chance 1 / length."""
    n = len(values)
    begins = random.random((n_resamples, n)) < 1.0 / length
    begins[:, 0] = True
    began = np.maximum.accumulate(np.where(begins, np.arange(n), 0), axis=1)
    starts = np.take_along_axis(random.integers(0, n, (n_resamples, n)), began, axis=1)
    return values[(starts + np.arange(n) - began) % n]


_RESAMPLED = {"circular": _circular, "stationary": _stationary}


def _batches(total: int, largest: int) -> list[int]:
    return [min(largest, total - done) for done in range(0, total, largest)]
