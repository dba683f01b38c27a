"""The runs that an ensemble joins, and why some cannot be joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from walkforge.base import RunError, UsageError, digest_of_file
from walkforge.labels import class_names

from ._compare_runs import letter_of, short_names
from ._folder import RunFolder
from ._gpt_files import MARKET
from ._judging import ENSEMBLE, JUDGED
from ._load import load
from ._study import Study

Place = tuple[str, int]
"""Series and fold."""

KEY = ("timestamp", "symbol", "timeframe", "fold")
"""Columns that name a decision."""

_NEEDED = ("run.json", "folds.json", "data_info.json", "predictions.parquet")
_NEEDED_TOO = (
    "calibration_predictions.parquet",
    "baseline_predictions.parquet",
    "baseline_calibration_predictions.parquet",
)
# What each kind of label is made of, beside its kind.
_LABEL_SETTINGS = {
    "threshold": ("horizon_bars", "threshold_frac"),
    "quantile": ("horizon_bars",),
    "volatility": ("horizon_bars", "volatility_bars", "volatility_multiple"),
    "triple_barrier": ("bracket",),
    "direction": ("horizon_bars",),
}


@dataclass(frozen=True, slots=True, eq=False)
class JoinedRun:
    """One run whose model comes into an ensemble."""

    letter: str
    name: str
    """The folder's name, as short as it can be."""
    folder: RunFolder
    study: Study
    folds: dict[Place, dict[str, Any]]
    """Entries of folds.json."""

    @property
    def title(self) -> str:
        """Return the letter and the name, as messages use them."""
        return f"{self.letter} ({self.name})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes that it predicts."""
        return class_names(self.study.labels)

    @property
    def n_trials(self) -> int:
        """Return how many trials stand behind it: every seed of every setting that was tried."""
        return self.study.judge.n_trials * len(self.study.seeds)

    @property
    def provenances(self) -> list[str]:
        """Return where the bars came from that taught what the run went on from, if anything."""
        found: list[str] = self.folder.read_json("run.json").get("base", {}).get("provenances", [])
        return found

    def predictions(self, name: str) -> pl.DataFrame:
        """Return a table of probabilities without its logits."""
        table = self.folder.read_table(name)
        return table.select(c for c in table.columns if not c.startswith("logit_"))

    def bundle(self, place: Place) -> Path:
        """Return the bundle of all seeds together in one series and fold, or of all series."""
        seeds = self.study.seeds
        kind = "ensemble" if len(seeds) > 1 else f"seed{seeds[0]}"
        series, fold = place
        return self.folder.bundle(MARKET if self.study.one_for_all else series, fold, kind)

    def as_plain(self) -> dict[str, Any]:
        """Return what `run.json` says of it."""
        tables = ("predictions.parquet", "calibration_predictions.parquet")
        return {
            "name": self.letter,
            "run": str(self.folder.path),
            "study": self.study.name,
            "study_digest": self.folder.read_json("run.json").get("study_digest"),
            "model": self.study.model.name,
            "seeds": list(self.study.seeds),
            "n_trials": self.n_trials,
            "sha256": {name: digest_of_file(self.folder / name) for name in tables},
        }


def read_runs(paths: Sequence[Path]) -> list[JoinedRun]:
    """Return the runs with letters A, B, ...

    Raises UsageError for fewer than two folders or one twice, RunError for a folder that is no
    run, is not finished or keeps no predictions of its calibration slices, and for runs that
    cannot be joined, naming what differs.
    """
    if len(paths) < 2:
        raise UsageError(f"{len(paths)} run to join; name at least two run folders")
    twins = [path for k, path in enumerate(paths) if path.resolve() in _resolved(paths[:k])]
    if twins:
        raise UsageError(f"{twins[0]}: named twice; name every run once")
    names = short_names(paths)
    runs = [_read(path, letter_of(k), names[k]) for k, path in enumerate(paths)]
    for run in runs[1:]:
        _refuse_other(runs[0], run)
    return runs


def _resolved(paths: Sequence[Path]) -> list[Path]:
    return [path.resolve() for path in paths]


