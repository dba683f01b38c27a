"""A linear head on the last hidden state of a trained MarketGPT, whose body stays as it is.

hidden = last_hidden(model, table, rows, most_tokens=97, precision=precision)
head = fit_direction_head(hidden[train], labels[train], hidden[stop], labels[stop], n_classes=3)
model = with_direction_head(model, head)

Shapes: n rows, D width, C classes, K classes that training has met
"""

import copy
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from walkforge.base import FloatArray, Int8Array, IntArray, TrainingError
from walkforge.models import LEAST_PROBABILITY, MarketGpt

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

FloatArray32 = NDArray[np.float32]
Labels = IntArray | Int8Array

# Of the mean log loss per row, hence the same for any number of rows; each a tenth of the one
# before it. Of the first little more than the prior is left.
_STRENGTHS = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4)
_MOST_ITERATIONS = 200
# Of a column's mean: a spread below it is rounding in float32 and nothing to be magnified.
_LEAST_SPREAD_FRAC = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class DirectionHead:
    """One linear layer from hidden states to class scores, and how it was chosen."""

    weight: FloatArray32
    """(C, D)."""
    bias: FloatArray32
    """(C,)."""
    strength: float
    """Half of it times the squared weights of standardised states was added to the mean loss."""
    validation_loss: float
    """Mean log loss of the validation rows, in nats."""


def fit_direction_head(
    hidden_train: FloatArray32,
    labels_train: Labels,
    hidden_validation: FloatArray32,
    labels_validation: Labels,
    *,
    n_classes: int,
) -> DirectionHead:
    """Return a multinomial logistic regression of labels (n,) on hidden states (n, D).

    States are standardised by the training rows, which is folded into the head. Of a fixed ladder
    of L2 strengths the one with the least validation loss is taken, the stronger of equal ones. A
    class that training has not met gets `LEAST_PROBABILITY` at the mean state. Raises
    TrainingError for rows that nothing can be learned from.
    """
    _require_rows("training", hidden_train, labels_train, n_classes)
    _require_rows("validation", hidden_validation, labels_validation, n_classes)
    if len(np.unique(labels_train)) == 1:
        raise TrainingError(
            f"all {len(labels_train)} training rows of the direction head have class "
            f"{labels_train[0]}; expected at least two classes: use more bars or other labels"
        )
    heads = []
    for strength, weight, bias in _fits(hidden_train, labels_train, n_classes):
        loss = _log_loss(hidden_validation @ weight.T + bias, labels_validation)
        heads.append(DirectionHead(weight, bias, strength, loss))
    return min(heads, key=lambda head: head.validation_loss)


def with_direction_head(model: MarketGpt, head: DirectionHead) -> MarketGpt:
    """Return a copy of the model whose `class_logits` are the head's scores.

    Raises TrainingError where the head reads states of another width.
    """
    n_classes, width = head.weight.shape
    if width != model.shape.d_model:
        raise TrainingError(
            f"the direction head reads {width} numbers; the model's states have "
            f"{model.shape.d_model}"
        )
    direction = nn.utils.skip_init(nn.Linear, width, n_classes)
    direction.load_state_dict(
        {"weight": torch.from_numpy(head.weight), "bias": torch.from_numpy(head.bias)}
    )
    found = copy.deepcopy(model)
    found.shape = replace(model.shape, n_classes=n_classes)
    found.direction = direction.to(next(model.parameters()))
    return found


def _require_rows(what: str, hidden: FloatArray32, labels: Labels, n_classes: int) -> None:
    """Raise TrainingError where rows cannot be learned from or measured."""
    if len(labels) == 0:
        raise TrainingError(
            f"the direction head has no {what} rows; use more bars or longer slices"
        )
    if not (labels.min() >= 0 and labels.max() < n_classes):
        raise TrainingError(
            f"{what} labels of the direction head are {labels.min()} to {labels.max()}; expected "
            f"0 to {n_classes - 1}"
        )
    if not np.isfinite(hidden).all():
        raise TrainingError(
            f"hidden states of {what} rows are not finite; train the model with a lower "
            "training.learning_rate"
        )


def _fits(
    hidden: FloatArray32, labels: Labels, n_classes: int
) -> list[tuple[float, FloatArray32, FloatArray32]]:
    """Return what each strength of the ladder leads to."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean_D, spread_D = _mean_and_spread(hidden)
    inputs = hidden - mean_D
    inputs /= spread_D
    model = LogisticRegression(max_iter=_MOST_ITERATIONS, warm_start=True)
    fits = []
    with warnings.catch_warnings():
        # One that stops short of its optimum is judged by validation as it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for strength in _STRENGTHS:
            # scikit-learn weighs the sum of losses, and not the squared weights.
            model.set_params(C=1 / (strength * len(labels))).fit(inputs, labels)
            weight_CD, bias_C = _of_all_classes(model, n_classes)
            weight_CD = weight_CD / spread_D
            bias_C = bias_C - weight_CD @ mean_D
            fits.append((strength, weight_CD.astype(np.float32), bias_C.astype(np.float32)))
    return fits


def _mean_and_spread(hidden: FloatArray32) -> tuple[FloatArray32, FloatArray32]:
    """Return (D,) each, the spread of a constant column above 0; nothing as large as `hidden`."""
    variance, mean = torch.var_mean(torch.from_numpy(hidden), dim=0, correction=0)
    least = _LEAST_SPREAD_FRAC * mean.abs() + torch.finfo(mean.dtype).tiny
    return mean.numpy(), torch.maximum(variance.sqrt(), least).numpy()


def _of_all_classes(model: "LogisticRegression", n_classes: int) -> tuple[FloatArray, FloatArray]:
    """Return weight (C, D) and bias (C,) of standardised states, for classes not met too."""
    weight_KD, bias_K = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(model.classes_) == 2:  # its scores are of the second class against the first
        weight_KD, bias_K = (np.concatenate([-one, one]) / 2 for one in (weight_KD, bias_K))
    weight_CD = np.zeros((n_classes, weight_KD.shape[1]))
    bias_C = np.full(n_classes, np.log(LEAST_PROBABILITY * np.exp(bias_K).sum()))
    weight_CD[model.classes_], bias_C[model.classes_] = weight_KD, bias_K
    return weight_CD, bias_C


def _log_loss(scores_nC: FloatArray32, labels: Labels) -> float:
    """Return the mean over rows, in nats."""
    target_n = torch.from_numpy(labels.astype(np.int64))
    return cross_entropy(torch.from_numpy(scores_nC), target_n).item()
