"""Which of many trials are truly better than a benchmark, and is any?

Shapes: T times, k trials
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from walkforge.base import EvaluationError, FloatArray

from ._block_bootstrap import FEWEST_VALUES
from ._block_length import optimal_block_length

_LEVEL = 0.05
_FEWEST_RESAMPLES = 19  # the smallest p-value of fewer is above the level


@dataclass(frozen=True, kw_only=True, slots=True)
class SuperiorTrials:
    """The test for superior predictive ability, and the trials that are superior."""

    p_value: float
    """Consistent: the chance of a best trial as good as this where none beats the benchmark."""
    p_lower: float
    """Its lower bound: as if trials that look worse than the benchmark could not win."""
    p_upper: float
    """Its upper bound: as if all trials were just as good as the benchmark (White 2000)."""
    superior: tuple[str, ...]
    """Trials better than the benchmark; any of them is not in at most 5 of 100 cases."""
    untested: tuple[str, ...]
    """Trials whose loss differs from the benchmark's by the same amount at every time."""
    block_length: int
    n_resamples: int


def superior_trials(
    benchmark_loss: FloatArray,
    trial_losses: FloatArray,
    names: Sequence[str],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    least_block: int = 1,
) -> SuperiorTrials:
    """Return whether any of k trials loses less than the benchmark, and which do.

    `benchmark_loss` (T,) and `trial_losses` (T, k) are finite, in time order, and lower is
    better: hand over returns with their sign turned. Hansen (2005), A Test for Superior
    Predictive Ability, Journal of Business and Economic Statistics 23(4): each mean difference is
    divided by its standard error, and trials that are surely worse do not count.
    The trials are told apart step by step: Romano and Wolf (2005), Stepwise Multiple Testing as
    Formalized Data Snooping, Econometrica 73(4), with Hansen's centres (Hsu, Hsu and Kuan 2010).

    Stationary bootstrap; one block length for all trials, so that they stay together: the median
    of their best ones, rounded up, and no less than `least_block` times, for losses of outcomes
    that are known to overlap. p-values count the trials themselves as one more resample and
    so are never 0. Time grows with T^2 k: meant for thousands of days. Raises EvaluationError
    below FEWEST_VALUES times or 19 resamples, for other shapes, names given twice and losses that
    are not finite.
    """
    _refuse(benchmark_loss, trial_losses, names, n_resamples)
    gain = benchmark_loss[:, None] - trial_losses
    varies = np.ptp(gain, axis=0) > 1e-12 * np.abs(gain).max(axis=0)
    tested = [name for name, one in zip(names, varies, strict=True) if one]
    length = max(_block_length(gain[:, varies]), least_block)
    p, superior = (
        _step_down(_studentised(gain[:, varies], length), length, n_resamples, seed)
        if tested
        else ((1.0, 1.0, 1.0), ())
    )
    return SuperiorTrials(
        p_lower=p[0],
        p_value=p[1],
        p_upper=p[2],
        superior=tuple(tested[place] for place in superior),
        untested=tuple(name for name, one in zip(names, varies, strict=True) if not one),
        block_length=length,
        n_resamples=n_resamples,
    )


def _block_length(gain: FloatArray) -> int:
    lengths = [optimal_block_length(column, kind="stationary") for column in gain.T]
    return math.ceil(np.median(lengths)) if lengths else 1


def _studentised(gain: FloatArray, length: int) -> FloatArray:
    """Return each column over the root of its long-run variance.

    arch compares plain means: a trial with wild losses would then drown all others. The variance
    is that of the mean under the stationary bootstrap (Politis and Romano 1994, lemma 1).
    """
    n = len(gain)
    spectrum = np.fft.rfft(gain - gain.mean(axis=0), n, axis=0)
    around = np.fft.irfft(np.abs(spectrum) ** 2, n, axis=0) / n
    weights = 2.0 * (1.0 - np.arange(n) / n) * (1.0 - 1.0 / length) ** np.arange(n)
    weights[0] = 1.0
    return gain / np.sqrt(weights @ around)


def _step_down(
    gain: FloatArray, length: int, n_resamples: int, seed: int
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return Hansen's three p-values, lower, consistent, upper, and the superior columns."""
    from arch.bootstrap import SPA

    test = SPA(np.zeros(len(gain)), -gain, block_size=length, reps=n_resamples, seed=seed)
    test.compute()
    p_values = tuple((1 + float(p) * n_resamples) / (1 + n_resamples) for p in test.pvalues)
    left = np.ones(gain.shape[1], dtype=np.bool_)
    # Not by arch's StepM, which stops with an error once no trial is left.
    while left.any() and len(found := test.better_models(_LEVEL)):
        left[found] = False
        test.subset(left)
    return p_values, tuple(int(place) for place in np.flatnonzero(~left))


def _refuse(
    benchmark_loss: FloatArray, trial_losses: FloatArray, names: Sequence[str], n_resamples: int
) -> None:
    n, shape = len(benchmark_loss), trial_losses.shape
    if benchmark_loss.ndim != 1 or shape != (n, len(names)) or n < FEWEST_VALUES or not names:
        raise EvaluationError(
            f"losses {benchmark_loss.shape} of the benchmark and {shape} of {len(names)} named "
            f"trials; expected (T,) and (T, trials), T at least {FEWEST_VALUES}"
        )
    if n_resamples < _FEWEST_RESAMPLES:
        raise EvaluationError(f"{n_resamples} resamples; expected at least {_FEWEST_RESAMPLES}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise EvaluationError(f"two trials are named {twice!r}; expected a name for each")
    if not (np.isfinite(benchmark_loss).all() and np.isfinite(trial_losses).all()):
        raise EvaluationError("a loss is NaN or infinite; compare over times that all trials have")