def _read(path: Path, letter: str, name: str) -> JoinedRun:
    folder = RunFolder.open(path)
    kind = folder.read_json("run.json").get("kind") if folder.has("run.json") else None
    if kind == JUDGED:
        raise RunError(
            f"{path}: holds predictions that were made elsewhere; there is no calibration slice "
            "to weigh them by"
        )
    if kind == ENSEMBLE:
        raise RunError(f"{path}: is an ensemble itself; name the runs that it was made of")
    missing = [file for file in _NEEDED if not folder.has(file)]
    if missing:
        raise RunError(
            f"{path}: unfinished ({missing[0]} is missing); continue it with "
            f"`walkforge resume {path}`"
        )
    missing = [file for file in _NEEDED_TOO if not folder.has(file)]
    if missing:
        raise RunError(
            f"{path}: {missing[0]} is missing; continue the run with `walkforge resume {path}`, or "
            "where an older version made it, run its study.yaml again"
        )
    study = load(folder / "study.yaml")
    folds = {(one["series"], one["fold"]): one for one in folder.read_json("folds.json")}
    return JoinedRun(letter, name, folder, study, folds)


def _refuse_other(first: JoinedRun, run: JoinedRun) -> None:
    for what, found, expected in _differences(first, run):
        if found != expected:
            raise RunError(
                f"{run.title} and {first.title} cannot be joined: {what} is {found} in "
                f"{run.letter}, {expected} in {first.letter}"
            )


def _differences(first: JoinedRun, run: JoinedRun) -> list[tuple[str, Any, Any]]:
    """Return what must agree, with both values; the first that does not is said."""
    ours, theirs = _label_rule(run.study), _label_rule(first.study)
    return [
        ("the list of classes", _listed(run.classes), _listed(first.classes)),
        ("the file and function of labels.own", _own_labels(run), _own_labels(first)),
        *((key, ours.get(key), theirs.get(key)) for key in dict.fromkeys((*theirs, *ours))),
        ("the list of series", _listed(_series(run)), _listed(_series(first))),
        *_bars(first, run),
        *_ticks(first, run),
        ("the number of folds", len(run.folds), len(first.folds)),
        *(
            (
                f"the {piece} slice of {place[0]} fold {place[1]}",
                _span(run.folds, place, piece),
                _span(first.folds, place, piece),
            )
            for place in first.folds
            for piece in ("calibration", "test")
        ),
    ]


def _label_rule(study: Study) -> dict[str, Any]:
    """Return the settings that a study's labels are made by."""
    plain = asdict(study.labels)
    keys: tuple[str, ...] = ("kind", *_LABEL_SETTINGS[study.labels.kind])
    if study.labels.own is not None:
        keys = tuple(key for key in keys if key != "horizon_bars")  # the user's own function tells
    rule = {f"labels.{key}": plain[key] for key in keys}
    if study.labels.kind == "triple_barrier":
        # Its labels are fills of the backtest.
        rule["backtest.costs.slippage_ticks"] = study.backtest.costs.slippage_ticks
    return rule


def _own_labels(run: JoinedRun) -> str:
    """Return the digest and the name of a user's labels; where the file lies changes no label."""
    own = run.folder.read_json("run.json").get("own", {}).get("labels")
    return "none" if own is None else f"{own['sha256'][:12]}:{own['own'].rpartition(':')[2]}"


def _bars(first: JoinedRun, run: JoinedRun) -> list[tuple[str, Any, Any]]:
    ours, theirs = (one.folder.read_json("data_info.json") for one in (run, first))
    return [
        (f"the digest of the bars of {name}", _digest(ours, name), _digest(theirs, name))
        for name in _series(first)
    ]


def _ticks(first: JoinedRun, run: JoinedRun) -> list[tuple[str, Any, Any]]:
    """Return what makes fills, and so labels, of series whose instrument both runs tell."""
    ours, theirs = (one.folder.read_json("data_info.json") for one in (run, first))
    return [
        (
            f"the tick size of {name}",
            ours[name]["instrument"]["tick_size"],
            theirs[name]["instrument"]["tick_size"],
        )
        for name in _series(first)
        if "instrument" in ours[name] and "instrument" in theirs[name]
    ]


def _digest(info: dict[str, Any], name: str) -> str:
    return f"{info.get(name, {}).get('digest', 'not known')[:12]}"


def _series(run: JoinedRun) -> list[str]:
    return sorted({series for series, _ in run.folds})


def _span(folds: dict[Place, dict[str, Any]], place: Place, piece: str) -> str:
    return " to ".join(folds[place][piece]) if place in folds else "missing"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
