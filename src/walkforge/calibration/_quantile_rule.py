"""A forecast distribution to classes: how likely is each, by the quantiles.

Shapes: n rows, Q quantiles, L limits, C = L + 1 classes
"""

import numpy as np
from jaxtyping import Float, Float64

from walkforge.base import CalibrationError, FloatArray

# No finite set of quantiles can tell that something never happens.
_LEAST_PROBABILITY = 1e-6
# Quantiles that coincide would make a step of the distribution; a step has no slope.
_LEAST_GAP = 1e-9


def class_scores(
    quantiles: Float[np.ndarray, "n Q"],
    levels: Float64[np.ndarray, " Q"],
    limits: Float64[np.ndarray, "n L"],
) -> Float64[np.ndarray, "n C"]:
    """Return the log probability of each class, of rising `quantiles` at rising `levels`.

    Class k lies between the limits k - 1 and k of its row; the last one above them all. Between
    quantiles the distribution function is linear; beyond the outermost ones it dies away
    exponentially, with the slope that the outermost pair has. No probability is below 1e-6.
    Raises CalibrationError for fewer than two quantiles.
    """
    if len(levels) < 2:
        raise CalibrationError(f"{len(levels)} quantiles, expected at least 2 to tell classes by")
    below = np.column_stack([_share_below(quantiles, levels, limit) for limit in limits.T])
    edges = np.column_stack([np.zeros(len(below)), below, np.ones(len(below))])
    shares = np.clip(np.diff(edges, axis=1), _LEAST_PROBABILITY, None)
    return np.log(shares / shares.sum(axis=1, keepdims=True))


def _share_below(quantiles: FloatArray, levels: FloatArray, limit: FloatArray) -> FloatArray:
    """Return how likely it is (n,) to come out at or below `limit` (n,)."""
    q = np.asarray(quantiles, dtype=np.float64)
    # Stretched by a hair, so that equal neighbours have an order.
    q = q + _LEAST_GAP * np.arange(q.shape[1])
    place = (q <= limit[:, None]).sum(axis=1)
    left = np.clip(place - 1, 0, q.shape[1] - 2)
    rows = np.arange(len(q))
    low, high = q[rows, left], q[rows, left + 1]
    slope = (levels[left + 1] - levels[left]) / (high - low)
    share = levels[left] + slope * (limit - low)
    lower_tail = levels[0] * np.exp(np.minimum(slope / levels[0] * (limit - low), 0.0))
    upper = 1.0 - levels[-1]
    upper_tail = 1.0 - upper * np.exp(np.minimum(-slope / upper * (limit - high), 0.0))
    share = np.where(place == 0, lower_tail, share)
    return np.where(place == q.shape[1], upper_tail, share)
