"""Does a model forecast better than a baseline? The test of Diebold and Mariano (1995).

Shapes: T decision times
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from walkforge.base import FloatArray

from ._bootstrap import LEVEL

FEWEST_HORIZONS = 5
"""With fewer decision times than this many horizons nothing is said."""


def diebold_mariano(
    saved: Float[np.ndarray, " T"], *, overlap_times: int, unit: str
) -> dict[str, Any]:
    """Return whether the mean of a series of loss differences is above 0.

    `saved` are the baseline's losses less the model's, one for each decision time in order, so
    above 0 the model is better; `overlap_times` is how many later decisions a forecast shares its
    future with, H - 1 for H steps ahead. `p_value` is one-sided: the chance of a mean at least
    this high where the model is no better. `low` and `high` are the ends of a two-sided 95 %
    interval of the same statistic.

    The variance of the mean has a Bartlett kernel (Newey and West 1987) with `lag_times`, see
    there; the statistic is corrected for small samples and set against Student's t with n - 1
    degrees, as Harvey, Leybourne and Newbold (1997) do.
    """
    n, lag = len(saved), lag_times(len(saved), overlap_times)
    mean = float(saved.mean())
    entry = {"mean_difference": mean, "unit": unit, "n": n, "lag_times": lag}
    unknown = {"low": None, "high": None, "statistic": None, "p_value": None}
    fewest = max(10, FEWEST_HORIZONS * (overlap_times + 1))
    if n < fewest:
        return entry | unknown | {"reason": f"{n} decision times, at least {fewest} needed"}
    if not saved.any():
        return entry | unknown | {"p_value": 1.0, "reason": "no loss differs from the baseline's"}
    error = _standard_error(saved, lag)
    if error <= 1e-12 * abs(mean):
        return entry | unknown | {"reason": "the difference is the same at every decision time"}
    return entry | _tested(mean, error, n)


def lag_times(n: int, overlap_times: int) -> int:
    """Return the lag of the kernel: 3 * (H - 1), 1.3 * sqrt(n) rounded up if that is more.

    The kernel gives a lag its weight 1 - j / (lag + 1), so a lag of H - 1 alone would count only
    two thirds of the variance that sums over H overlapping steps have; three times as many count
    nine tenths. The square root is the rule of Lazarus, Lewis, Stock and Watson (2018) for
    memories of any other kind.
    """
    return min(n - 1, max(3 * overlap_times, math.ceil(1.3 * math.sqrt(n))))


def _standard_error(saved: FloatArray, lag: int) -> float:
    """Return the standard error of the mean, corrected for small samples.

    Harvey, Leybourne and Newbold's factor is for h - 1 lags; here h is the lag plus 1.
    """
    n = len(saved)
    centred = saved - saved.mean()
    variance = float(centred @ centred)
    for j in range(1, lag + 1):
        variance += 2.0 * (1.0 - j / (lag + 1)) * float(centred[j:] @ centred[:-j])
    h = lag + 1
    shrink = (n + 1 - 2 * h + h * (h - 1) / n) / n
    return math.sqrt(max(0.0, variance) / shrink) / n


def _tested(mean: float, error: float, n: int) -> dict[str, Any]:
    from scipy.stats import t

    half = error * float(t.ppf((1 + LEVEL) / 2, n - 1))
    return {
        "low": mean - half,
        "high": mean + half,
        "statistic": mean / error,
        "p_value": float(t.sf(mean / error, n - 1)),
    }
