"""A MarketGPT whose batches are recorded and replayed trains as one whose batches are not.

Recordings are tapes here, as there may be no GPU.
"""

from dataclasses import replace

import pytest
import torch

from training.packs import Log, assert_same_state
from training.tape import record
from training.token_markets import FLOAT32, PLAN, SHAPE, small_table, train
from walkforge.base import Precision
from walkforge.training import _gpt_step
from walkforge.training._gpt_one_device import OneDevice
from walkforge.training._gpt_replays import worth_recording

FLOAT16 = Precision("float16", autocast=True, tf32=False)
CUDA = torch.device("cuda")


class Recorder:
    """Makes tapes in the place of CUDA graphs, or fails to."""

    def __init__(self, error=None):
        self.error, self.tapes = error, []

    def __call__(self, work):
        with torch.random.fork_rng(devices=[]):  # recording on a GPU draws nothing
            tape = record(work)
        if self.error is not None:
            raise self.error
        self.tapes.append(tape)
        return tape.replay


def records(monkeypatch, error=None):
    recorder = Recorder(error)
    monkeypatch.setattr(_gpt_step, "worth_recording", lambda *_: True)
    monkeypatch.setattr(_gpt_step, "CudaCapture", lambda: recorder)
    return recorder


@pytest.mark.parametrize("precision", [FLOAT32, FLOAT16], ids=str)
@pytest.mark.parametrize("n_classes", [0, 3])
def test_replayed_batches_train_as_single_ones(precision, n_classes, monkeypatch):
    """With draws of dropout, a rate that changes, and a head that has no gradient."""
    table, shape, log = small_table(), replace(SHAPE, n_classes=n_classes), Log()
    single = train(table, shape=shape, precision=precision)
    recorder = records(monkeypatch)
    replayed = train(table, shape=shape, precision=precision, watcher=log)

    assert len(recorder.tapes) == 1
    assert sum("CUDA graph" in note for note in log.notes) == 1
    assert replayed.history == single.history
    assert_same_state(replayed.state, single.state)


def test_a_training_with_replays_goes_on_where_it_was_cut_off(monkeypatch, tmp_path):
    class CutOff(Log):
        def step(self, epoch, step, n_steps):
            if (epoch, step) == (3, 2):
                raise KeyboardInterrupt

    table = small_table()
    whole = train(table)
    recorder = records(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(table, watcher=CutOff(), checkpoints=tmp_path)
    resumed = train(table, checkpoints=tmp_path)

    assert len(recorder.tapes) == 2
    assert resumed.history == whole.history
    assert_same_state(resumed.state, whole.state)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("not permitted when stream is capturing\nmore"), torch.OutOfMemoryError("full")],
    ids=str,
)
def test_where_recording_fails_training_goes_on_without_and_says_so(error, monkeypatch):
    table, log = small_table(), Log()
    single = train(table)
    records(monkeypatch, error)
    trained = train(table, watcher=log)

    said = [note for note in log.notes if "CUDA graph" in note]
    assert len(said) == 1
    assert str(error).split("\n")[0] in said[0]
    assert "more" not in said[0]
    assert_same_state(trained.state, single.state)


def test_an_error_of_ours_is_not_taken_for_a_recording_that_failed(monkeypatch):
    records(monkeypatch, ValueError("a mistake"))

    with pytest.raises(ValueError, match="a mistake"):
        train(small_table())


def test_a_batch_in_parts_is_not_recorded(monkeypatch):
    recorder, plan = records(monkeypatch), replace(PLAN, micro_windows=4)
    train(small_table(), plan)

    assert recorder.tapes == []


def test_after_a_batch_that_did_not_fit_nothing_is_recorded(monkeypatch):
    recorder, backward, calls = records(monkeypatch), OneDevice.backward, []

    def fail_once(self, loss):
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("no memory")
        backward(self, loss)

    monkeypatch.setattr(OneDevice, "backward", fail_once)
    log = Log()
    train(small_table(), watcher=log)

    assert recorder.tapes == []
    assert log.reports[-1]["micro_windows"] == 3


class Pair(OneDevice):
    n_processes = 2


@pytest.mark.parametrize(
    ("on", "d_model", "checkpointing", "expected"),
    [
        (OneDevice(CUDA, FLOAT32), 256, False, True),
        (OneDevice(CUDA, FLOAT32), 258, False, False),
        (OneDevice(CUDA, FLOAT32), 256, True, False),
        (OneDevice(torch.device("cpu"), FLOAT32), 256, False, False),
        (Pair(CUDA, FLOAT32), 256, False, False),
    ],
    ids=["small", "wide", "gradient checkpointing", "on a CPU", "two devices"],
)
def test_small_models_alone_on_a_gpu_are_recorded(on, d_model, checkpointing, expected):
    shape = replace(SHAPE, d_model=d_model, heads=1)
    plan = replace(PLAN, gradient_checkpointing=checkpointing)

    assert worth_recording(shape, plan, on) == expected
