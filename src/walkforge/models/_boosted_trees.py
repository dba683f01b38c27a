"""Gradient-boosted trees, as far as applying them goes: what they see of a row, and what they say.

Shapes: N rows of a table, n rows asked, F features, C classes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from walkforge.base import BundleError, FloatArray, IntArray

if TYPE_CHECKING:
    from lightgbm import Booster

LEAST_PROBABILITY = 1e-3
"""No class gets less before its row is divided by its sum: training may not have met it."""

# Bars back at which a window is seen: enough of its shape, few enough columns.
_LAGS = (0, 1, 2, 4, 8, 16, 32, 64)
_CHUNK_ROWS = 16_384


def lags_within(window_bars: int) -> list[int]:
    """Return how many bars back a window of so many bars is seen, its newest bar first."""
    return [lag for lag in _LAGS if lag < window_bars]


def lagged_inputs(
    table: np.ndarray,
    rows: IntArray,
    *,
    lags: Sequence[int],
    scale: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return scaled features (n, F x lags) float32 of rows of a table (N, F), lag by lag."""
    width = table.shape[1]
    inputs = np.empty((len(rows), width * len(lags)), dtype=np.float32)
    # In chunks: of all training rows one copy is in memory, which may be most of the table.
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = slice(start, start + _CHUNK_ROWS)
        for number, lag in enumerate(lags):
            columns = slice(number * width, (number + 1) * width)
            inputs[chunk, columns] = scale(table[rows[chunk] - lag])
    return inputs


def tree_probabilities(trees: Booster, inputs: np.ndarray) -> FloatArray:
    """Return what trees of C classes say of inputs, as probabilities (n, C)."""
    said = np.asarray(trees.predict(inputs))
    return spread_over_classes(said, np.arange(said.shape[1]), said.shape[1])


def spread_over_classes(said: FloatArray, classes: np.ndarray, n_classes: int) -> FloatArray:
    """Return (n, C) probabilities where a model may not have met every class in training.

    `said` holds a column per class that it knows; `classes` are their numbers.
    """
    probabilities = np.full((len(said), n_classes), LEAST_PROBABILITY)
    probabilities[:, classes] = np.clip(said, LEAST_PROBABILITY, None)
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def trees_as_text(trees: Booster) -> str:
    """Return trees in LightGBM's own text, as many as training found best."""
    return str(trees.model_to_string())


def trees_from_text(text: str) -> Booster:
    """Return the trees of `trees_as_text`; raise BundleError for a text that is none of theirs."""
    from lightgbm import Booster
    from lightgbm.basic import LightGBMError

    _refuse_other_lengths(text)
    try:
        return Booster(model_str=text)
    except LightGBMError as error:
        raise BundleError(f"LightGBM cannot read its trees ({error})") from None


def _refuse_other_lengths(text: str) -> None:
    """Refuse a text whose trees do not lie where its head says that they do.

    LightGBM reads on behind the end of such a text, and takes the process with it.
    """
    head, start, trees = text.partition("\nTree=0\n")
    sizes = next((line for line in head.splitlines() if line.startswith("tree_sizes=")), "")
    try:
        n_bytes = sum(int(size) for size in sizes.removeprefix("tree_sizes=").split())
    except ValueError:
        n_bytes = -1
    block = (start[1:] + trees).encode()
    if not (sizes and block[n_bytes:].startswith(b"end of trees\n")):
        raise BundleError("its trees are cut off, or are no text of LightGBM")
