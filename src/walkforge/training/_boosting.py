"""Gradient-boosted trees on rows that are made as they are needed, and never all at once.

LightGBM itself would want the whole matrix as numbers beside its bins, and 200,000 rows of it
once more in float64: at a million rows of 72 columns 560 MiB instead of 310 MiB.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from lightgbm import Booster, Dataset, Sequence, early_stopping, train

from walkforge.base import IntArray

Inputs = Callable[[IntArray], np.ndarray]
"""Row numbers (n,) to what a model sees of them (n, F), float32."""

# LightGBM looks at no more rows than this to choose its bins, in every dataset.
_MOST_BINNING_ROWS = 200_000
_ROUNDS = 300
_PATIENCE = 20
_SETTINGS = {
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 50,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.5,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


def boosted_trees(
    inputs: Inputs,
    truth: np.ndarray,
    *,
    learn: IntArray,
    stop: IntArray,
    n_classes: int | None = None,
) -> Booster:
    """Return trees that learned from the rows `learn`, as many as suit the rows `stop` best.

    `truth` (N,) holds what came true of every row number: a class of `n_classes`, or without
    these a number. Bins are chosen from at most 200,000 rows of `learn`, evenly spaced.
    """
    aim: dict[str, Any] = {"objective": "regression"}
    if n_classes is not None:
        aim = {"objective": "multiclass", "num_class": n_classes}
    settings = _SETTINGS | aim
    learned = _binned(inputs, truth, learn, settings)
    stopping = Dataset(_Rows(inputs, stop), truth[stop], reference=learned, params=settings)
    return train(
        settings,
        learned,
        num_boost_round=_ROUNDS,
        valid_sets=[stopping],
        callbacks=[early_stopping(_PATIENCE, verbose=False)],
    )


def _binned(inputs: Inputs, truth: np.ndarray, rows: IntArray, settings: dict[str, Any]) -> Dataset:
    """Return the rows as bins."""
    n_chosen = min(len(rows), _MOST_BINNING_ROWS)
    chosen = rows[np.arange(n_chosen) * len(rows) // n_chosen]
    bins = Dataset(inputs(chosen), truth[chosen], params=settings).construct()
    if n_chosen == len(rows):
        return bins
    return Dataset(_Rows(inputs, rows), truth[rows], reference=bins, params=settings).construct()


class _Rows(Sequence):
    """Some rows, made in batches when LightGBM asks for them."""

    batch_size = 16_384

    def __init__(self, inputs: Inputs, rows: IntArray) -> None:
        self.inputs = inputs
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, batch: slice) -> np.ndarray:
        return self.inputs(self.rows[batch])
