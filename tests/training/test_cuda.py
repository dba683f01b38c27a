"""The same training on a CUDA device."""

import numpy as np
import pytest
import torch

from walkforge.base import choose_device, choose_precision
from walkforge.models import Gru, Mlp
from walkforge.training import Member, TrainingPlan, train_pack

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
MLP = Mlp(n_features=6, window_bars=1, n_classes=3, widths=(32, 16), dropout=0.1)
GRU = Gru(n_features=6, window_bars=5, n_classes=3, hidden=16)


def _trained(architecture, device, precision):
    random = np.random.default_rng(1)
    values = random.normal(size=(3000, 6)).astype(np.float32)
    labels = np.digitize(values[:, 0] + values[:, 1], [-0.6, 0.6]).astype(np.int8)
    train, validation = np.arange(10, 2000), np.arange(2100, 3000)
    members = [
        Member(
            symbol=symbol, fold=0, seed=0,
            train_rows=train[300 * number :], train_labels=labels[train[300 * number :]],
            validation_rows=validation, validation_labels=labels[validation],
            center=np.zeros(6), scale=np.ones(6),
        )
        for number, symbol in enumerate("ABC")
    ]  # fmt: skip
    return train_pack(
        architecture,
        torch.from_numpy(values).to(device),
        members,
        TrainingPlan(epochs=4, batch_size=128, learning_rate=3e-3),
        window_bars=architecture.window_bars,
        n_classes=3,
        clip=10.0,
        precision=precision,
    )


@pytest.mark.parametrize("architecture", [MLP, GRU], ids=str)
def test_float32_on_cuda_trains_as_on_the_cpu(architecture):
    cuda, cpu = choose_device("cuda")[0], torch.device("cpu")
    exact = choose_precision("float32", cpu)[0]
    for there, here in zip(
        _trained(architecture, cuda, exact), _trained(architecture, cpu, exact), strict=True
    ):
        assert there.best_validation_loss == pytest.approx(here.best_validation_loss, rel=1e-3)


@pytest.mark.parametrize("architecture", [MLP, GRU], ids=str)
def test_the_precision_of_the_device_learns_as_well_as_float32(architecture):
    cuda = choose_device("cuda")[0]
    native = _trained(architecture, cuda, choose_precision("auto", cuda)[0])
    exact = _trained(architecture, cuda, choose_precision("float32", cuda)[0])
    for left, right in zip(native, exact, strict=True):
        assert left.best_validation_loss == pytest.approx(right.best_validation_loss, abs=0.03)
