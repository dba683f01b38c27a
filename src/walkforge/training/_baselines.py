"""What costs nothing, or little, and must be beaten: five baselines on the same folds and rows.

    probabilities = BASELINES["prior"](rows)

Every baseline learns from the training rows alone (LightGBM stops by the validation rows) and
gives probabilities (n, C) for the rows it is asked about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforge.base import FloatArray, Int8Array, IntArray
from walkforge.models import (
    LEAST_PROBABILITY,
    lagged_inputs,
    lags_within,
    spread_over_classes,
    tree_probabilities,
)

if TYPE_CHECKING:
    from lightgbm import Booster


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BaselineRows:
    """One symbol in one fold: its table and the rows of each slice.

    `table` (N, F) float32 holds features before scaling; `labels` (N,) int8 are -1 where a row
    has no label; times are ms UTC.
    """

    table: np.ndarray
    labels: Int8Array
    decided_at: IntArray
    resolved_at: IntArray
    train: IntArray
    validation: IntArray
    asked: IntArray
    """Rows to predict: calibration or test."""
    scale: Callable[[np.ndarray], np.ndarray]
    """The scaler's `transform`, fitted on the training rows."""
    window_bars: int
    n_classes: int

    def inputs(self, rows: IntArray) -> np.ndarray:
        """Return scaled features (n, F x lags) float32 of rows, at a few lags of the window."""
        lags = lags_within(self.window_bars)
        return lagged_inputs(self.table, rows, lags=lags, scale=self.scale)

    def train_shares(self) -> FloatArray:
        """Return the share (C,) of each class in the training rows."""
        counts = np.bincount(self.labels[self.train], minlength=self.n_classes)
        return counts / counts.sum()


def majority(rows: BaselineRows) -> FloatArray:
    """Always the most frequent class, as sure as it was right in training."""
    shares = rows.train_shares()
    return _sure_of(np.full(len(rows.asked), shares.argmax()), float(shares.max()), rows.n_classes)


def prior(rows: BaselineRows) -> FloatArray:
    """The class shares of the training rows, whatever happens."""
    shares = np.clip(rows.train_shares(), LEAST_PROBABILITY, None)
    return np.tile(shares / shares.sum(), (len(rows.asked), 1))


def persistence(rows: BaselineRows) -> FloatArray:
    """The last label that was resolved when a row was decided, as sure as in training."""
    known = _last_resolved(rows)
    hits = known[rows.train] == rows.labels[rows.train]
    return _sure_of(known[rows.asked], float(hits.mean()), rows.n_classes)


def logistic(rows: BaselineRows) -> FloatArray:
    """Multinomial logistic regression on the scaled features."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=0.1, max_iter=200, tol=1e-3)
    model.fit(rows.inputs(rows.train), rows.labels[rows.train])
    said = model.predict_proba(rows.inputs(rows.asked))
    return spread_over_classes(said, model.classes_, rows.n_classes)


def lightgbm(rows: BaselineRows) -> FloatArray:
    """Gradient-boosted trees, stopped by the validation rows."""
    return tree_probabilities(class_trees(rows), rows.inputs(rows.asked))


def class_trees(rows: BaselineRows) -> Booster:
    """Return the trees of the `lightgbm` baseline, to be asked by `models.tree_probabilities`."""
    from ._boosting import boosted_trees

    return boosted_trees(
        rows.inputs,
        rows.labels,
        learn=rows.train,
        stop=rows.validation,
        n_classes=rows.n_classes,
    )


BASELINES: dict[str, Callable[[BaselineRows], FloatArray]] = {
    "majority": majority,
    "prior": prior,
    "persistence": persistence,
    "logistic": logistic,
    "lightgbm": lightgbm,
}


def _last_resolved(rows: BaselineRows) -> Int8Array:
    """Return for every row the label resolved last at its decision, the majority before any."""
    labelled = np.flatnonzero(rows.labels >= 0)
    order = labelled[np.argsort(rows.resolved_at[labelled], kind="stable")]
    # A label resolved at the very moment of the decision is known by then.
    place = np.searchsorted(rows.resolved_at[order], rows.decided_at, side="right") - 1
    first = np.int8(rows.train_shares().argmax())
    return np.where(place >= 0, rows.labels[order[np.maximum(place, 0)]], first).astype(np.int8)


def _sure_of(classes: IntArray | Int8Array, hit_rate: float, n_classes: int) -> FloatArray:
    """Return probabilities whose largest is `classes`, with the hit rate as its probability.

    A baseline right less often than chance still names its class, by a hair's breadth.
    """
    sure = np.clip(hit_rate, 1 / n_classes + 1e-6, 1 - LEAST_PROBABILITY)
    probabilities = np.full((len(classes), n_classes), (1 - sure) / (n_classes - 1))
    probabilities[np.arange(len(classes)), classes] = sure
    return probabilities
