"""A tiny training has stored numbers: a refactor reproduces them, a change justifies new ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from walkforge.base import Precision
from walkforge.models import Gru, Mlp
from walkforge.training import Member, TrainingPlan, train_pack

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "tiny_losses.json"
ARCHITECTURES = {
    "mlp": Mlp(n_features=4, window_bars=1, n_classes=3, widths=(8,), dropout=0.1),
    "gru": Gru(n_features=4, window_bars=3, n_classes=3, hidden=5),
}


class _Losses:
    def __init__(self):
        self.losses = []

    def note(self, text):
        pass

    def doing(self, what):
        pass

    def step(self, epoch, step, n_steps):
        pass

    def epoch(self, report):
        self.losses += [[line["train_loss"], line["validation_loss"]] for line in report["members"]]


def tiny_losses(name: str) -> list[list[float]]:
    """Return the losses of two members over five epochs: CPU, float32, seeds 7 and 8."""
    architecture = ARCHITECTURES[name]
    random = np.random.default_rng(7)
    table = random.normal(size=(200, 4)).astype(np.float32)
    labels = np.digitize(table[:, 0] * table[:, 1], [-0.2, 0.2]).astype(np.int8)
    train, validation = np.arange(5, 125), np.arange(130, 200)
    members = [
        Member(
            symbol="TINY", fold=0, seed=seed,
            train_rows=train, train_labels=labels[train],
            validation_rows=validation, validation_labels=labels[validation],
            center=np.zeros(4), scale=np.ones(4),
        )
        for seed in (7, 8)
    ]  # fmt: skip
    log = _Losses()
    train_pack(
        architecture,
        torch.from_numpy(table),
        members,
        TrainingPlan(epochs=5, batch_size=30, learning_rate=0.01, loss="focal"),
        window_bars=architecture.window_bars,
        n_classes=3,
        clip=10.0,
        precision=Precision("float32", autocast=False, tf32=False),
        watcher=log,
    )
    return log.losses


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_tiny_training_gives_the_stored_losses(name):
    expected = json.loads(GOLDEN.read_text())[name]
    np.testing.assert_allclose(tiny_losses(name), expected, rtol=1e-4)
