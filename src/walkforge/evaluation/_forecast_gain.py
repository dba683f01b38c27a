"""Does a model forecast better than a baseline? The test of Diebold and Mariano (1995).

Shapes: T decision times
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from walkforge import statistics

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

    It is the test of `statistics.diebold_mariano`; where there is none, a `reason` says why.
    """
    n, mean = len(saved), float(saved.mean())
    entry = {
        "mean_difference": mean,
        "unit": unit,
        "n": n,
        "lag_times": statistics.bartlett_lag(n, overlap_times),
    }
    unknown = {"low": None, "high": None, "statistic": None, "p_value": None}
    fewest = max(10, FEWEST_HORIZONS * (overlap_times + 1))
    if n < fewest:
        return entry | unknown | {"reason": f"{n} decision times, at least {fewest} needed"}
    if not saved.any():
        return entry | unknown | {"p_value": 1.0, "reason": "no loss differs from the baseline's"}
    found = statistics.diebold_mariano(saved, overlap_times=overlap_times)
    if math.isnan(found.statistic):
        return entry | unknown | {"reason": "the difference is the same at every decision time"}
    return entry | {key: getattr(found, key) for key in unknown}
