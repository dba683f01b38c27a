"""Killed at any moment, a run goes on to the very same weights and numbers."""

import json
import random

import polars as pl
import pytest
import torch

from forked import exit_code
from study.killed import begin_or_resume
from study_runs import small_bars
from walkforge.market import bars_to_frame
from walkforge.registry import read_bundle

STAGES = ["", "features, labels and folds", "training", "baselines", "measures", "backtest",
          "verdict and report"]  # fmt: skip
TABLES = [
    "predictions.parquet", "calibration_predictions.parquet", "baseline_predictions.parquet",
    "baseline_calibration_predictions.parquet", "trades.parquet",
]  # fmt: skip
# Moves of a stage that a kill may fall on; training has most of them.
MOST_MOVES = {"training": 150, "": 250}


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("venue")
    for symbol, bars in small_bars().items():
        path = folder / symbol / "1m.parquet"
        path.parent.mkdir(parents=True)
        bars_to_frame(bars).write_parquet(path)
    return folder


def _go(venue, run, stage="", dies_at=0) -> int:
    """Run or resume in a process of its own; return its exit status."""
    code = exit_code(begin_or_resume, venue, run, stage, dies_at)
    assert code in (0, -9)
    return code


def _assert_same_bundle(theirs, ours):
    assert theirs.trees == ours.trees, ours.folder
    assert theirs.description["model"] == ours.description["model"], ours.folder
    for name, weights in ours.weights.items():
        assert torch.equal(theirs.weights[name], weights), f"{ours.folder}: {name}"
    for (_, their_member), (_, our_member) in zip(theirs.members, ours.members, strict=True):
        _assert_same_bundle(their_member, our_member)


def _assert_same_run(run, whole):
    for bundle in sorted((whole / "models").iterdir()):
        _assert_same_bundle(read_bundle(run / "models" / bundle.name), read_bundle(bundle))
    for name in TABLES:
        assert pl.read_parquet(run / name).equals(pl.read_parquet(whole / name)), name
    for name in ("metrics.json", "diagnostics.json", "backtest.json", "verdict.json"):
        assert json.loads((run / name).read_text()) == json.loads((whole / name).read_text()), name
    lines = [json.loads(line) for line in (run / "training_log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert not (run / "checkpoints").exists()
    assert not list(run.rglob(".*.part"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_a_random_moment_of_a_stage_a_run_goes_on_to_the_same_numbers(
    stage, venue, small_run, tmp_path
):
    run = tmp_path / "run"
    moves = random.Random(stage)  # the same moments every time
    dies_at = moves.randint(1, MOST_MOVES.get(stage, 12))
    killed = _go(venue, run, stage, dies_at) == -9
    if stage in ("", "training"):
        _go(venue, run, stage, moves.randint(1, 40))  # and once more while it goes on
    assert _go(venue, run) == 0
    assert killed, f"{stage!r} has fewer than {dies_at} moves"
    _assert_same_run(run, small_run)


def test_a_finished_run_is_not_computed_again(venue, small_run, tmp_path):
    run = tmp_path / "run"
    assert _go(venue, run) == 0
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert _go(venue, run) == 0
    changed = {p.name for p, moment in before.items() if p.stat().st_mtime_ns != moment}
    assert changed <= {"run.json", "verdict.json", "report.html"}
