"""Logits to probabilities, row by row.

Sums run over the classes one column at a time and in float64, so that a row's result does not
depend on how many rows stand beside it.
"""

from collections.abc import Callable

import numpy as np

from walkforge.base import CalibrationError, FloatArray


def log_softmax(logits: FloatArray) -> FloatArray:
    """Return log probabilities (n, C) of finite logits (n, C)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(_sum_over_classes(np.exp(shifted)))


def softmax(logits: FloatArray) -> FloatArray:
    """Return probabilities (n, C) of finite logits (n, C); rows sum to 1."""
    return normalise(np.exp(logits - logits.max(axis=1, keepdims=True)))


def normalise(weights: FloatArray) -> FloatArray:
    """Return non-negative weights (n, C) divided by their sum per row."""
    return weights / _sum_over_classes(weights)


def margins(logits: FloatArray) -> FloatArray:
    """Return each class's log odds against all others together (n, C).

    Unlike the probability itself it does not end in a heap of exact ones for sure rows.
    """
    n_classes = logits.shape[1]
    columns = []
    for k in range(n_classes):
        others = np.ascontiguousarray(logits[:, [c for c in range(n_classes) if c != k]])
        highest = others.max(axis=1, keepdims=True)
        rest = highest + np.log(_sum_over_classes(np.exp(others - highest)))
        columns.append(logits[:, k] - rest[:, 0])
    return np.stack(columns, axis=1)


def row_by_row(
    logits: np.ndarray, function: Callable[[FloatArray], FloatArray], *, n_classes: int
) -> FloatArray:
    """Apply a function of finite logits (n, C); rows with NaN or Inf come out as NaN.

    The copy to contiguous float64 matters: strided input would take another path through
    numpy's exp, and the last digit with it.
    """
    if logits.shape[1] != n_classes:
        raise CalibrationError(
            f"logits of {logits.shape[1]} classes, expected {n_classes} as in the calibration "
            "slice; pass the logits of the network that this calibrator was fitted for"
        )
    rows = np.ascontiguousarray(logits, dtype=np.float64)
    if len(rows) == 0:
        return np.zeros(rows.shape)
    finite = np.isfinite(rows).all(axis=1, keepdims=True)
    return np.where(finite, function(np.where(finite, rows, 0.0)), np.nan)


def _sum_over_classes(values: FloatArray) -> FloatArray:
    """Return the sum over classes (n, 1), first class first."""
    total = values[:, :1].copy()
    for k in range(1, values.shape[1]):
        total += values[:, k : k + 1]
    return total
