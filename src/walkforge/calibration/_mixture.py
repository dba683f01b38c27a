"""Several models as one: the weighted mean of their probabilities, and the weights that fit best.

Shapes: M models, n rows, C classes
"""

import numpy as np
from jaxtyping import Float, Float64

from walkforge.base import CalibrationError

# A step of the search ends it where no weights whatever could lower the mean loss by more, nats.
_CLOSE_ENOUGH = 1e-7
_MOST_STEPS = 20_000
# A model that gave what came true no chance at all must not make a logarithm infinite.
_LEAST_PROBABILITY = 1e-12


def mixture(
    probabilities: Float[np.ndarray, "M n C"], weights: Float[np.ndarray, " M"]
) -> Float64[np.ndarray, "n C"]:
    """Return the mean of the models' probabilities by `weights`, which sum to 1.

    Models are added one after the other, so that a row's result does not depend on how many rows
    stand beside it. NaN of any model stays NaN.
    """
    total = np.zeros(probabilities.shape[1:])
    for weight, own in zip(weights, probabilities, strict=True):
        total += weight * own
    return total


def log_of_mixture(
    probabilities: Float64[np.ndarray, "n C"],
) -> Float64[np.ndarray, "n C"]:
    """Return the logarithm of probabilities, which stand where a network has its logits.

    A probability of 0 counts as the smallest normal number: -708.4, and not minus infinity.
    """
    return np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))


def fit_mixture(hits: Float[np.ndarray, "M n"]) -> Float64[np.ndarray, " M"]:
    """Return the weights of M models, at least 0 and summing to 1, with the lowest mean log loss.

    `hits` are the probabilities that each model gave to what came true. Rows where one of them is
    not finite teach nothing; without any row left the weights are equal. The loss is convex in the
    weights; the EM algorithm for the shares of a mixture (Dempster, Laird and Rubin 1977) lowers it
    with every step. It stops where the best weights could gain 1e-7 nats a row at most: that is
    at most the logarithm of the largest mean of hit over mixed hit, by Jensen's inequality. The
    same hits give the same weights to the last bit. Raises CalibrationError without a model.
    """
    if len(hits) == 0:
        raise CalibrationError("a mixture of no models; expected at least one")
    known = np.clip(hits[:, np.isfinite(hits).all(axis=0)], _LEAST_PROBABILITY, None)
    weights = np.full(len(hits), 1.0 / len(hits))
    if known.shape[1] == 0:
        return weights
    for _ in range(_MOST_STEPS):
        mixed = (weights[:, None] * known).sum(axis=0)
        growth = (known / mixed).mean(axis=1)
        if np.log(growth.max()) <= _CLOSE_ENOUGH:
            break
        weights = weights * growth
        weights /= weights.sum()
    return weights
