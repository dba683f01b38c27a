"""A MarketGPT trains on a CUDA device as it does on the CPU: plain, compiled, recorded, resumed."""

from dataclasses import replace

import pytest
import torch

from training.packs import Log
from training.token_markets import FLOAT32, PLAN, SHAPE, build, small_table
from walkforge.base import choose_device, choose_precision
from walkforge.training import _gpt_step, token_losses, train_gpt
from walkforge.training._cuda_capture import CudaCapture

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
SURE = replace(SHAPE, dropout=0.0)


def train_on(device, plan=PLAN, *, shape=SURE, precision="float32", **changes):
    where, _ = choose_device(device)
    chosen, _ = choose_precision(precision, where)
    model = build(shape).to(where)
    return train_gpt(model, small_table(), plan, seed=0, precision=chosen, **changes)


def is_recorded(log):
    return any("one CUDA graph" in note for note in log.notes)


def losses(trained):
    return [epoch["train_loss"] for epoch in trained.history]


def test_float32_on_cuda_trains_as_on_the_cpu():
    assert losses(train_on("cuda")) == pytest.approx(losses(train_on("cpu")), rel=1e-3)


def test_the_precision_of_the_device_learns_about_as_well():
    log = Log()
    native = train_on("cuda", precision="auto", watcher=log)

    assert losses(native) == pytest.approx(losses(train_on("cpu")), rel=0.05)
    assert log.reports[-1]["gpu_memory_bytes"] > 0


@pytest.mark.parametrize("precision", ["float32", "auto"])
@pytest.mark.parametrize("shape", [SURE, SHAPE], ids=["sure", "dropout"])
def test_recorded_batches_train_as_plain_ones(shape, precision, monkeypatch):
    """Draws of dropout are the same as well."""
    log, tolerance = Log(), 1e-4 if precision == "float32" else 1e-2
    recorded = train_on("cuda", shape=shape, precision=precision, watcher=log)
    monkeypatch.setattr(_gpt_step, "worth_recording", lambda *_: False)
    plain_log = Log()
    plain = train_on("cuda", shape=shape, precision=precision, watcher=plain_log)

    assert is_recorded(log)
    assert not is_recorded(plain_log)
    assert losses(recorded) == pytest.approx(losses(plain), rel=tolerance)


def test_out_of_memory_while_recording_goes_on_without(monkeypatch):
    class Full(CudaCapture):
        def __call__(self, work):
            def work_and_fail():
                work()
                raise torch.OutOfMemoryError("no memory")

            return super().__call__(work_and_fail)

    log = Log()
    plain = train_on("cpu")
    monkeypatch.setattr(_gpt_step, "CudaCapture", Full)
    trained = train_on("cuda", watcher=log)

    assert any("going on without" in note for note in log.notes)
    assert losses(trained) == pytest.approx(losses(plain), rel=1e-3)


def test_a_recording_that_the_driver_refuses_goes_on_without(monkeypatch):
    class Refused(CudaCapture):
        def __call__(self, work):
            def work_and_wait():
                work()
                torch.cuda.current_stream().synchronize()  # not permitted while recording

            return super().__call__(work_and_wait)

    log = Log()
    whole = train_on("cuda", shape=SHAPE)
    monkeypatch.setattr(_gpt_step, "CudaCapture", Refused)
    trained = train_on("cuda", shape=SHAPE, watcher=log)

    assert any("going on without" in note for note in log.notes)
    assert losses(trained) == pytest.approx(losses(whole), rel=1e-4)


@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
@pytest.mark.parametrize("micro_windows", [None, 2])
@pytest.mark.parametrize("d_model", [16, 512])
def test_compiled_steps_train_as_plain_ones(micro_windows, d_model):
    """A batch of a model 16 wide is recorded as well; parts must add up to its gradient."""
    shape = replace(SURE, d_model=d_model)
    plan, log = replace(PLAN, micro_windows=micro_windows, learning_rate=1e-3), Log()
    plain = train_on("cuda", plan, shape=shape)
    compiled = train_on("cuda", plan, shape=shape, compiled=True, watcher=log)

    assert is_recorded(log) == (d_model == 16 and micro_windows is None)
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-3)


def test_a_training_goes_on_where_it_was_cut_off(tmp_path):
    class CutOffError(Exception):
        pass

    class Cuts(Log):
        def step(self, epoch, step, n_steps):
            if (epoch, step) == (3, 2):
                raise CutOffError

    whole = train_on("cuda", shape=SHAPE)
    with pytest.raises(CutOffError):
        train_on("cuda", shape=SHAPE, watcher=Cuts(), checkpoints=tmp_path)
    resumed = train_on("cuda", shape=SHAPE, checkpoints=tmp_path)

    assert losses(resumed) == pytest.approx(losses(whole), rel=1e-4)


def test_losses_of_tokens_are_those_of_the_cpu():
    table, model = small_table(), build(SURE)
    here = token_losses(model, table, "test", precision=FLOAT32)
    there = token_losses(model.to("cuda"), table, "test", precision=FLOAT32)

    assert there.losses_K == pytest.approx(here.losses_K, rel=1e-4)
