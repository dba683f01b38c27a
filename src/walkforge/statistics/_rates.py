"""How often something happens, and whether p-values are what they say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from walkforge.base import EvaluationError, FloatArray, Measure


@dataclass(frozen=True, kw_only=True, slots=True)
class Uniformity:
    """The test of Kolmogorov and Smirnov against the uniform distribution from 0 to 1."""

    statistic: float
    """The largest distance between both distribution functions, a probability."""
    p_value: float
    n: int


def binomial_interval(hits: int, n: int) -> Measure:
    """Return the share of `hits` in `n` independent tries, a fraction, with its 95 % interval.

    Clopper and Pearson (1934), The Use of Confidence or Fiducial Limits Illustrated in the Case
    of the Binomial, Biometrika 26(4): it holds the truth at least 95 times in 100, never less.
    Raises EvaluationError without tries, and for hits that are not from 0 to n.
    """
    from scipy.stats import beta

    if n < 1 or not 0 <= hits <= n:
        raise EvaluationError(f"{hits} hits in {n} tries; expected at least one try and 0 to n")
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return Measure(hits / n, low, high, n, "fraction")


def uniformity(p_values: Sequence[float] | FloatArray) -> Uniformity:
    """Return whether p-values (n,) of independent tests are uniform, as those of nothing are.

    Two-sided and exact where that is feasible (Kolmogorov 1933, Smirnov 1948; scipy's `kstest`).
    Raises EvaluationError without values, and for values that are not from 0 to 1.
    """
    from scipy.stats import kstest

    values = np.asarray(p_values, dtype=np.float64)
    if len(values) == 0 or not ((values >= 0) & (values <= 1)).all():
        raise EvaluationError(
            f"{len(values)} p-values; expected at least one, and all from 0 to 1 (leave out None)"
        )
    found = kstest(values, "uniform")
    return Uniformity(statistic=float(found.statistic), p_value=float(found.pvalue), n=len(values))
