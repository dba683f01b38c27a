"""The same training on a CUDA device: recorded as graphs, in its own precision, short of memory."""

import dataclasses

import pytest
import torch

from training.packs import (
    BILSTM,
    CNN_LSTM,
    DEEP_BATCH_NORM,
    DEEP_GRU,
    DROPPED,
    PLAN,
    Log,
    assert_same_members,
    make_table,
    many_members,
    train,
)
from walkforge.base import choose_device, choose_precision
from walkforge.models import Mlp
from walkforge.training import TrainingPlan

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
EVERY = pytest.mark.parametrize(
    "architecture",
    [DROPPED, DEEP_BATCH_NORM, DEEP_GRU, CNN_LSTM, BILSTM],
    ids=["mlp", "batch norm", "gru", "cnn_lstm", "bilstm"],
)
STOPPING = TrainingPlan(epochs=9, batch_size=32, learning_rate=0.01, patience=2)


@pytest.fixture
def tables():
    cpu = make_table()
    return cpu, cpu.to(choose_device("cuda")[0])


@EVERY
def test_float32_on_cuda_trains_as_on_the_cpu(architecture, tables):
    here, there = tables
    members = many_members(here)
    exact = choose_precision("float32", there.device)[0]
    on_cpu = train(architecture, here, members, PLAN)
    on_cuda = train(architecture, there, members, PLAN, precision=exact)
    for cpu, cuda in zip(on_cpu, on_cuda, strict=True):
        assert cuda.best_validation_loss == pytest.approx(cpu.best_validation_loss, rel=1e-2)


@EVERY
def test_the_precision_of_the_device_learns_as_well_as_float32(architecture, tables):
    _, there = tables
    members = many_members(there.cpu())
    native, exact = (
        train(architecture, there, members, precision=choose_precision(name, there.device)[0])
        for name in ("auto", "float32")
    )
    for left, right in zip(native, exact, strict=True):
        assert left.best_validation_loss == pytest.approx(right.best_validation_loss, abs=0.05)


@EVERY
def test_a_training_on_cuda_goes_on_from_its_checkpoint(architecture, tables, tmp_path):
    _, there = tables
    members = many_members(there.cpu())
    whole = train(architecture, there, members, STOPPING)

    class CutOff(Log):
        def epoch(self, report):
            super().epoch(report)
            if report["epoch"] == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(architecture, there, members, STOPPING, watcher=CutOff(), checkpoints=tmp_path)
    resumed = train(architecture, there, members, STOPPING, checkpoints=tmp_path)
    assert_same_members(whole, resumed, rtol=1e-2, atol=1e-3)


def test_compiled_steps_on_cuda_train_as_plain_ones(tables):
    _, there = tables
    members = many_members(there.cpu())
    plain = train(DROPPED, there, members, PLAN)
    compiled = train(DROPPED, there, members, PLAN, compiled=True)
    assert_same_members(plain, compiled, rtol=1e-2, atol=1e-3)


def test_a_pack_too_large_for_the_device_is_split(tables):
    _, there = tables
    wide = Mlp(n_features=5, window_bars=1, n_classes=3, widths=(2048,))
    members = many_members(there.cpu(), 40)
    plan = dataclasses.replace(PLAN, epochs=2, batch_size=100)
    whole = train(wide, there, members, plan)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(there.device).total_memory
    torch.cuda.set_per_process_memory_fraction(150 * 2**20 / total, there.device)
    try:
        log = Log()
        split = train(wide, there, members, plan, watcher=log)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, there.device)
    assert any("out of memory" in note for note in log.notes)
    for left, right in zip(whole, split, strict=True):
        assert left.best_validation_loss == pytest.approx(right.best_validation_loss, rel=1e-2)


def test_float16_on_cuda_learns_as_well_as_float32(tables):
    _, there = tables
    members = many_members(there.cpu())
    half, exact = (
        train(CNN_LSTM, there, members, precision=choose_precision(name, there.device)[0])
        for name in ("float16", "float32")
    )
    for left, right in zip(half, exact, strict=True):
        assert left.best_validation_loss == pytest.approx(right.best_validation_loss, abs=0.05)


@pytest.mark.parametrize("architecture", [DEEP_GRU, CNN_LSTM, BILSTM], ids=["gru", "cnn", "bilstm"])
def test_the_walk_of_every_layer_is_measured_and_told(architecture, tables):
    _, there = tables
    log = Log()
    train(architecture, there, many_members(there.cpu()), watcher=log)
    told = [note for note in log.notes if "resident" in note or "batched" in note]
    widths = {(layer.kind, layer.hidden) for layer in architecture.recurrences()}
    assert len(told) >= len(widths), log.notes
