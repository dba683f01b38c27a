"""What was predicted to measures, backtest, verdict and report: the same for every model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from walkforge import backtest, evaluation, gates, report
from walkforge.base import RunError, give_back_freed
from walkforge.market import Bars, Instrument

from ._bars import by_series
from ._beside import Beside, began_with
from ._folder import RunFolder
from ._gpt_tokens import measure_tokens
from ._load import load
from ._study import Study
from ._symbols_told import symbols_told
from ._trials import n_trials_of, trials_told
from ._watcher import Watcher

JUDGED = "judged"
"""`kind` in `run.json` of a folder that holds somebody else's predictions."""

ENSEMBLE = "ensemble"
"""`kind` in `run.json` of a folder that joins other runs."""

_NOT_ASKED = {
    JUDGED: {"train_test_gap": "nobody handed over how the model did on its training rows"},
    ENSEMBLE: {"train_test_gap": "its models were each asked about training rows of their own"},
}
"""Gates that cannot be asked of such a folder, and why."""


def judge(path: Path, profile: str | None = None) -> dict[str, Any]:
    """Judge a run's measures, by another profile if one is named; write verdict and report."""
    folder = RunFolder.open(path)
    for name in ("metrics.json", "diagnostics.json", "backtest.json"):
        if not folder.has(name):
            raise RunError(f"{path}: {name} is missing; continue with `walkforge resume {path}`")
    facts, traded = folder.read_json("run.json"), folder.read_json("backtest.json")
    metrics = folder.read_json("metrics.json")
    kind = facts.get("kind")
    # What taught the weights that it began with is part of where its bars come from.
    before = [{"provenance": name} for name in facts.get("base", {}).get("provenances", [])]
    verdict = gates.judge(
        metrics=metrics,
        diagnostics=folder.read_json("diagnostics.json"),
        backtest=traded,
        data_info={"bars": folder.read_json("data_info.json"), "before": before},
        profile=profile or load(folder / "study.yaml").judge.profile,
        without=_NOT_ASKED.get(kind, {}),
        notes=[*trials_told(folder, traded["pooled"].get("n_trials")), *symbols_told(metrics)],
    )
    folder.write_json("verdict.json", verdict)
    report.write_report(folder.path)
    return verdict


def measure_and_backtest(
    study: Study,
    folder: RunFolder,
    bars: Mapping[str, Bars],
    instruments: Mapping[str, Instrument],
    watcher: Watcher,
) -> None:
    """Write measures, diagnostics and the backtest of the predictions in `folder`.

    The backtest takes the instruments and funding rates that the folder says the run began with;
    `instruments` count where it says nothing. Raises RunError where rates have changed since.
    """
    give_back_freed()
    predictions = folder.read_table("predictions.parquet")
    if not folder.has("metrics.json", "diagnostics.json"):
        watcher.stage("measures")
        _measure(study, folder, predictions)
    if not folder.has("backtest.json", "trades.parquet", "equity.parquet"):
        watcher.stage("backtest")
        beside = began_with(folder, bars, instruments, study.data)
        for line in beside.told:
            watcher.note(line)
        n_trials = n_trials_of(study, folder, predictions["seed"].n_unique())
        result = backtest_predictions(study, bars, predictions, beside, n_trials=n_trials)
        folder.write_table("trades.parquet", result.trades)
        folder.write_table("equity.parquet", backtest.thin_equity(result.equity))
        folder.write_json("backtest.json", result.summary)


def backtest_predictions(
    study: Study,
    bars: Mapping[str, Bars],
    predictions: pl.DataFrame,
    beside: Beside,
    *,
    n_trials: int,
) -> backtest.BacktestResult:
    """Return what the predictions' intentions would have made on `bars` and what lies beside.

    Symbols and folds are parts of one strategy; `n_trials` are the seeds and settings, of all that
    were tried, that one picks among.
    """
    classes = evaluation.classes_of(predictions)
    edge = study.judge.min_edge
    intentions = backtest.intentions_from_predictions(
        by_series(predictions), classes=classes, min_edge=edge
    )
    return backtest.run(
        bars,
        intentions,
        study.backtest,
        n_trials=n_trials,
        instruments=beside.instruments,
        funding=beside.funding,
        own_windows=study.folds.calendar == "own",
        rule=backtest.edge_rule(edge),
    )


def _measure(study: Study, folder: RunFolder, predictions: pl.DataFrame) -> None:
    classes = evaluation.classes_of(predictions)
    metrics = evaluation.metrics(
        predictions,
        folder.read_table("baseline_predictions.parquet"),
        classes=classes,
        n_resamples=study.judge.n_resamples,
    )
    if folder.has("forecasts.parquet"):
        metrics["forecast"] = evaluation.forecast_metrics(
            folder.read_table("forecasts.parquet"),
            folder.read_table("baseline_forecasts.parquet"),
            n_resamples=study.judge.n_resamples,
        )
    if folder.has("tokens.parquet"):
        metrics["tokens"] = measure_tokens(
            folder.read_table("tokens.parquet"), n_resamples=study.judge.n_resamples
        )
    train = folder.read_json("run.json").get("train", {})
    diagnostics = evaluation.diagnostics(
        predictions,
        classes=classes,
        train_log_loss=train.get("log_loss"),
        train_accuracy=train.get("accuracy"),
    )
    folder.write_json("metrics.json", metrics)
    folder.write_json("diagnostics.json", diagnostics)
