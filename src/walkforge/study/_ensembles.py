"""Finished runs of different models as one model, judged like every other.

    folder, verdict = study.ensemble([Path("runs/mlp"), Path("runs/gru")])

Models are weighed by what they said of the calibration slices; test rows teach nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from walkforge import registry
from walkforge.base import (
    FloatArray,
    RunError,
    Silent,
    UsageError,
    digest_of_json,
    one_of,
    read_json,
)
from walkforge.market import Bars

from ._bars import instrument_before
from ._clock import StageClock
from ._describe import describe_ensemble, of_one_series
from ._ensemble_rows import (
    LIGHTGBM,
    CommonRows,
    common_rows,
    fit_weights,
    mixed_forecasts,
    mixed_predictions,
)
from ._ensemble_runs import KEY, JoinedRun, Place, read_runs
from ._folder import RunFolder, default_folder
from ._judging import ENSEMBLE, judge, measure_and_backtest
from ._live_reference import mixture_reference
from ._load import as_yaml
from ._run import bars_of_run, facts_of
from ._study import Study
from ._trial_entries import Entry, entry_of, settings_of, spans_of_folds
from ._trial_memory import MEMORY
from ._trials import enter
from ._watchdog import Watchdog
from ._watcher import Watcher

WEIGHTS = ("fitted", "equal")
"""How the models of an ensemble are weighed."""


def ensemble(
    paths: Sequence[Path],
    *,
    out: Path | None = None,
    weights: str = "fitted",
    with_lightgbm: bool = True,
    watcher: Watcher | None = None,
    bars: Mapping[str, Bars] | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Join finished runs into a new run folder; return the folder and its verdict.

    Members are the model of each run, all its seeds together, and once the LightGBM baseline of
    the first run. `fitted` weights are those with the lowest log loss on the calibration slice of
    their series and fold, `equal` ones learn nothing. `bars` by series take the place of the first
    study's own source. Raises UsageError for other words, RunError for runs that cannot be joined
    (see `docs/study.md`), changed bars and a folder that holds something.
    """
    one_of("weights", weights, WEIGHTS)
    runs = read_runs(paths)
    if with_lightgbm and LIGHTGBM not in runs[0].study.judge.baselines:
        raise UsageError(f"{runs[0].title} has no LightGBM baseline; join it --without-lightgbm")
    study = _study_of(runs)
    path = out or default_folder(study.name)
    RunFolder.refuse_used(path)
    with Watchdog(watcher or Silent()) as watched:
        found = bars_of_run(runs[0].study, runs[0].folder, bars)
        joining = _Joining(runs, weights, with_lightgbm, watched)
        part = path.parent / f".{path.name}.{os.getpid()}.part" / path.name
        shutil.rmtree(part.parent, ignore_errors=True)
        try:
            folder = RunFolder.create(part, as_yaml(study), {})
            kept = enter([_entry_of(study, path, joining)], watched)
            folder.update_run(**{MEMORY: kept})
            verdict = _make(folder, study, joining, found)
            if path.exists():
                path.rmdir()  # empty, or it would have been refused
            part.rename(path)
        finally:
            shutil.rmtree(part.parent, ignore_errors=True)
    return path, verdict


@dataclass(frozen=True, slots=True)
class _Joining:
    """The runs, and how they are joined."""

    runs: list[JoinedRun]
    weights: str
    with_lightgbm: bool
    watcher: Watcher

    @property
    def names(self) -> list[str]:
        """Return the names of the members, in the order of their weights."""
        return [run.letter for run in self.runs] + [LIGHTGBM] * self.with_lightgbm

    def members(self, place: Place) -> list[Path]:
        """Return the members' bundles of one series and fold."""
        first = self.runs[0].folder
        beside = [first.bundle(*place, LIGHTGBM)] if self.with_lightgbm else []
        return [run.bundle(place) for run in self.runs] + beside

    def rows(self, name: str) -> CommonRows:
        return common_rows(self.runs, name, with_lightgbm=self.with_lightgbm)


def _study_of(runs: Sequence[JoinedRun]) -> Study:
    """Return the first run's study, as the study of them all: every trial of every run counts."""
    first = runs[0].study
    n_trials = sum(run.n_trials for run in runs)
    judged = replace(first.judge, n_trials=n_trials)
    return replace(first, name=f"ensemble-{first.name}", judge=judged)


def _entry_of(study: Study, path: Path, joining: _Joining) -> Entry:
    """Return the ensemble's line in the trial ledger: its members and their weights are tried."""
    first = joining.runs[0]
    members = [run.as_plain()["sha256"] for run in joining.runs]
    chosen = [settings_of(study), joining.weights, joining.with_lightgbm, members]
    return entry_of(
        study,
        path,
        kind=ENSEMBLE,
        info=first.folder.read_json("data_info.json"),
        spans=spans_of_folds(first.folds.values()),
        settings=digest_of_json(chosen),
        seeds=[0],
    )


