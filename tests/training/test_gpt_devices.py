"""Several processes train one MarketGpt as one does, and end together.

Where a process computes 3 of a batch's 6 windows, one process that computes 3 at once draws the
same dropout: numbers then differ by the order of sums alone, which 20 steps keep below 1e-5.
"""

import json
import sys
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from training.gpt_pair import (
    LateCrampedGpt,
    Pair,
    breaks,
    fails_on_one,
    kills_itself,
    trains,
)
from training.packs import Log, assert_same_state
from training.token_markets import FLOAT32, PLAN, SHAPE, build, small_table, train
from walkforge.base import TrainingError
from walkforge.training import train_gpt
from walkforge.training._gpt_processes import in_processes
from walkforge.training._gpt_ranks import Ranks, find_ranks

SURE = replace(SHAPE, dropout=0.0)
HALVES = replace(PLAN, micro_windows=3)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return two processes under torchrun."""
    both = Pair(tmp_path_factory.mktemp("pair"))
    yield both
    both.close()


@pytest.fixture(scope="module")
def alone():
    """Return what one process makes of the same windows at once as each of two."""
    return train(small_table(), HALVES)


class CutOffError(Exception):
    """Thrown into a training to cut it off."""


class StopsAt(Log):
    """Cuts off at a step of an epoch."""

    def __init__(self, epoch, step):
        super().__init__()
        self.at = epoch, step

    def step(self, epoch, step, n_steps):
        super().step(epoch, step, n_steps)
        if (epoch, step) == self.at:
            raise CutOffError


def assert_close_history(found, expected):
    assert len(found.history) == len(expected.history) == PLAN.epochs
    for one, other in zip(found.history, expected.history, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def without_its_last_checkpoint(folder):
    """Leave a folder as it was when the last epoch had not ended."""
    (folder / f"checkpoint_epoch_{PLAN.epochs}.safetensors").unlink()
    return folder


def test_two_processes_have_the_losses_and_weights_of_one(pair, alone):
    both = [done.trained for done in pair.run(trains)]

    for trained in both:
        assert_close_history(trained, alone)
        assert trained.best_epoch == alone.best_epoch
        assert_same_state(trained.state, alone.state, **CLOSE)
    assert both[0].history == both[1].history
    assert_same_state(both[0].state, both[1].state)


@pytest.mark.parametrize("windows", [{"batch_windows": 5}, {"micro_windows": 1}])
def test_shares_of_unlike_size_and_in_parts_come_to_the_same(pair, windows):
    plan = replace(PLAN, **windows)
    expected = train(small_table(), plan, shape=SURE)
    first, second = pair.run(trains, {"plan": plan, "shape": SURE})

    assert_close_history(first.trained, expected)
    assert set(first.tried) == ({3} if plan.micro_windows is None else {1})
    assert set(second.tried) == ({2} if plan.micro_windows is None else {1})


def test_a_cut_training_of_two_goes_on_as_if_uncut(pair, tmp_path):
    settings = {"checkpoints": tmp_path}
    whole = pair.run(trains, settings)[0].trained
    without_its_last_checkpoint(tmp_path)
    resumed = pair.run(trains, settings)[0]

    assert [report["epoch"] for report in resumed.log.reports] == [PLAN.epochs]
    assert resumed.trained.history == whole.history
    assert_same_state(resumed.trained.state, whole.state)


def test_what_one_process_began_two_go_on_with_and_back(pair, alone, tmp_path):
    train(small_table(), HALVES, checkpoints=tmp_path)
    without_its_last_checkpoint(tmp_path)
    by_two = pair.run(trains, {"checkpoints": tmp_path})[0]
    without_its_last_checkpoint(tmp_path)
    log = Log()
    by_one = train(small_table(), HALVES, checkpoints=tmp_path, watcher=log)

    assert [report["epoch"] for report in by_two.log.reports] == [PLAN.epochs]
    assert [report["epoch"] for report in log.reports] == [PLAN.epochs]
    assert_close_history(by_two.trained, alone)
    assert_close_history(by_one, alone)


SHARDED = {"others": {"sharded": True}}


def test_a_sharded_model_has_the_losses_and_weights_of_a_whole_one(pair, alone):
    shape = replace(SHAPE, n_classes=3)
    for one_shape, expected in ((SHAPE, alone), (shape, train(small_table(), HALVES, shape=shape))):
        for done in pair.run(trains, {"shape": one_shape, **SHARDED}):
            assert_close_history(done.trained, expected)
            assert_same_state(done.trained.state, expected.state, **CLOSE)


def test_a_sharded_model_learns_from_parts_of_a_batch_and_computes_blocks_anew(pair):
    plan = replace(PLAN, micro_windows=2, gradient_checkpointing=True)
    expected = train(small_table(), plan, shape=SURE)

    first, second = pair.run(trains, {"plan": plan, "shape": SURE, **SHARDED})

    assert first.log.reports[-1]["micro_windows"] == 2
    assert_close_history(first.trained, expected)
    assert_close_history(second.trained, expected)


def test_a_sharded_model_that_finds_no_memory_says_what_to_set(pair):
    for done in pair.run(trains, {"room": {0: 2, 1: 2}, **SHARDED}):
        assert "with a smaller training.micro_windows" in done.error
        assert "\n" not in done.error


def test_a_sharded_training_goes_on_from_a_whole_one_and_back(pair, alone, tmp_path):
    settings = {"checkpoints": tmp_path}
    train(small_table(), HALVES, **settings)
    without_its_last_checkpoint(tmp_path)
    sharded = pair.run(trains, settings | SHARDED)[0]
    without_its_last_checkpoint(tmp_path)
    again = pair.run(trains, settings | SHARDED)[0]
    without_its_last_checkpoint(tmp_path)
    whole = train(small_table(), HALVES, **settings)

    for done in (sharded, again):
        assert [report["epoch"] for report in done.log.reports] == [PLAN.epochs]
        assert_close_history(done.trained, alone)
    assert again.trained.history == sharded.trained.history
    assert_same_state(again.trained.state, sharded.trained.state)
    assert_close_history(whole, alone)


def test_the_first_process_alone_writes_and_reports(pair, tmp_path):
    ours, theirs = tmp_path / "first", tmp_path / "second"
    first, second = pair.run(trains, {"checkpoints": ours}, {"checkpoints": theirs})

    assert len(first.log.reports) == PLAN.epochs
    assert first.log.steps == PLAN.epochs * PLAN.steps_per_epoch
    assert first.log.reports[-1]["tokens_per_s"] > 0
    assert (second.log.reports, second.log.notes, second.log.steps) == ([], [], 0)
    assert not theirs.exists()
    with safe_open(ours / "best_model.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["walkforge"])["epoch"] == first.trained.best_epoch


def test_a_folder_that_not_all_see_is_refused_in_one_line(pair, tmp_path):
    train(small_table(), HALVES, checkpoints=tmp_path / "first")
    without_its_last_checkpoint(tmp_path / "first")
    folders = [{"checkpoints": tmp_path / name} for name in ("first", "second")]

    for done in pair.run(trains, *folders):
        assert "a folder that all machines share" in done.error
        assert "\n" not in done.error


def test_where_one_finds_no_memory_all_go_on_in_smaller_parts(pair):
    expected = train(small_table(), shape=SURE)
    first, second = pair.run(trains, {"shape": SURE, "room": {1: 2}})

    assert_close_history(first.trained, expected)
    # After 3 at once, parts of 2 and of 1.
    assert first.tried[:3] == second.tried[:3] == [3, 2, 1]
    assert max(first.tried[1:]) == 2
    assert sum("out of memory with 3 windows at once" in note for note in first.log.notes) == 1
    assert first.log.reports[-1]["micro_windows"] == 2


def test_where_one_window_does_not_fit_all_say_so(pair):
    for done in pair.run(trains, {"room": {1: 0}}):
        assert "not enough memory for one window" in done.error


def test_a_direction_head_that_tokens_do_not_reach_stays_as_it_is(pair):
    shape = replace(SHAPE, n_classes=3)
    expected = train(small_table(), HALVES, shape=shape)
    first, second = pair.run(trains, {"shape": shape})

    assert_close_history(first.trained, expected)
    assert not first.direction.any()
    assert not second.direction.any()


def test_other_numbers_than_those_of_torchrun_are_refused(pair):
    for done in pair.run(trains, {"others": {"devices": 3}}):
        assert "torchrun started 2 processes on each of 1 nodes" in done.error


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_under_torchrun(pair):
    pair.begin(fails_on_one)

    assert pair.exit_code() != 0


@pytest.mark.slow
def test_processes_started_here_train_end_and_go_on_as_one_does(alone, tmp_path):
    with pytest.raises(CutOffError):
        train(small_table(), devices=2, watcher=StopsAt(3, 2), checkpoints=tmp_path)
    log, model = Log(), build()
    trained = train_gpt(
        model, small_table(), PLAN, seed=0, precision=FLOAT32,
        devices=2, watcher=log, checkpoints=tmp_path,
    )  # fmt: skip

    assert 2 <= log.reports[0]["epoch"] <= 3
    assert_close_history(trained, alone)
    assert_same_state(dict(model.state_dict()), trained.state)
    assert not model.training


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_that_were_started_here():
    torch.manual_seed(3)

    with pytest.raises(TrainingError, match="out of memory on process 1 while others wait"):
        train_gpt(LateCrampedGpt(SHAPE), small_table(), PLAN, seed=0, precision=FLOAT32, devices=2)


@pytest.mark.parametrize(
    ("work", "error", "words"),
    [
        (kills_itself, TrainingError, "process 0 on this machine ended with signal 9"),
        (breaks, RuntimeError, "ValueError: broken"),
    ],
)
def test_what_ended_a_process_is_said(work, error, words):
    log = Log()
    with pytest.raises(error, match=words):
        in_processes(work, build(), Ranks(1, 1, started=False), log)

    assert log.notes == ["about to go"]


def test_one_device_needs_no_lightning(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)  # an import would fail

    trained = train(small_table(), replace(PLAN, epochs=1))

    assert trained.best_epoch == 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"devices": 0}, "devices is 0"),
        ({"nodes": 0}, "nodes is 0"),
        ({"devices": 7}, "batch_windows is 6, too few for 7 devices"),
        ({"sharded": True}, "at least 2"),
        ({"devices": 4, "sharded": True}, "a multiple of 4"),
        ({"nodes": 2}, "MASTER_ADDR, MASTER_PORT, NODE_RANK not set"),
    ],
)
def test_what_cannot_train_together_is_refused(monkeypatch, asked, words):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(TrainingError, match=words):
        train(small_table(), **asked)


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices here")
@pytest.mark.parametrize("sharded", [False, True])
def test_two_cuda_devices_train_as_one_process_on_the_cpu(sharded):
    expected = train(small_table(), shape=SURE)
    model = build(SURE).to("cuda")
    trained = train_gpt(
        model, small_table(), PLAN, seed=0, precision=FLOAT32, devices=2, sharded=sharded
    )

    for one, other in zip(trained.history, expected.history, strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_more_cuda_devices_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    with pytest.raises(TrainingError, match="devices 2, but there are 1 here"):
        find_ranks(2, 1, "cuda")


def test_a_process_of_torchrun_knows_who_trains_with_it(monkeypatch):
    for name, value in {"RANK": 5, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 4, "WORLD_SIZE": 8}.items():
        monkeypatch.setenv(name, str(value))
    found = find_ranks(1, 1, "cpu")

    assert found == Ranks(4, 2, started=True)
    assert not found.first
