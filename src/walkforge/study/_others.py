"""Predictions and signals that were made elsewhere, by the same measures, gates and fills."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from walkforge import backtest, evaluation, features, market, report
from walkforge.base import (
    PredictionsError,
    StudyError,
    UsageError,
    timeframe_ms,
    whole_windows,
)
from walkforge.features import CLIP
from walkforge.market import Bars
from walkforge.training import BASELINES, BaselineRows

from ._folder import RunFolder, default_folder
from ._load import as_yaml, from_plain, load, plain_of_overrides
from ._run import backtest_predictions, judge, measure_and_backtest, read_bars
from ._silent import Silent
from ._study import Study

# The first part of a foreign table teaches the baselines and is not judged: 30 % to learn from,
# 10 % to stop boosting by. The model is judged on the same later rows as the baselines.
_TEACHING_FRAC, _STOPPING_FRAC = 0.3, 0.1
_FEATURES = "v8"
_LEAST_JUDGED = 100


def judge_predictions(
    predictions: Path,
    bars: Path,
    *,
    out: Path | None = None,
    profile: str = "default",
    overrides: Sequence[str] = (),
) -> tuple[Path, dict[str, Any]]:
    """Judge anybody's table of predictions; return the folder made and the verdict.

    The first 40 % of its time teach the baselines, the rest is judged. Raises PredictionsError
    for a table that cannot be judged, BarsError for bars that are missing.
    """
    table = evaluation.read_predictions(predictions)
    timeframe = _timeframe(table, bars, overrides)
    plain = plain_of_overrides(overrides)
    plain.setdefault("name", "judged")
    plain.setdefault("data", {}).update(bars=str(bars), timeframe=timeframe)
    plain.setdefault("judge", {})["profile"] = profile
    study = from_plain(plain, "judge --predictions")
    symbols = table["symbol"].unique(maintain_order=True).to_list()
    found = market.read_folder(bars, timeframe=timeframe, symbols=symbols)
    table = _completed(table, study, timeframe)
    classes = tuple(name.removeprefix("p_") for name in table.columns if name.startswith("p_"))
    baselines = pl.concat(
        [_baselines_of(found[symbol], table, classes, study) for symbol in symbols]
    )
    judged = table.join(
        baselines.select("timestamp", "symbol").unique(), on=["timestamp", "symbol"], how="semi"
    )
    folder = RunFolder.create(out or default_folder(study.name), as_yaml(study))
    folder.write_json("data_info.json", {s: market.data_info(b) for s, b in found.items()})
    folder.update_run(name=study.name, n_members=judged["seed"].n_unique(), source=str(predictions))
    folder.write_table("predictions.parquet", judged)
    folder.write_table("baseline_predictions.parquet", baselines)
    measure_and_backtest(study, folder, found, classes, Silent())
    verdict = judge(folder.path)
    report.write_report(folder.path)
    return folder.path, verdict


def backtest_again(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return `backtest.json` of a run; with overrides, filled again under other settings.

    A run's own files stay as they are.
    """
    folder = RunFolder.open(path)
    if not overrides:
        return folder.read_json("backtest.json")
    study = load(folder / "study.yaml", [f"backtest.{words}" for words in overrides])
    predictions = folder.read_table("predictions.parquet")
    return backtest_predictions(study, folder, read_bars(study), predictions).summary


