"""Trains the trials that share a network as the members of one pack."""

import gc
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from walkforge import training
from walkforge.base import TrainingError, choose_device, choose_precision
from walkforge.features import CLIP
from walkforge.training import Member

from ._folder import RunFolder
from ._learn import Learning
from ._prepare import Prepared
from ._study import Study
from ._tune_book import Book, IsHopeless
from ._watcher import Watcher

_LOG = "training_log.jsonl"


def packs_of(trials: Mapping[int, Study]) -> list[list[int]]:
    """Return the numbers of the trials of every pack: they differ in rate and decay alone."""
    packs: dict[Any, list[int]] = {}
    for number, study in trials.items():
        packs.setdefault(_shared(study), []).append(number)
    return list(packs.values())


def train_trials(
    trials: Mapping[int, Study],
    prepared: Prepared,
    *,
    is_hopeless: IsHopeless,
    watcher: Watcher,
    checkpoints: Path,
) -> dict[int, dict[str, Any]]:
    """Train trials of one pack and return what the ledger says of each.

    The folder `checkpoints` holds what a training that was cut off goes on from. Raises
    TrainingError where that cannot be read, and where memory does not suffice.
    """
    learning = Learning(_first_seed(trials), prepared, watcher)
    members = {number: _members(learning, number, study) for number, study in trials.items()}
    book = Book(
        {number: [member.name for member in own] for number, own in members.items()},
        warmup_epochs=learning.study.tune.warmup_epochs,
        is_hopeless=is_hopeless,
    )
    logged = _Logged(book, checkpoints, watcher)
    _train(learning, [one for own in members.values() for one in own], logged, checkpoints)
    logged.catch_up()
    if not book.is_whole:
        raise TrainingError(f"{checkpoints / _LOG}: lacks epochs that the checkpoints have")
    return {number: book.result(number) for number in trials}


class _Logged:
    """Passes everything on to a watcher, and keeps the book of a pack, which outlives a kill.

    The pack's log stands beside its checkpoints; epochs that it holds from before are taken in
    first.
    """

    def __init__(self, book: Book, folder: Path, watcher: Watcher) -> None:
        self._book, self._folder, self._watcher = book, RunFolder(folder), watcher
        self._caught_up = False
        self.note, self.doing, self.stage = watcher.note, watcher.doing, watcher.stage
        self.step, self.item = watcher.step, watcher.item

    def epoch(self, report: dict[str, Any]) -> None:
        """Write the epoch to the log, then show it."""
        self._folder.path.mkdir(parents=True, exist_ok=True)
        self._folder.log_epoch(report)
        self._watcher.epoch(report)

    def prune(self, report: dict[str, Any]) -> set[str]:
        """Return the names of the members that stop after this epoch."""
        self.catch_up(before=report["epoch"])
        return self._book.take_in(report)

    def catch_up(self, before: float = math.inf) -> None:
        """Take in what the log holds from an earlier attempt, once."""
        if self._caught_up:
            return
        self._caught_up = True
        done = [one for one in _read_log(self._folder / _LOG) if one["epoch"] < before]
        n_done = len(done) if math.isinf(before) else before - 1
        if [one["epoch"] for one in done] != list(range(1, int(n_done) + 1)):
            raise TrainingError(f"{self._folder / _LOG}: epochs are missing")
        for report in done:
            self._book.take_in(report)


def _train(
    learning: Learning, members: Sequence[Member], logged: _Logged, checkpoints: Path
) -> None:
    import torch

    study, prepared = learning.study, learning.prepared
    device, _ = choose_device(study.device.device)
    precision, _ = choose_precision(study.device.precision, device)
    training.train_pack(
        learning.architecture,
        torch.from_numpy(prepared.table).to(device),
        members,
        study.training,
        window_bars=study.features.window_bars,
        clip=CLIP,
        precision=precision,
        compiled=study.device.compile,
        watcher=logged,
        checkpoints=checkpoints,
        prune=logged.prune,
        **learning.objective(device),
    )
    if device.type == "cuda":
        gc.collect()  # recorded steps refer to themselves; the next pack needs their memory


def _members(learning: Learning, number: int, study: Study) -> list[Member]:
    """Return the members of a trial: one per series and fold."""
    rate, decay = study.training.learning_rate, study.training.weight_decay
    return [
        replace(member, trial=number, learning_rate=rate, weight_decay=decay)
        for _, member in learning.members()
    ]


def _first_seed(trials: Mapping[int, Study]) -> Study:
    study = next(iter(trials.values()))
    return replace(study, seeds=study.seeds[:1])


def _shared(study: Study) -> Any:
    """Return all settings but those that members of a pack have of their own."""
    plan = replace(study.training, learning_rate=0.0, weight_decay=0.0)
    model = (study.model.name, tuple(study.model.options().items()))
    return model, astuple(plan), study.features


def _read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines; the last one may have been cut off."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return
