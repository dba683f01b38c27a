"""A trained member, and the questions that show whether it learned, and what.

Shapes: n rows, T bars in the window, F features, K outputs, C classes
"""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from walkforge import models
from walkforge.base import FloatArray, IntArray, Precision
from walkforge.features import CLIP
from walkforge.models import Architecture, MemberDropout, PackedForward
from walkforge.study import Learned, Learning, Study
from walkforge.training import TrainingPlan

from ._specimen import Specimen

_ASKED_ROWS = 64
_TRAIN_ROWS = 1_000
# Cross-entropy makes the mean probability of its training rows the share of each class; so far off
# is no shyness of the first epochs.
_MOST_OFF_SHARE = 0.25
# Float32 rounds to 6e-8; sums over a few hundred terms, and a walk of some bars, lose two digits.
_SAME_OUTPUT = 1e-4
_SAME_LOSS = 2e-5
_EXACT = Precision("float32", autocast=False, tf32=False)


class Asked:
    """One trained member, and the questions it is asked."""

    def __init__(self, specimen: Specimen, one: Learned) -> None:
        self.specimen, self.one = specimen, one
        self.study: Study = specimen.study
        prepared = specimen.prepared
        self.values = prepared.series[one.part.series].values
        learning = Learning(self.study, prepared, specimen.heard)
        self.architecture: Architecture = learning.architecture
        self.twin = models.extract_twin(self.architecture, one.trained.state)

    def did_not_move(self) -> Iterator[str]:
        """Yield the tensors that are what they were drawn as."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.one.trained.member.random_seed)
            drawn = dict(self.architecture.twin().named_parameters())
        still = [n for n, first in drawn.items() if torch.equal(first, self.one.trained.state[n])]
        # A head of a forecast that counts nothing may stay where it is.
        if still and (len(still) == len(drawn) or not self.study.model.forecasts):
            yield (
                f"{len(still)} of {len(drawn)} tensors of weights ({', '.join(still[:3])}) are "
                "what they were before training, expected all to move"
            )

    def did_not_learn(self) -> Iterator[str]:
        """Yield where the training loss never fell below that of the first epoch."""
        name = self.one.trained.member.name
        lines = [m for e in self.specimen.heard.epochs for m in e["members"] if m["name"] == name]
        losses = [line["train_loss"] for line in lines]
        if len(losses) > 1 and not min(losses[1:]) < losses[0]:
            yield (
                f"training loss is {losses[0]:.5f} in the first epoch and {min(losses[1:]):.5f} "
                "at best afterwards, expected it to fall"
            )

    def says_otherwise(self) -> Iterator[str]:
        """Yield where test rows are predicted otherwise than by the twin, or in a batch."""
        rows = self._some(self.one.part.rows.test)
        twin = self._twin_outputs(rows)
        alone = np.concatenate([self._packed_outputs(rows[k : k + 1]) for k in range(4)])
        together = self._packed_outputs(rows)
        for words, found, wanted in (
            ("as its ordinary module", together, twin),
            ("one row alone as among others", alone, together[:4]),
        ):
            if (most := furthest(found, wanted)) > _SAME_OUTPUT:
                yield f"does not predict {words}: outputs differ by {most:.3g}, expected the same"

    def taught_otherwise(self) -> Iterator[str]:
        """Yield where the layers of training, dropout aside, are not those of the twin."""
        import torch

        rows = self._some(self.one.part.rows.train)
        keys = torch.zeros(1, dtype=torch.int64)
        found = self._packed_outputs(rows, dropout=MemberDropout(0.0, keys))
        most = furthest(found, self._twin_outputs(rows, training=True))
        if most > _SAME_OUTPUT:
            yield (
                f"is trained with other layers than its ordinary module has: outputs differ by "
                f"{most:.3g} with dropout off, expected the same"
            )

    def measured_otherwise(self) -> Iterator[str]:
        """Yield where the validation loss is not that of the predictions."""
        if self.study.model.forecasts:
            return
        part, plan = self.one.part, self.study.training
        rows = part.rows.validation
        labels = part.labels[rows].astype(np.int64)
        losses = plain_loss(self._twin_outputs(rows), labels, plan)
        if plan.class_weights == "balanced":
            counts = np.bincount(part.labels[part.rows.train])
            losses *= (counts.sum() / ((counts > 0).sum() * np.maximum(counts, 1)))[labels]
        wanted = float(losses.mean())
        found = self.one.trained.best_validation_loss
        if abs(found - wanted) > _SAME_LOSS * max(1.0, wanted):
            yield (
                f"the validation loss of its best epoch was {found:.6f}, while its predictions of "
                f"these rows have {wanted:.6f}; expected the same"
            )

    def off_the_shares(self) -> Iterator[str]:
        """Yield a class whose mean probability on training rows is far from its share there."""
        if self.study.model.forecasts or self.study.training.class_weights != "none":
            return
        rows = self._some(self.one.part.rows.train, _TRAIN_ROWS)
        p = _softmax(self._packed_outputs(rows)).mean(axis=0)
        shares = np.bincount(self.one.part.labels[rows], minlength=len(p)) / len(rows)
        worst = int(np.abs(p - shares).argmax())
        if abs(p[worst] - shares[worst]) > _MOST_OFF_SHARE:
            name = self.specimen.prepared.classes[worst]
            yield (
                f"{name!r} has a mean probability of {p[worst]:.3f} on training rows of which "
                f"{shares[worst]:.3f} are {name!r}; expected them within {_MOST_OFF_SHARE:g}"
            )

    def _some(self, rows: IntArray, most: int = _ASKED_ROWS) -> IntArray:
        return rows[:: -(-len(rows) // most)]

    def _windows(self, rows: IntArray) -> Any:
        """Return scaled windows [n, T, F] of rows, made without the room that makes them."""
        import torch

        back = np.arange(1 - self.study.features.window_bars, 1)
        x = self.values[rows[:, None] + back].astype(np.float32)
        scaler = self.one.part.scaler
        x = (x - scaler.center_.astype(np.float32)) / scaler.scale_.astype(np.float32)
        return torch.from_numpy(np.clip(x, -CLIP, CLIP))

    def _twin_outputs(self, rows: IntArray, *, training: bool = False) -> FloatArray:
        import torch

        twin = copy.deepcopy(self.twin).train(training)
        for layer in twin.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
            elif isinstance(layer, torch.nn.RNNBase):
                layer.dropout = 0.0
        with torch.no_grad():
            outputs: FloatArray = twin(self._windows(rows)).double().numpy()
        return outputs

    def _packed_outputs(self, rows: IntArray, dropout: MemberDropout | None = None) -> FloatArray:
        import torch

        scaler = self.one.part.scaler
        forward = PackedForward.build(
            self.architecture,
            torch.from_numpy(self.values),
            window_bars=self.study.features.window_bars,
            centers=[scaler.center_],
            scales=[scaler.scale_],
            clip=CLIP,
            precision=_EXACT,
        )
        state = models.stack_states(
            self.architecture, [self.one.trained.state], torch.device("cpu")
        )
        if dropout is None:
            return models.predict_outputs(forward, state, [rows])[0]
        with torch.no_grad():
            rows_MB = torch.from_numpy(rows.astype(np.int32))[None]
            outputs: FloatArray = (
                forward.outputs(state, rows_MB, dropout=dropout)[0].double().numpy()
            )
        return outputs


def furthest(found: FloatArray, wanted: FloatArray) -> float:
    """Return the largest difference, as a share of the outputs where these are above 1."""
    return float((np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))).max())


def _softmax(logits: FloatArray) -> FloatArray:
    return np.exp(_log_softmax(logits))


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p


def plain_loss(logits: FloatArray, labels: IntArray, plan: TrainingPlan) -> FloatArray:
    """Return the loss (n,) of logits (n, C) as the plan names it, in nats; see `training`."""
    log_p = _log_softmax(logits)
    hoped = np.full(log_p.shape, plan.label_smoothing / log_p.shape[1])
    hoped[np.arange(len(labels)), labels] += 1.0 - plan.label_smoothing
    doubt = (1.0 - np.exp(log_p)) ** plan.focal_gamma if plan.loss == "focal" else 1.0
    losses: FloatArray = -(hoped * doubt * log_p).sum(axis=1)
    return losses
