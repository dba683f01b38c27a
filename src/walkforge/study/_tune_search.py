"""Asks for settings, trains them pack by pack, and notes what becomes of them."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walkforge.base import FeatureError, FoldError, LabelError, Silent, StudyError, TrainingError

from ._folder import CHECKPOINTS, RunFolder
from ._load import as_yaml
from ._study import Study
from ._trial_entries import entry_of
from ._trial_memory import MEMORY
from ._trials import enter
from ._tune_ask import ask, pruner_of
from ._tune_folder import BEST, SUMMARY, update_summary, write_if_other
from ._tune_ledger import Trial, best_of, read_trials, write_trials
from ._tune_pack import packs_of, train_trials
from ._tune_space import Range, setting_of, with_settings
from ._tune_summary import best_study, summary_of
from ._tune_worlds import Worlds
from ._watcher import Watcher

# What a trial's own settings may bring about; anything else ends the search.
_FAILURES = (FeatureError, FoldError, LabelError, StudyError, TrainingError)

Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Search:
    """A search that goes on from the ledger in its folder."""

    study: Study
    ranges: Mapping[str, Range]
    folder: RunFolder
    watcher: Watcher
    worlds: Worlds | None
    """Needed only while there is something to train."""

    def run(self, n_wanted: int) -> Path:
        """Try settings until there are `n_wanted` trials, or no further settings."""
        batch = max([trial.batch for trial in self._tried()], default=1)
        while len(self._tried()) < n_wanted:
            before = [trial for trial in self._tried() if trial.batch < batch]
            n_trials = min(self.study.tune.at_once, n_wanted - len(before))
            asked = self._ask(before, batch, n_trials)
            self._try(asked, batch, n_wanted)
            if len(asked) < n_trials:
                self.watcher.note(
                    f"tune.space holds no more than these {len(self._tried())} settings"
                )
                break
            batch += 1
        return self.conclude()

    def conclude(self) -> Path:
        """Write down what is known when nothing is left to try; return the folder."""
        tried = self._tried()
        self._write(tried)
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
        if best_of(tried) is None:
            raise TrainingError(
                f"none of {len(tried)} trials was completed; trial {tried[0].number} "
                f"{tried[0].state}: {tried[0].reason}"
            )
        return self.folder.path

    def _ask(self, before: Sequence[Trial], batch: int, n_trials: int) -> dict[int, Settings]:
        """Return the settings of a batch by the trial's number; the same whenever it is asked."""
        settings = ask(
            self.study.tune,
            self.ranges,
            before,
            batch=batch,
            n_trials=n_trials,
            start={path: setting_of(self.study, path) for path in self.ranges},
        )
        return dict(enumerate(settings, len(before) + 1))

    def _try(self, asked: Mapping[int, Settings], batch: int, n_wanted: int) -> None:
        """Train those trials of a batch that are not in the ledger yet, pack by pack."""
        known = {trial.number for trial in self._tried()}
        studies = {}
        for number in asked.keys() - known:
            try:
                studies[number] = with_settings(self.study, asked[number])
            except StudyError as error:
                self._note({number: _failed(error)}, asked, batch)
        studies = dict(sorted(studies.items()))
        self._enter(studies)
        packs = packs_of(studies)
        while packs:
            pack = packs.pop(0)
            self.watcher.stage(f"trial{'s' * (len(pack) > 1)} {_listed(pack)} of {n_wanted}")
            try:
                found = self._train({number: studies[number] for number in pack})
            except _FAILURES as error:
                if len(pack) > 1:  # each may fit where all together do not
                    self.watcher.note(f"warning: {error}; trying {_listed(pack)} in two halves")
                    packs[:0] = [pack[: len(pack) // 2], pack[len(pack) // 2 :]]
                    continue
                found = {pack[0]: _failed(error)}
            self._note(found, asked, batch)
            # Only now: without them what is not in the ledger would be trained again.
            shutil.rmtree(self._checkpoints(pack), ignore_errors=True)

    def _enter(self, studies: Mapping[int, Study]) -> None:
        """Enter a batch into the trial ledger before any of it is trained.

        Trials see validation rows and are made for the test slices: they count on the bars of both.
        """
        assert self.worlds is not None
        info = self.folder.read_json("data_info.json")
        entries = [
            entry_of(
                study,
                self.folder.path,
                kind="trial",
                info=info,
                spans=self.worlds.spans,
                seeds=study.seeds[:1],
                trial=number,
            )
            for number, study in studies.items()
        ]
        if entries:
            was_told = MEMORY in self.folder.read_json(SUMMARY)
            kept = enter(entries, Silent() if was_told else self.watcher)
            update_summary(self.folder, **{MEMORY: kept})

    def _train(self, trials: Mapping[int, Study]) -> dict[int, dict[str, Any]]:
        """Return what the ledger says of the trials of one pack."""
        assert self.worlds is not None  # or there would be nothing to train
        study = next(iter(trials.values()))
        prepared = self.worlds.of(study)
        epochs = study.training.epochs
        is_hopeless = pruner_of(self.study.tune, self.ranges, self._tried(), epochs=epochs)
        checkpoints = self._checkpoints(list(trials))

        def train() -> dict[int, dict[str, Any]]:
            return train_trials(
                trials,
                prepared,
                is_hopeless=is_hopeless,
                watcher=self.watcher,
                checkpoints=checkpoints,
            )

        went_on = checkpoints.exists()
        try:
            return train()
        except TrainingError as error:
            if not went_on:
                raise
            self.watcher.note(f"warning: {error}; training these trials from the start")
            shutil.rmtree(checkpoints)
            return train()

    def _checkpoints(self, pack: Sequence[int]) -> Path:
        return self.folder / CHECKPOINTS / f"trials-{'-'.join(map(str, pack))}"

    def _note(
        self, found: Mapping[int, dict[str, Any]], asked: Mapping[int, Settings], batch: int
    ) -> None:
        """Put trials into the ledger, and say what became of them."""
        new = [
            Trial(number=number, batch=batch, settings=asked[number], **one)
            for number, one in found.items()
        ]
        tried = [*self._tried(), *new]
        write_trials(self.folder.path, tried)
        self._write(tried)
        for trial in new:
            self.watcher.note(_words(trial))
        best = best_of(tried)
        if best is not None:
            self.watcher.note(f"best so far: trial {best.number} with {best.value:.5f}")

    def _write(self, tried: Sequence[Trial]) -> None:
        """Write the summary and the best study as far as they are known."""
        update_summary(self.folder, **summary_of(self.ranges, tried))
        best = best_of(tried)
        if best is not None:
            write_if_other(self.folder / BEST, as_yaml(best_study(self.study, tried, best)))

    def _tried(self) -> list[Trial]:
        return read_trials(self.folder.path)


def _failed(error: Exception) -> dict[str, Any]:
    return {"state": "failed", "value": None, "reason": str(error)}


def _words(trial: Trial) -> str:
    loss = "" if trial.value is None else f", validation loss {trial.value:.5f}"
    reason = f": {trial.reason}" if trial.state == "failed" else ""
    return f"trial {trial.number} {trial.state} after {trial.epochs} epochs{loss}{reason}"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
