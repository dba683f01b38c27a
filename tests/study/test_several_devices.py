"""One MarketGPT trained by several processes, from the command to the verdict."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import yaml

from study.token_studies import SETTINGS, token_study
from walkforge import study
from walkforge.base import StudyError, TrainingError, UsageError

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


def test_several_processes_need_a_folder_that_they_share(monkeypatch):
    for name, value in (("RANK", 1), ("LOCAL_RANK", 1), ("WORLD_SIZE", 2), ("LOCAL_WORLD_SIZE", 2)):
        monkeypatch.setenv(name, str(value))
    plan = token_study(*MADE)
    assert not study.is_first(plan)
    with pytest.raises(UsageError, match="give it with --out"):
        study.run(plan)


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