def _make(
    folder: RunFolder, study: Study, joining: _Joining, bars: Mapping[str, Bars]
) -> dict[str, Any]:
    """Write all files of the ensemble's folder and return its verdict."""
    folder.update_run(
        **facts_of(study) | {"seeds": [0]},
        kind=ENSEMBLE,
        started=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        runs=[run.as_plain() for run in joining.runs],
        base={"provenances": sorted({one for run in joining.runs for one in run.provenances})},
    )
    with StageClock(folder, joining.watcher) as watched:
        watched.stage("weights")
        earlier = joining.rows("calibration_predictions.parquet")
        weights = fit_weights(earlier, fitted=joining.weights == "fitted")
        later = joining.rows("predictions.parquet")
        _tell(joining, later, weights)
        _write_tables(folder, joining, later, weights)
        folder.write_json("ensemble.json", _as_plain(joining, earlier, later, weights))
        watched.stage("bundles")
        _write_bundles(folder, study, joining, weights, (earlier, later))
        instruments = {name: instrument_before(one, study.data) for name, one in bars.items()}
        measure_and_backtest(study, folder, bars, instruments, watched)
        watched.stage("verdict and report")
        return judge(folder.path)


def _tell(joining: _Joining, rows: CommonRows, weights: Mapping[Place, FloatArray]) -> None:
    means = np.mean(list(weights.values()), axis=0)
    told = zip(joining.names, means, strict=True)
    joining.watcher.note(f"mean weights: {', '.join(f'{name} {mean:.3f}' for name, mean in told)}")
    left_out = ", ".join(f"{n} of {name}" for name, n in rows.left_out.items() if n)
    joining.watcher.note(f"{len(rows.table)} common test rows; left out: {left_out or 'none'}")


def _write_tables(
    folder: RunFolder,
    joining: _Joining,
    rows: CommonRows,
    weights: Mapping[Place, FloatArray],
) -> None:
    """Write predictions, forecasts and their baselines, and which bars and folds they are of."""
    first = joining.runs[0]
    predictions = mixed_predictions(rows, weights, first.classes)
    forecasts = mixed_forecasts(joining.runs, predictions)
    if forecasts is not None:
        folder.write_table("forecasts.parquet", forecasts[0])
        folder.write_table("baseline_forecasts.parquet", forecasts[1])
    baselines = first.predictions("baseline_predictions.parquet")
    kept = baselines.join(predictions.select(KEY), on=KEY, how="semi")
    folder.write_table("predictions.parquet", predictions)
    folder.write_table("baseline_predictions.parquet", kept)
    folder.write_json("data_info.json", first.folder.read_json("data_info.json"))
    folder.write_json("folds.json", list(first.folds.values()))


def _write_bundles(
    folder: RunFolder,
    study: Study,
    joining: _Joining,
    weights: Mapping[Place, FloatArray],
    slices: tuple[CommonRows, CommonRows],
) -> None:
    classes = joining.runs[0].classes
    mixed = [mixed_predictions(rows, weights, classes) for rows in slices]
    for number, (place, own) in enumerate(weights.items()):
        joining.watcher.item(number, len(weights), f"{place[0]} fold {place[1]}")
        members = joining.members(place)
        told = [of_one_series(_description(member), place[0]) for member in members]
        described = describe_ensemble(study.name, told)
        tables = [table[rows.by_place[place]] for rows, table in zip(slices, mixed, strict=True)]
        reference = mixture_reference(*tables, series=place[0])
        registry.write_ensemble(
            folder.bundle(*place, "ensemble"), described, members, own.tolist(), reference=reference
        )


def _description(bundle: Path) -> dict[str, Any]:
    if not (bundle / "bundle.json").is_file():
        raise RunError(f"{bundle}: no bundle here; take the run's folder whole")
    return read_json(bundle / "bundle.json")


def _as_plain(
    joining: _Joining,
    earlier: CommonRows,
    later: CommonRows,
    weights: Mapping[Place, FloatArray],
) -> dict[str, Any]:
    """Return what `ensemble.json` holds."""
    return {
        "weights": joining.weights,
        "members": [
            *({"name": run.letter, **run.as_plain()} for run in joining.runs),
            *([{"name": LIGHTGBM, "of": joining.runs[0].letter}] if joining.with_lightgbm else []),
        ],
        "rows": {"common": len(later.table), "left_out": later.left_out},
        "folds": [
            {
                "series": place[0],
                "fold": place[1],
                "weights": dict(zip(joining.names, own.tolist(), strict=True)),
                "rows": {
                    "calibration": len(earlier.by_place[place]),
                    "test": len(later.by_place[place]),
                },
                "calibration_log_loss": _losses(joining, earlier, place, own),
            }
            for place, own in weights.items()
        ],
    }


def _losses(
    joining: _Joining, rows: CommonRows, place: Place, weights: FloatArray
) -> dict[str, float]:
    """Return the mean log loss, nats, of the ensemble and its members on a calibration slice."""
    hits = rows.hits(rows.by_place[place])
    each = {"ensemble": weights @ hits, **dict(zip(joining.names, hits, strict=True))}
    return {name: float(-np.log(np.clip(own, 1e-12, None)).mean()) for name, own in each.items()}
