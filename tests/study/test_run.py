"""One run from bars to report: its files, its honesty, and how it goes on after a break."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from drawn import random_bars
from study_runs import small_bars, small_study
from walkforge import runtime, study
from walkforge.base import FoldError, RunError, Silent, StudyError, parse_utc_ms
from walkforge.registry import read_bundle

FILES = [
    "study.yaml", "run.json", "data_info.json", "folds.json", "training_log.jsonl",
    "predictions.parquet", "baseline_predictions.parquet", "calibration_predictions.parquet",
    "baseline_calibration_predictions.parquet", "metrics.json", "diagnostics.json",
    "backtest.json", "trades.parquet", "equity.parquet", "verdict.json", "report.html",
]  # fmt: skip
BASELINES = ["majority", "prior", "persistence", "logistic", "lightgbm"]


def _json(folder, name):
    return json.loads((folder / name).read_text())


def test_a_run_leaves_every_file(small_run):
    assert [name for name in FILES if not (small_run / name).is_file()] == []
    kinds = [path.name.rpartition("_")[2] for path in (small_run / "models").iterdir()]
    assert sorted(kinds) == sorted(["seed0", "seed1", "ensemble", "lightgbm"] * 2 * 2)
    assert not list(small_run.glob("**/*.part"))
    assert not (small_run / "checkpoints").exists()


def test_the_shapes_that_other_programs_read(small_run):
    verdict = _json(small_run, "verdict.json")
    assert {"fit", "promotable", "profile", "alarms", "gates"} <= verdict.keys()
    for gate in verdict["gates"]:
        assert {"name", "value", "limit", "passed", "reason"} <= gate.keys()
    metrics = _json(small_run, "metrics.json")
    assert list(metrics["baselines"]) == BASELINES
    model, baselines = metrics["model"], metrics["baselines"]
    blocks = [model["pooled"], model["by_symbol"]["AAA"], model["by_fold"]["1"]]
    for block in [*blocks, baselines["prior"]["pooled"]]:
        for name in ("accuracy", "balanced_accuracy", "mcc", "log_loss", "brier", "ece",
                     "roc_auc", "pr_auc"):  # fmt: skip
            assert {"value", "low", "high", "n"} <= block[name].keys()
        assert block["confusion_matrix"]["labels"] == ["down", "hold", "up"]
        assert np.array(block["confusion_matrix"]["counts"]).shape == (3, 3)
    folds = _json(small_run, "folds.json")
    assert len(folds) == 2 * 2
    for fold in folds:
        assert {"fold", "symbol", "purged", "embargoed"} <= fold.keys()
        assert all(len(fold[name]) == 2 for name in ("train", "validation", "calibration", "test"))
    backtest = _json(small_run, "backtest.json")
    assert {"pooled", "by_symbol", "buy_and_hold", "random_entries", "sizes",
            "cost_stress"} <= backtest.keys()  # fmt: skip
    trades = pl.read_parquet(small_run / "trades.parquet")
    assert {"symbol", "side", "decided_at", "entered_at", "entry_price", "left_at", "exit_price",
            "exit_kind", "size", "fee", "pnl"} <= set(trades.columns)  # fmt: skip


def test_predictions_are_out_of_sample_rows_only(small_run):
    predictions = pl.read_parquet(small_run / "predictions.parquet")
    assert predictions.columns[:6] == ["timestamp", "symbol", "timeframe", "fold", "seed", "label"]
    for fold in _json(small_run, "folds.json"):
        rows = predictions.filter(
            (pl.col("fold") == fold["fold"]) & (pl.col("symbol") == fold["symbol"])
        )
        decided = rows["timestamp"].dt.epoch("ms").to_numpy() + 60_000
        start, end = (parse_utc_ms(text) for text in fold["test"])
        assert len(rows) == 2 * fold["rows"]["test"] > 0
        assert (decided >= start + 5 * 60_000).all()
        assert (decided < end).all()
    sums = predictions.select(pl.sum_horizontal("p_down", "p_hold", "p_up")).to_series()
    np.testing.assert_allclose(sums, 1.0, atol=1e-9)


def test_baselines_stand_on_the_same_rows_as_the_model(small_run):
    keys = ["timestamp", "symbol", "fold", "label"]
    model = pl.read_parquet(small_run / "predictions.parquet").filter(pl.col("seed") == 0)
    baselines = pl.read_parquet(small_run / "baseline_predictions.parquet")
    for name in BASELINES:
        own = baselines.filter(pl.col("baseline") == name)
        assert own.select(keys).sort(keys).equals(model.select(keys).sort(keys))


def test_noise_is_not_fit(small_run):
    verdict = _json(small_run, "verdict.json")
    assert verdict["fit"] is False
    assert verdict["promotable"] is False
    assert any(not gate["passed"] for gate in verdict["gates"])


def test_a_bundle_predicts_what_the_run_predicted_for_one_row_as_for_many(small_run):
    predictions = pl.read_parquet(small_run / "predictions.parquet")
    for bundle in sorted((small_run / "models").glob("*_seed*"))[::3]:
        described = read_bundle(bundle).description
        symbol = described["symbols"][0]
        bars = small_bars()[symbol]
        rows = predictions.filter(
            (pl.col("symbol") == symbol)
            & (pl.col("fold") == described["fold"])
            & (pl.col("seed") == described["seed"])
        )
        names = [f"{kind}_{c}" for kind in ("logit", "p") for c in described["classes"]]
        many = runtime.predict(bundle, bars).join(rows, on="timestamp", how="semi")
        assert len(many) == len(rows)
        np.testing.assert_allclose(many.select(names), rows.select(names), atol=1e-5)
        last = rows["timestamp"].dt.epoch("ms").to_numpy()[-1]
        until = bars.between(None, int(last) + 1)
        one = runtime.predict(bundle, until, last=1)
        assert len(one) == 1
        np.testing.assert_allclose(one.select(names), rows.select(names)[-1:], atol=1e-5)


def test_the_resolved_study_gives_the_same_numbers_again(small_run, tmp_path):
    again = study.run(study.load(small_run / "study.yaml"), tmp_path / "again", bars=small_bars())
    for name in ("metrics.json", "diagnostics.json", "backtest.json", "verdict.json"):
        assert _json(again, name) == _json(small_run, name), name
    assert pl.read_parquet(again / "predictions.parquet").equals(
        pl.read_parquet(small_run / "predictions.parquet")
    )


class _CutOff(Silent):
    def __init__(self, stage=None, epoch=None):
        self.at_stage, self.at_epoch = stage, epoch

    def stage(self, name):
        if name == self.at_stage:
            raise KeyboardInterrupt

    def epoch(self, report):
        if report["epoch"] == self.at_epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "watcher",
    [_CutOff(epoch=3), _CutOff(stage="baselines"), _CutOff(stage="backtest")],
    ids=["training", "baselines", "backtest"],
)
def test_an_interrupted_run_goes_on_to_the_same_numbers(watcher, small_run, tmp_path, monkeypatch):
    out = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        study.run(small_study(), out, watcher=watcher, bars=small_bars())
    monkeypatch.setattr("walkforge.study._run.read_bars", lambda *_: small_bars())
    assert study.resume(out) == out
    for name in ("metrics.json", "verdict.json"):
        assert _json(out, name) == _json(small_run, name)
    log = [json.loads(line) for line in (out / "training_log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2, 3]


def test_a_run_does_not_go_on_with_another_study(small_run, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(small_run, copy)
    path = copy / "study.yaml"
    path.write_text(path.read_text().replace("horizon_bars: 3", "horizon_bars: 4"))
    monkeypatch.setattr("walkforge.study._run.read_bars", lambda *_: small_bars())
    with pytest.raises(RunError, match=r"study\.yaml has changed since the run began"):
        study.resume(copy)


def test_bars_of_another_timeframe_than_the_studys_are_refused(tmp_path):
    with pytest.raises(StudyError, match=r"the bars are of 1m, the study's data.timeframe is 5m"):
        study.run(small_study("data.timeframe=5m"), tmp_path / "out", bars=small_bars())
    assert not (tmp_path / "out").exists()


def test_a_calibration_slice_too_small_for_its_calibrator_is_refused_before_training(tmp_path):
    with pytest.raises(FoldError, match=r"calibration rows .* expected at least 200"):
        study.run(small_study("judge.calibration=isotonic"), tmp_path / "out", bars=small_bars())
    assert not (tmp_path / "out").exists()


def test_symbols_whose_bundles_would_share_a_name_are_refused(tmp_path):
    twins = {name: random_bars(2200, symbol=name) for name in ("A/B", "A_B")}
    with pytest.raises(StudyError, match=r"A/B and A_B would share the name 'A_B'"):
        study.run(small_study(), tmp_path / "out", bars=twins)


def test_a_run_does_not_go_on_with_other_bars(small_run, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(small_run, copy)
    changed = small_bars() | {"AAA": small_bars()["BBB"]}
    monkeypatch.setattr("walkforge.study._run.read_bars", lambda *_: changed)
    with pytest.raises(RunError, match=r"the bars of AAA have changed"):
        study.resume(copy)


def test_a_folder_that_holds_something_is_not_written_into(small_run):
    with pytest.raises(RunError, match=r"not empty.*walkforge resume"):
        study.run(small_study(), small_run, bars=small_bars())


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    for call in (study.resume, study.judge):
        with pytest.raises(RunError, match="no run here"):
            call(tmp_path)


def test_judging_again_by_another_profile_rewrites_the_verdict(small_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(small_run, copy)
    assert study.judge(copy, "v8")["profile"] == "v8"
    assert _json(copy, "verdict.json")["profile"] == "v8"
    assert "class shares" in (copy / "report.html").read_text().lower()
    assert study.judge(copy) == _json(small_run, "verdict.json")


def test_several_symbols_and_seeds_train_as_one_pack(small_run):
    first = json.loads((small_run / "training_log.jsonl").read_text().splitlines()[0])
    assert len(first["members"]) == 2 * 2 * 2


def test_a_search_is_no_run_and_says_how_it_goes_on(tmp_path):
    (tmp_path / "study.yaml").write_text("name: small\n")
    (tmp_path / "tune.json").write_text("{}")
    with pytest.raises(RunError, match="walkforge tune --resume"):
        study.resume(tmp_path)
