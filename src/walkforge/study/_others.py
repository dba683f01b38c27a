"""Predictions and signals that were made elsewhere, by the same measures, gates and fills."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from walkforge import backtest, calibration, evaluation, features, market
from walkforge.base import (
    IntArray,
    PredictionsError,
    Silent,
    UsageError,
    digest_of_file,
    digest_of_json,
    timeframe_ms,
    whole_windows,
)
from walkforge.market import Bars
from walkforge.training import BASELINES, BaselineRows

from ._bars import funding_beside, instrument_of_series
from ._beside import began_with, info_of
from ._folder import RunFolder, default_folder
from ._judging import JUDGED, backtest_predictions, judge, measure_and_backtest
from ._load import as_yaml, from_plain, load, plain_of_overrides
from ._run import bars_of_run
from ._study import Study
from ._trial_entries import entry_of, settings_of, spans_of_rows
from ._trial_memory import MEMORY
from ._trials import enter, n_trials_of

# The first part of a foreign table only teaches the baselines. The rest is judged in stretches;
# before each, the baselines learn again from all that came earlier, its last part stopping and
# calibrating them, as they do in a run's folds.
_TEACHING_FRAC = 0.4
_STOPPING_FRAC = 0.25
_STRETCHES = 4
_FEATURES = "v8"
_LEAST_ROWS = 100


def judge_predictions(
    predictions: Path,
    bars: Path,
    *,
    out: Path | None = None,
    profile: str | None = None,
    overrides: Sequence[str] = (),
) -> tuple[Path, dict[str, Any]]:
    """Judge anybody's table of predictions; return the folder made and the verdict.

    The first 40 % of its time teach the baselines, the rest is judged. Raises PredictionsError
    for a table that cannot be judged, BarsError for bars that are missing.
    """
    table = evaluation.read_predictions(predictions)
    study = _study(table, bars, profile, overrides)
    symbols = table["symbol"].unique(maintain_order=True).to_list()
    found = market.read_folder(bars, timeframe=study.data.timeframe, symbols=symbols)
    table = _completed(table, study, overrides)
    classes = evaluation.classes_of(table)
    baselines = pl.concat([_baselines_of(found[s], table, classes, study) for s in symbols])
    keys = ["timestamp", "symbol", "fold"]
    judged = table.join(baselines.select(keys).unique(), on=keys, how="semi")
    path = out or default_folder(study.name)
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        RunFolder.refuse_used(path)
        folder = RunFolder.create(part, as_yaml(study), {})
        _write(folder, path, study, found, judged, baselines, predictions)
        verdict = judge(part)
        if path.exists():
            path.rmdir()  # empty, or it would have been refused
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return path, verdict


def backtest_again(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return `backtest.json` of a run; with overrides, filled again under other settings.

    A run's own files stay as they are. Instruments are those that it began with, and the notes
    say where others lie beside its bars now. Another bracket is one more trial on its bars. Raises
    RunError where its bars or funding rates have changed.
    """
    folder = RunFolder.open(path)
    if not overrides:
        return folder.read_json("backtest.json")
    study = load(folder / "study.yaml", [f"backtest.{words}" for words in overrides])
    bars = bars_of_run(study, folder)
    predictions = folder.read_table("predictions.parquet")
    beside = began_with(folder, bars, _instruments(bars, study), study.data)
    n_trials = max(
        n_trials_of(study, folder, predictions["seed"].n_unique()),
        _n_trials_by_bracket(study, folder, predictions),
    )
    summary = backtest_predictions(study, bars, predictions, beside, n_trials=n_trials).summary
    return summary | {"notes": [*summary["notes"], *beside.told]}


def _n_trials_by_bracket(study: Study, folder: RunFolder, predictions: pl.DataFrame) -> int:
    """Return how many trials there are by now where a run is filled by another bracket than its
    own, which is one more; other costs or sizes choose nothing.
    """
    own = load(folder / "study.yaml")
    if study.backtest.bracket == own.backtest.bracket:
        return 1
    entry = entry_of(
        study,
        folder.path,
        kind="backtest",
        info=folder.read_json("data_info.json"),
        spans=spans_of_rows(predictions),
        settings=digest_of_json(
            [settings_of(study), digest_of_file(folder / "predictions.parquet")]
        ),
        seeds=predictions["seed"].unique().to_list(),
    )
    n_trials: int = enter([entry], Silent())["trials"]
    return n_trials


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
    plain["data"] = {"bars": str(bars)}
    study = from_plain(plain, "backtest --intentions")
    result = backtest.run(
        found,
        table,
        study.backtest,
        instruments=_instruments(found, study),
        funding=funding_beside(found, study.data),
        source=str(intentions),
    )
    if out is not None:
        folder = RunFolder(out)
        folder.write_table("trades.parquet", result.trades)
        folder.write_table("equity.parquet", backtest.thin_equity(result.equity))
        folder.write_json("backtest.json", result.summary)
    return result.summary


