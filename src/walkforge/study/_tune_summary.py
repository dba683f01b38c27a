"""What a search leaves beside its ledger: a summary, and the study with the best settings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ._study import Study
from ._tune_ask import importance_of
from ._tune_ledger import Trial, best_of
from ._tune_space import Range, with_settings

_SAID_OF_BEST = ("number", "value", "settings", "epochs", "best_epoch", "members")


def summary_of(ranges: Mapping[str, Range], tried: Sequence[Trial]) -> dict[str, Any]:
    """Return what `tune.json` says of the trials so far."""
    best = best_of(tried)
    states = [trial.state for trial in tried]
    return {
        "n_trials": len(tried),
        "states": {name: states.count(name) for name in ("complete", "pruned", "failed")},
        "best": None if best is None else {k: asdict(best)[k] for k in _SAID_OF_BEST},
        "importance": importance_of(ranges, tried),
        "seconds": round(sum(trial.seconds for trial in tried), 3),
    }


def best_study(study: Study, tried: Sequence[Trial], best: Trial) -> Study:
    """Return the study with the best settings, which counts every trial that was made for it."""
    n_trials = study.judge.n_trials * len(tried)
    words = [study.note, f"Tuned: the best of {len(tried)} trials by validation loss; "
             f"all of them count (judge.n_trials {n_trials})."]  # fmt: skip
    if study.tune.folds == "all" and study.folds.kind == "walk_forward":
        words.append("Chosen on the validation slices of all folds, which lie in the calibration "
                     "and test slices of earlier folds.")  # fmt: skip
    if study.folds.calendar == "own":
        words.append("Chosen on the validation slices of all series together, each on its own "
                     "calendar, which may lie in the time that tests another.")  # fmt: skip
    return replace(
        with_settings(study, best.settings),
        note=" ".join(word for word in words if word),
        judge=replace(study.judge, n_trials=n_trials),
    )
