"""How much of a label is its own: overlapping labels tell of the same future.

Shapes: n labels, E moments at which a label begins or ends
"""

import numpy as np

from walkforge.base import EvaluationError, FloatArray, IntArray


def label_uniqueness(decided_at: IntArray, resolved_at: IntArray) -> FloatArray:
    """Return the average uniqueness of each label (n,), above 0 and at most 1.

    At any moment a label's uniqueness is 1 over the number of labels that are open, its own
    included; the average is over the label's time from `decided_at` up to `resolved_at` (n,), ms.
    Lopez de Prado (2018), Advances in Financial Machine Learning, sections 4.3 and 4.4: his bars
    are of one length, so that averages over bars and over time are the same. A night or a hole
    inside a label counts by the clock. Labels of several symbols are not meant to be mixed: call
    it once a symbol. Any order; O(n log n). Raises EvaluationError where a label does not end
    after its beginning, or both arrays are not of one length.
    """
    _refuse(decided_at, resolved_at)
    if len(decided_at) == 0:
        return np.zeros(0)
    moments, place = np.unique(np.concatenate([decided_at, resolved_at]), return_inverse=True)
    begins, ends = place[: len(decided_at)], place[len(decided_at) :]
    size = len(moments)
    n_open = np.cumsum(np.bincount(begins, minlength=size) - np.bincount(ends, minlength=size))
    # Between labels nothing is open; no label's sum reaches into such a stretch.
    share_ms = np.diff(moments) / np.maximum(n_open[:-1], 1)
    until_ms = np.concatenate([[0.0], np.cumsum(share_ms)])
    return (until_ms[ends] - until_ms[begins]) / (resolved_at - decided_at)


def effective_labels(uniqueness: FloatArray) -> float:
    """Return the number of independent labels that tell as much: the sum of uniqueness (n,).

    n labels without overlap count n, n at one time count 1. Over n it is the average uniqueness,
    which Lopez de Prado (2018), section 4.5, takes as the share of rows that a bag may draw.
    """
    return float(uniqueness.sum())


def _refuse(decided_at: IntArray, resolved_at: IntArray) -> None:
    if decided_at.shape != resolved_at.shape or decided_at.ndim != 1:
        raise EvaluationError(
            f"decided_at {decided_at.shape} and resolved_at {resolved_at.shape}: "
            "expected two moments for each label, both (n,)"
        )
    early = np.flatnonzero(resolved_at <= decided_at)
    if len(early):
        raise EvaluationError(
            f"label {early[0]} is resolved at {resolved_at[early[0]]} ms, decided at "
            f"{decided_at[early[0]]} ms; a label is resolved after its decision"
        )