def _instruments(bars: Mapping[str, Bars], study: Study) -> dict[str, market.Instrument]:
    """Return what every series' folder says of it, or all of its bars show."""
    return {name: instrument_of_series(one, study.data) for name, one in bars.items()}


def _write(
    folder: RunFolder,
    path: Path,
    study: Study,
    bars: Mapping[str, Bars],
    judged: pl.DataFrame,
    baselines: pl.DataFrame,
    source: Path,
) -> None:
    """Write all that the verdict is made from, of a folder that will lie in `path`."""
    instruments = _instruments(bars, study)
    folder.write_json("data_info.json", info_of(bars, instruments, study.data))
    folder.update_run(name=study.name, kind=JUDGED, source=source.name)
    entry = entry_of(
        study,
        path,
        kind=JUDGED,
        info=folder.read_json("data_info.json"),
        spans=spans_of_rows(judged),
        settings=digest_of_json([settings_of(study), digest_of_file(source)]),
        seeds=judged["seed"].unique().to_list(),
    )
    folder.update_run(**{MEMORY: enter([entry], Silent())})
    folder.write_table("predictions.parquet", judged)
    folder.write_table("baseline_predictions.parquet", baselines)
    measure_and_backtest(study, folder, bars, instruments, Silent())


def _study(table: pl.DataFrame, bars: Path, profile: str | None, overrides: Sequence[str]) -> Study:
    """Return the study that stands for a foreign table: its bars, gates and backtest."""
    plain = {"name": JUDGED, **plain_of_overrides(overrides)}
    # Sizes in contracts would be another number for every symbol; a share of the capital is not.
    plain.setdefault("backtest", {"size_capital_frac": 0.1, "sizes": [0.1, 0.5, 1.0]})
    if profile is not None:
        plain["judge"] = {**plain.get("judge", {}), "profile": profile}
    study = from_plain(plain, "judge --predictions")
    data = {"timeframe": _timeframe(table, bars), **plain.get("data", {})}
    data |= {"source": "folder", "bars": str(bars.resolve())}
    return from_plain({**plain, "data": data, "name": study.name}, "judge --predictions")


def _timeframe(table: pl.DataFrame, bars: Path) -> str:
    if "timeframe" not in table.columns:
        return market.only_timeframe(bars, table["symbol"].unique().to_list())
    found = table["timeframe"].unique().to_list()
    if len(found) != 1:
        raise PredictionsError(f"the table holds the timeframes {found}; judge one at a time")
    return str(found[0])


def _completed(table: pl.DataFrame, study: Study, overrides: Sequence[str]) -> pl.DataFrame:
    """Return the table with every column of `predictions.parquet` but the logits."""
    step_ms = timeframe_ms(study.data.timeframe)
    horizon = plain_of_overrides(overrides).get("labels", {}).get("horizon_bars")
    if "resolved_at" not in table.columns and horizon is None:
        raise PredictionsError(
            "the table has no column 'resolved_at', and nothing says how far its labels look: "
            "add the column, or --set labels.horizon_bars=N. Without it the baselines would "
            "learn labels before they were known."
        )
    span_ms = step_ms * (1 + study.labels.horizon_bars)
    defaults = {
        "timeframe": pl.lit(study.data.timeframe),
        "fold": pl.lit(0, dtype=pl.Int32),
        "seed": pl.lit(0, dtype=pl.Int32),
        "resolved_at": pl.col("timestamp") + pl.duration(milliseconds=span_ms),
    }
    missing = {name: value for name, value in defaults.items() if name not in table.columns}
    whole = table.with_columns(**missing).sort("symbol", "seed", "timestamp")
    decided = pl.col("timestamp") + pl.duration(milliseconds=step_ms)
    early = whole.filter((pl.col("resolved_at") <= decided).fill_null(True))
    if len(early):
        raise PredictionsError(
            f"{len(early)} rows have a resolved_at that is empty or not after their bar's close, "
            f"first {early['symbol'][0]} {early['timestamp'][0]}; a label is known later than it "
            "is decided"
        )
    return whole


