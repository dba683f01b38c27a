"""The formulas. Those of sums work on many resampled sums at once: leading axes are free.

Shapes: n rows, C classes, B bins; `...` any leading axes, such as R resamples
"""

import numpy as np
from jaxtyping import Float, Int

from walkforge.base import BoolArray, FloatArray, IntArray

_EPSILON = float(np.finfo(np.float64).eps)


def log_losses(p: Float[np.ndarray, "n C"], label: Int[np.ndarray, " n"]) -> FloatArray:
    """Return -log p of the class that came true (n,), in nats.

    p is clipped to [2.2e-16, 1 - 2.2e-16] as scikit-learn does, so that "never" costs 36 nats
    and not infinity.
    """
    true = np.take_along_axis(p, label[:, None], axis=1)[:, 0]
    return -np.log(np.clip(true, _EPSILON, 1.0 - _EPSILON))


def brier_losses(p: Float[np.ndarray, "n C"], label: Int[np.ndarray, " n"]) -> FloatArray:
    """Return the squared distance between p and the outcome (n,), 0 to 2, as Brier did in 1950.

    For two classes it is half of that, 0 to 1: what everybody calls the Brier score there.
    """
    true = np.take_along_axis(p, label[:, None], axis=1)[:, 0]
    distance = (p**2).sum(axis=1) - 2.0 * true + 1.0
    return distance / 2.0 if p.shape[1] == 2 else distance


def direction_odds(p: Float[np.ndarray, "n C"]) -> FloatArray:
    """Return the log odds of up, the last class, against down, the first (n,)."""
    down, up = (np.log(np.maximum(p[:, column], _EPSILON)) for column in (0, -1))
    odds: FloatArray = up - down
    return odds


def accuracy(confusion: Float[np.ndarray, "*lead C C"]) -> FloatArray:
    """Return the share of hits; counts are true class by predicted class."""
    return ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1)))


def balanced_accuracy(confusion: Float[np.ndarray, "*lead C C"]) -> FloatArray:
    """Return the mean share of hits of the classes that came true; NaN if it was only one."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return mean_over_classes(hits, confusion.sum(axis=-1))


def mean_over_classes(
    hits: Float[np.ndarray, "*lead C"], counts: Float[np.ndarray, "*lead C"]
) -> FloatArray:
    """Return the mean of hits / counts over classes with counts; NaN with fewer than two."""
    present = counts > 0
    shares = np.where(present, hits / np.where(present, counts, 1.0), 0.0)
    n_present = present.sum(axis=-1)
    return np.where(n_present >= 2, shares.sum(axis=-1) / np.maximum(n_present, 1), np.nan)


def matthews(confusion: Float[np.ndarray, "*lead C C"]) -> FloatArray:
    """Return Gorodkin's correlation of K classes (2004); NaN if one side knows one class only."""
    true, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    n = confusion.sum(axis=(-2, -1))
    hits = np.trace(confusion, axis1=-2, axis2=-1)
    both = hits * n - (true * predicted).sum(axis=-1)
    spread_true = n**2 - (true**2).sum(axis=-1)
    spread_predicted = n**2 - (predicted**2).sum(axis=-1)
    return ratio(both, np.sqrt(spread_true * spread_predicted))


def calibration_error(
    gaps: Float[np.ndarray, "*lead B"], n: Float[np.ndarray, "*lead"]
) -> FloatArray:
    """Return the mean |confidence - hit rate| over bins; gaps are sums of confidence - hit."""
    return ratio(np.abs(gaps).sum(axis=-1), n)


def exact_areas(score: Float[np.ndarray, " n"], hit: Int[np.ndarray, " n"]) -> tuple[float, float]:
    """Return the area under the ROC curve, and average precision, of one class against the rest.

    Ties count half in the first and are one threshold in the second, as in scikit-learn. NaN
    where there is no hit, or nothing else.
    """
    order = np.argsort(-score)
    last_of_tie = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hits = np.cumsum(hit[order])[last_of_tie].astype(np.float64)
    misses = last_of_tie + 1.0 - hits
    roc, pr = _areas(np.diff(hits, prepend=0.0)[None], np.diff(misses, prepend=0.0)[None])
    return float(roc[0]), float(pr[0])


def binned_areas(
    hits: Float[np.ndarray, "*lead B"], misses: Float[np.ndarray, "*lead B"]
) -> tuple[FloatArray, FloatArray]:
    """Return the same from histograms over rising scores; a bin counts as one tie."""
    return _areas(hits[..., ::-1], misses[..., ::-1])


def area_shares(
    score: Float[np.ndarray, " n"], hit: BoolArray, group: Int[np.ndarray, " n"]
) -> FloatArray:
    """Return each row's share (n,) of the area under the ROC curve; their mean is the area.

    The area is that within groups, averaged over their rows. A share is the area of the row's
    group, moved by how far the row lies from its class's mean among the rows of the other class
    (the placements of DeLong, DeLong and Clarke-Pearson 1988, equations 3 and 4). So a mean over
    resampled rows is, to first order, the area of the resample. NaN in groups of one class.
    """
    order = np.lexsort((score, group))
    among, value, came = group[order], score[order], hit[order].astype(np.float64)
    begins = np.append(True, (np.diff(among) != 0) | (np.diff(value) != 0))
    tie = np.cumsum(begins) - 1
    counts: FloatArray = np.stack([np.bincount(among, 1.0 - came), np.bincount(among, came)])
    below = np.stack([_ranks_in(tie, 1.0 - came), _ranks_in(tie, came)])
    # What lies in the groups before is no rival.
    below -= (np.cumsum(counts, axis=1) - counts)[:, among]
    n_misses, n_hits = counts[:, among]
    both = (n_hits > 0) & (n_misses > 0)
    placed = np.where(came > 0, ratio(below[0], n_misses), 1.0 - ratio(below[1], n_hits))
    area = ratio(np.bincount(among, placed * came).astype(np.float64), counts[1])[among]
    own = np.where(came > 0, n_hits, n_misses)
    shares = np.empty(len(score))
    shares[order] = np.where(both, area + (placed - area) * (n_hits + n_misses) / own, np.nan)
    return shares


def _ranks_in(tie: IntArray, counted: Float[np.ndarray, " n"]) -> FloatArray:
    """Return how much is counted (n,) below each row of a sorted table, ties by half."""
    per_tie = np.bincount(tie, counted)
    return (np.cumsum(per_tie) - per_tie / 2.0)[tie]


def _areas(hits: FloatArray, misses: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return both areas from counts per threshold, the highest score first."""
    hits_up_to, misses_up_to = np.cumsum(hits, axis=-1), np.cumsum(misses, axis=-1)
    n_hits, n_misses = hits_up_to[..., -1], misses_up_to[..., -1]
    pairs = (hits * (n_misses[..., None] - misses_up_to + misses / 2.0)).sum(axis=-1)
    reached = hits_up_to + misses_up_to
    precision = hits_up_to / np.where(reached > 0, reached, 1.0)
    defined: BoolArray = (n_hits > 0) & (n_misses > 0)
    roc = np.where(defined, ratio(pairs, n_hits * n_misses), np.nan)
    return roc, np.where(defined, ratio((hits * precision).sum(axis=-1), n_hits), np.nan)


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient, NaN where there is nothing to divide by."""
    safe = np.where(denominator > 0, denominator, 1.0)
    return np.where(denominator > 0, numerator / safe, np.nan)
