"""A MarketGPT whose direction head decides, from bars to a verdict."""

import json

import numpy as np
import polars as pl
import pytest

from study.token_studies import token_study, two_symbols
from walkforge import study
from walkforge.base import Silent, StudyError
from walkforge.study._gpt_learn import GptLearning
from walkforge.study._prepare import prepare

HEAD = "model.decides=direction_head"
BARRIER = ["labels.kind=triple_barrier", "labels.bracket.max_hold_bars=5"]


def _said(bars, plan, place):
    found = GptLearning(plan, prepare(bars, plan), Silent()).run(place)
    return found.predictions.sort("symbol", "timestamp"), found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plan = token_study(HEAD, *BARRIER, "backtest.bracket.max_hold_bars=5", "folds.count=1")
    return study.run(plan, tmp_path_factory.mktemp("runs") / "head", bars=two_symbols())


def test_a_head_learns_any_label_and_leaves_no_forecasts(run):
    verdict = json.loads((run / "verdict.json").read_text())
    assert verdict["gates"]
    predictions = pl.read_parquet(run / "predictions.parquet")
    assert predictions["symbol"].unique().sort().to_list() == ["AAA", "BBB"]
    total = predictions.select(pl.sum_horizontal(r"^p_.*$"))["p_down"]
    np.testing.assert_allclose(total, 1.0, atol=1e-9)
    assert not (run / "forecasts.parquet").exists()
    assert not (run / "baseline_forecasts.parquet").exists()
    assert json.loads((run / "metrics.json").read_text())["tokens"]["model"]


def test_the_head_lies_in_the_model_and_counts(run):
    config = json.loads((run / "models" / "market_fold0_seed0" / "config.json").read_text())
    assert config["shape"]["n_classes"] == 3
    assert config["parameters"]["direction_head"] == 3 * (16 + 1)


def test_the_head_leaves_the_body_alone(run, tmp_path):
    with_head = token_study(HEAD, "folds.count=1")
    plain = token_study("folds.count=1")
    heads, paths = (
        _said(two_symbols(), plan, tmp_path / plan.model.decides)[1].models[0].trained.state
        for plan in (with_head, plain)
    )
    assert set(heads) - set(paths) == {"direction.weight", "direction.bias"}
    assert all(heads[name].equal(paths[name]) for name in paths)


def test_a_head_knows_no_row_after_calibration(tmp_path):
    from study.test_market_gpt import _poisoned

    plan, bars = token_study(HEAD, "folds.count=1"), two_symbols()
    _, clean = _said(bars, plan, tmp_path / "clean")
    for slice_name, same in (("calibration", True), ("train", False)):
        _, dirty = _said(_poisoned(bars, plan, slice_name), plan, tmp_path / slice_name)
        ours, theirs = clean.models[0], dirty.models[0]
        heads = [one.trained.state["direction.weight"] for one in (ours, theirs)]
        assert heads[0].equal(heads[1]) is same, "validation chooses its strength"
        learned = [[one.calibrator.as_dict() for one in m.parts] for m in (ours, theirs)]
        assert (learned[0] == learned[1]) is same


def test_fewer_tokens_are_other_decisions(tmp_path):
    bars = two_symbols()
    short, long = (
        _said(bars, token_study(HEAD, "folds.count=1", *more), tmp_path / str(len(more)))[0]
        for more in (["sampling.most_tokens=2"], [])
    )
    assert not np.allclose(short["p_up"], long["p_up"])


def test_paths_cannot_tell_a_triple_barrier():
    with pytest.raises(StudyError, match=r"forecasts the next labels.horizon_bars bars"):
        token_study(*BARRIER)