def _baselines_of(
    bars: Bars, table: pl.DataFrame, classes: tuple[str, ...], study: Study
) -> pl.DataFrame:
    """Return every baseline's predictions on the judged rows of one symbol."""
    own = table.filter(pl.col("symbol") == bars.symbol).unique(["timestamp", "fold"], keep="first")
    own = own.sort("timestamp", "fold")
    places = places_of(bars, own)
    world = _World(bars, own, places, classes)
    tables = []
    for asked in np.array_split(world.judged_rows(), _STRETCHES):
        rows = world.rows_before(asked)
        kept = own.filter(pl.Series(np.isin(places, asked)))
        row_of_kept = np.searchsorted(asked, places[np.isin(places, asked)])
        for name in study.judge.baselines:
            p = _calibrated(name, rows, study.judge.calibration)[row_of_kept]
            columns = [pl.Series(f"p_{c}", p[:, i]) for i, c in enumerate(classes)]
            tables.append(
                kept.select("timestamp", "symbol", "timeframe", "fold", "label", "resolved_at")
                .with_columns(columns)
                .with_columns(seed=pl.lit(0, dtype=pl.Int32), baseline=pl.lit(name))
            )
    return pl.concat(tables)


def places_of(bars: Bars, own: pl.DataFrame) -> IntArray:
    """Return the bar of every row, or refuse rows that belong to none."""
    stamps = own["timestamp"].dt.epoch("ms").to_numpy()
    places = np.searchsorted(bars.timestamp, stamps)
    stranger = bars.timestamp[np.minimum(places, len(bars) - 1)] != stamps
    if stranger.any():
        raise PredictionsError(
            f"{bars.name}: {int(stranger.sum())} predictions have a timestamp that is no bar's "
            f"opening time, first {own['timestamp'][int(np.argmax(stranger))]}"
        )
    return places


def _calibrated(name: str, rows: BaselineRows, kind: str) -> np.ndarray:
    """Return a baseline's probabilities for `rows.asked`, calibrated on the stopping rows."""
    n_stopping = len(rows.validation)
    scores = np.log(BASELINES[name](rows))
    stopping_labels = rows.labels[rows.validation].astype(np.int64)
    calibrator = calibration.fit_calibrator(kind, scores[:n_stopping], stopping_labels)
    return calibrator.apply(scores[n_stopping:])


class _World:
    """One symbol's features and foreign labels, from which the baselines learn."""

    def __init__(
        self, bars: Bars, own: pl.DataFrame, places: IntArray, classes: tuple[str, ...]
    ) -> None:
        built = features.build(bars, _FEATURES)
        self.bars, self.n_classes, self.table = bars, len(classes), built.values
        self.labels = np.full(len(bars), -1, dtype=np.int8)
        self.labels[places] = own["label"].to_numpy()
        self.resolved_at = np.full(len(bars), np.iinfo(np.int64).max)
        self.resolved_at[places] = own["resolved_at"].dt.epoch("ms").to_numpy()
        self.usable = np.flatnonzero(whole_windows(built.valid, 1) & (self.labels >= 0))

    def judged_rows(self) -> IntArray:
        """Return the rows that are judged; raise PredictionsError where they are too few."""
        judged = self.usable[int(len(self.usable) * _TEACHING_FRAC) :]
        if len(judged) < _LEAST_ROWS * _STRETCHES:
            raise PredictionsError(
                f"{self.bars.name}: {len(self.usable)} predictions have features, of which the "
                f"last {1 - _TEACHING_FRAC:.0%} are judged; expected at least "
                f"{_LEAST_ROWS * _STRETCHES} of these"
            )
        return judged

    def rows_before(self, asked: IntArray) -> BaselineRows:
        """Return what the baselines learn from before `asked`: resolved before it begins."""
        known = self.usable[self.usable < asked[0]]
        known = known[self.resolved_at[known] < self.bars.closes_at[asked[0]]]
        cut = int(len(known) * (1 - _STOPPING_FRAC))
        stopping = known[cut:]
        train = known[:cut]
        train = train[self.resolved_at[train] < self.bars.closes_at[stopping[0]]]
        if len(np.unique(self.labels[train])) < 2:
            raise PredictionsError(
                f"{self.bars.name}: the {len(train)} labels before "
                "the judged rows are of one class only; there is nothing to tell apart"
            )
        scaler = features.fit_scaler("robust", self.table[train])
        return BaselineRows(
            table=self.table,
            labels=self.labels,
            decided_at=self.bars.closes_at,
            resolved_at=self.resolved_at,
            train=train,
            validation=stopping,
            asked=np.concatenate([stopping, asked]),
            scale=scaler.transform,
            window_bars=1,
            n_classes=self.n_classes,
        )
