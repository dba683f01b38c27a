"""One MarketGPT trained by several processes, from the command to the verdict."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import yaml

from command import call
from drawn import random_bars
from study.token_studies import SETTINGS, token_study
from walkforge import study
from walkforge.base import StudyError, TrainingError, UsageError
from walkforge.market import BarStore

MADE = ["data.source=simulated", "data.symbols=[ONE, TWO]", "data.simulated.n_bars=900",
        "folds.count=1", "seeds=[0, 1]", "device.device=cpu", "model.dropout=0.0"]  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return study.run(token_study(*MADE), tmp_path_factory.mktemp("runs") / "alone")


def _losses(run):
    lines = [json.loads(line) for line in (run / "training_log.jsonl").read_text().splitlines()]
    return [(one["loss"], one["members"][0]["validation_loss"]) for one in lines]


def _require_same(run, alone):
    np.testing.assert_allclose(_losses(run), _losses(alone), rtol=1e-5)
    ours, theirs = (pl.read_parquet(one / "tokens.parquet") for one in (run, alone))
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-3, atol=1e-4)
    assert json.loads((run / "verdict.json").read_text())["gates"]
    assert not (run / "checkpoints").exists()


def test_two_processes_that_a_run_starts_leave_the_losses_of_one(alone, tmp_path):
    run = study.run(token_study(*MADE, "device.devices=2"), tmp_path / "two")
    _require_same(run, alone)
    assert json.loads((run / "run.json").read_text())["devices"] == 2


def test_two_processes_of_torchrun_write_one_run(alone, tmp_path):
    words = yaml.safe_dump(study.plain_of_overrides([*SETTINGS, *MADE]))
    (tmp_path / "study.yaml").write_text(words)
    run = tmp_path / "run"
    started = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            "-m", "walkforge", "run", str(tmp_path / "study.yaml"), "--out", str(run),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert started.returncode == 0, started.stderr[-3000:]
    assert started.stdout.splitlines()[-1] == str(run)
    assert started.stdout.count("gates passed") == 1, "the second process says nothing"
    _require_same(run, alone)


def _bars_of_its_own(place, n_bars=900):
    """Make the folder of a machine, with bars and a study."""
    for seed, symbol in enumerate(("ONE", "TWO")):
        BarStore(place / "bars").write(random_bars(n_bars, seed, symbol=symbol))
    own = ["seeds=[0]", "data.source=folder", "data.bars=bars/drawn"]
    words = yaml.safe_dump(study.plain_of_overrides([*SETTINGS, *MADE, *own]))
    (place / "study.yaml").write_text(words)
    return place


def _words(tmp_path):
    return ["run", "study.yaml", "--nodes", "2", "--out", str(tmp_path / "run")]


def _variables(number, port):
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": str(number)}


def _second_machine(tmp_path, port, n_bars=900):
    """Start the second of two machines, which is this one."""
    return subprocess.Popen(
        [sys.executable, "-m", "walkforge", *_words(tmp_path)],
        cwd=_bars_of_its_own(tmp_path / "1", n_bars),
        env=os.environ | _variables(1, port),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_machines_with_other_bars_do_not_train_together(tmp_path, monkeypatch):
    """Later bars on one of them would teach what the other one judges by."""
    port = _free_port()
    second = _second_machine(tmp_path, port, n_bars=906)
    monkeypatch.chdir(_bars_of_its_own(tmp_path / "0"))
    for name, value in _variables(0, port).items():
        monkeypatch.setenv(name, value)
    status, out, err = call(*_words(tmp_path))
    told = second.communicate(timeout=200)[0]
    assert [status, second.returncode] == [1, 1]
    for words in (out + err, told):
        assert "not all processes have the same study and bars" in words, words


def test_the_second_machine_does_not_wait_for_one_that_was_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("not a run")
    second = _second_machine(tmp_path, _free_port())
    assert "not empty" in second.communicate(timeout=100)[0]
    assert second.returncode == 1


def test_several_processes_need_a_folder_that_they_share(monkeypatch):
    for name, value in (("RANK", 1), ("LOCAL_RANK", 1), ("WORLD_SIZE", 2), ("LOCAL_WORLD_SIZE", 2)):
        monkeypatch.setenv(name, str(value))
    plan = token_study(*MADE)
    assert not study.is_first(plan)
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(UsageError, match="give it with --out"):
            study.run(plan)


def test_what_cannot_be_shared_out_is_refused_before_there_is_a_folder(tmp_path):
    for more, words in (
        ("device.sharded=true", "ask for at least 2"),
        ("device.devices=17", "too few for 17 devices"),
    ):
        with pytest.raises(TrainingError, match=words):
            study.run(token_study(*MADE, more), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_run_that_has_trained_is_resumed_on_fewer_devices(alone, monkeypatch):
    monkeypatch.setattr("walkforge.study._run.find_ranks", None)  # nobody asks for devices
    assert study.is_first(alone)
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    assert not study.is_first(alone)


def test_devices_are_refused_where_they_would_do_nothing():
    for override, words in (
        ("device.devices=2", "models of mlp train together on one"),
        ("device.nodes=0", "device.nodes is 0; expected at least 1"),
    ):
        with pytest.raises(StudyError, match=words):
            study.from_plain(study.plain_of_overrides([override]), "test")


def test_machines_that_do_not_know_each_other_are_refused(tmp_path, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TrainingError, match="MASTER_ADDR, MASTER_PORT, NODE_RANK not set"):
        study.run(token_study(*MADE, "device.nodes=2"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