def backtest_intentions(
    intentions: Path,
    bars: Path,
    *,
    timeframe: str | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Fill anybody's signals; return the shape of `backtest.json`, write files where `out` is."""
    table = backtest.read_intentions(intentions)
    if "symbol" not in table.columns:
        raise UsageError(f"{intentions}: has no column 'symbol'; it has {', '.join(table.columns)}")
    symbols = table["symbol"].unique(maintain_order=True).cast(pl.String).to_list()
    frame = timeframe or market.only_timeframe(bars, symbols)
    found = market.read_folder(bars, timeframe=frame, symbols=symbols)
    plain = plain_of_overrides([f"backtest.{words}" for words in overrides])
    setup = from_plain(plain, "backtest --intentions").backtest
    result = backtest.run(found, table, setup, source=str(intentions))
    if out is not None:
        folder = RunFolder(out)
        folder.write_table("trades.parquet", result.trades)
        folder.write_table("equity.parquet", backtest.thin_equity(result.equity))
        folder.write_json("backtest.json", result.summary)
    return result.summary


def _timeframe(table: pl.DataFrame, bars: Path, overrides: Sequence[str]) -> str:
    named = plain_of_overrides(overrides).get("data", {}).get("timeframe")
    if named is not None:
        return str(named)
    if "timeframe" in table.columns:
        found = table["timeframe"].unique().to_list()
        if len(found) != 1:
            raise PredictionsError(f"the table holds the timeframes {found}; judge one at a time")
        return found[0]
    return market.only_timeframe(bars, table["symbol"].unique().to_list())


def _completed(table: pl.DataFrame, study: Study, timeframe: str) -> pl.DataFrame:
    """Return the table with every column of `predictions.parquet` but the logits."""
    span_ms = timeframe_ms(timeframe) * (1 + study.labels.horizon_bars)
    defaults = {
        "timeframe": pl.lit(timeframe),
        "fold": pl.lit(0, dtype=pl.Int32),
        "seed": pl.lit(0, dtype=pl.Int32),
        "resolved_at": pl.col("timestamp") + pl.duration(milliseconds=span_ms),
    }
    missing = {name: value for name, value in defaults.items() if name not in table.columns}
    return table.with_columns(**missing).sort("symbol", "seed", "timestamp")


def _baselines_of(
    bars: Bars, table: pl.DataFrame, classes: tuple[str, ...], study: Study
) -> pl.DataFrame:
    own = table.filter(pl.col("symbol") == bars.symbol).unique("timestamp", keep="first")
    own = own.sort("timestamp")
    stamps = own["timestamp"].dt.epoch("ms").to_numpy()
    places = np.searchsorted(bars.timestamp, stamps)
    stranger = places >= len(bars)
    stranger[~stranger] = bars.timestamp[places[~stranger]] != stamps[~stranger]
    if stranger.any():
        raise PredictionsError(
            f"{bars.name}: {int(stranger.sum())} predictions have a timestamp that is no bar's "
            f"opening time, first {own['timestamp'][int(np.argmax(stranger))]}"
        )
    rows = _teach(bars, own, places, len(classes))
    judged = own.filter(pl.Series(np.isin(places, rows.asked)))
    if len(judged) < _LEAST_JUDGED:
        raise PredictionsError(
            f"{bars.name}: {len(judged)} predictions are left to judge after the baselines have "
            f"learned from the first 40 %, expected at least {_LEAST_JUDGED}"
        )
    kept = judged.select("timestamp", "symbol", "timeframe", "fold", "label", "resolved_at")
    kept = kept.with_columns(seed=pl.lit(0, dtype=pl.Int32))
    tables = []
    for name in study.judge.baselines:
        probabilities = BASELINES[name](rows)
        columns = [pl.Series(f"p_{c}", probabilities[:, i]) for i, c in enumerate(classes)]
        tables.append(kept.with_columns(columns).with_columns(baseline=pl.lit(name)))
    return pl.concat(tables)


def _teach(bars: Bars, own: pl.DataFrame, places: np.ndarray, n_classes: int) -> BaselineRows:
    """Return the rows from which the baselines learn, and those they are asked about."""
    built = features.build(bars, _FEATURES)
    labels = np.full(len(bars), -1, dtype=np.int8)
    labels[places] = own["label"].to_numpy()
    resolved_at = np.full(len(bars), np.iinfo(np.int64).max)
    resolved_at[places] = own["resolved_at"].dt.epoch("ms").to_numpy()
    usable = np.flatnonzero(whole_windows(built.valid, 1) & (labels >= 0))
    cuts = [int(len(usable) * f) for f in (_TEACHING_FRAC, _TEACHING_FRAC + _STOPPING_FRAC)]
    slices: Mapping[str, np.ndarray] = {
        "train": usable[: cuts[0]],
        "validation": usable[cuts[0] : cuts[1]],
        "asked": usable[cuts[1] :],
    }
    if min(len(part) for part in slices.values()) == 0:
        raise StudyError(
            f"{bars.name}: {len(usable)} labelled rows with features are too few to teach the "
            "baselines that the predictions are judged by"
        )
    train, validation = (
        part[resolved_at[part] < bars.closes_at[later[0]]]
        for part, later in (
            (slices["train"], slices["validation"]),
            (slices["validation"], slices["asked"]),
        )
    )
    scaler = features.fit_scaler("robust", built.values[train])
    return BaselineRows(
        table=built.values,
        labels=labels,
        decided_at=bars.closes_at,
        resolved_at=resolved_at,
        train=train,
        validation=validation,
        asked=slices["asked"],
        center=scaler.center_,
        scale=scaler.scale_,
        clip=CLIP,
        window_bars=1,
        n_classes=n_classes,
    )
