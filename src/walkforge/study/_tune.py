"""A search for better settings, read top to bottom: ask, train as packs, note, ask again.

    folder = study.tune(study.load("gru", bars=...))
    study.run(study.load(folder / "best.yaml"))

Trials are judged by validation rows alone. Every one of them counts: `best.yaml` says how many
there were, and the gates that judge it know.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from walkforge.base import (
    RunError,
    Silent,
    StudyError,
    WalkforgeError,
    choose_device,
    choose_precision,
    digest_of_json,
)
from walkforge.market import Bars, Instrument

from ._bars import read_bars
from ._beside import info_of, instruments_of
from ._folder import RunFolder, default_folder
from ._gpt_study import GptStudy
from ._load import as_yaml, load
from ._own import keep_parts, own_facts, refuse_changed_parts
from ._run import bars_of_run
from ._study import Study
from ._tune_folder import SUMMARY, create_folder, open_folder, update_summary
from ._tune_ledger import read_trials
from ._tune_search import Search
from ._tune_space import DEFAULT_SPACE, Range, ranges_of
from ._tune_worlds import Worlds
from ._watchdog import Watchdog
from ._watcher import Watcher


def tune(
    study: Study,
    out: Path | None = None,
    *,
    watcher: Watcher | None = None,
    bars: Mapping[str, Bars] | None = None,
) -> Path:
    """Search for better settings of a study, as its section `tune` says, and return the folder.

    `out` is `runs/tune-NAME-UTCTIME` where left out. `bars` by symbol take the place of the study's
    own source. `best.yaml` in the folder is the study with the settings that were found.
    Raises a WalkforgeError for anything that the user can mend.
    """
    if isinstance(study, GptStudy):
        raise StudyError(
            "model.name is marketgpt, whose trials cannot share a pack; tune mlp, gru, cnn_lstm or "
            "bilstm, or set the values of a MarketGPT by hand"
        )
    own_model = study.model.own is not None  # reads nothing of the section
    if not study.tune.space:
        read = [key for key in DEFAULT_SPACE if not (own_model and key.startswith("model."))]
        space = {key: DEFAULT_SPACE[key] for key in read}
        study = replace(study, tune=replace(study.tune, space=space))
    ranges = ranges_of(study)
    folder = create_folder(
        out or default_folder(f"tune-{study.name}"),
        as_yaml(study),
        {
            **own_facts(study),
            "kind": "tune",
            "name": study.name,
            "study_digest": digest_of_json(as_yaml(study)),
            "started": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "threads": _threads(),
            "n_wanted": study.tune.trials,
            "space": study.tune.space,
        },
    )
    keep_parts(study, folder.path)
    with Watchdog(watcher or Silent()) as watched:
        try:
            found = read_bars(study) if bars is None else dict(bars)
            worlds = _worlds(found, study, ranges, watched)
        except WalkforgeError:
            # A study that does not fit its bars leaves nothing behind.
            folder.remove()
            raise
        _note_data(study, folder, worlds)
        return Search(study, ranges, folder, watched, worlds).run(study.tune.trials)


def resume_tuning(path: Path, *, trials: int | None = None, watcher: Watcher | None = None) -> Path:
    """Continue the search in `path`, up to so many `trials` in all where that is given.

    What is finished is not computed again. Raises RunError where the study or its bars are no
    longer those that the search began with.
    """
    folder = open_folder(path)
    facts = folder.read_json(SUMMARY)
    study = load(folder / "study.yaml")
    if facts.get("study_digest") != digest_of_json(as_yaml(study)):
        raise RunError(
            f"{path}: study.yaml has changed since the search began; put it back, or start a new "
            "search"
        )
    refuse_changed_parts(path, facts)
    if trials is not None and trials < 1:
        raise StudyError(f"trials is {trials}; expected at least 1")
    ranges, wanted = ranges_of(study), trials or facts["n_wanted"]
    folder.sweep()
    if len(read_trials(path)) >= wanted:
        return Search(study, ranges, folder, Silent(), None).conclude()
    with Watchdog(watcher or Silent()) as watched:
        update_summary(folder, n_wanted=wanted)
        _use_threads(facts["threads"], watched)
        worlds = _worlds(bars_of_run(study, folder), study, ranges, watched, instruments_of(folder))
        _note_data(study, folder, worlds)
        return Search(study, ranges, folder, watched, worlds).run(wanted)


def _worlds(
    bars: Mapping[str, Bars],
    study: Study,
    ranges: Mapping[str, Range],
    watcher: Watcher,
    instruments: Mapping[str, Instrument] | None = None,
) -> Worlds:
    device, reason = choose_device(study.device.device)
    watcher.note(f"device {device}: {reason}")
    precision, reason = choose_precision(study.device.precision, device)
    watcher.note(f"precision {precision.name}: {reason}")
    watcher.stage("features, labels and folds")
    worlds = Worlds(bars, study, ranges, instruments=instruments, note=watcher.note)
    for name, reason in worlds.left_out.items():
        watcher.note(f"warning: {name} left out: {reason}")
    if study.tune.folds == "all" and study.folds.kind == "walk_forward":
        watcher.note(
            "warning: tune.folds is all: validation slices of later folds lie in the calibration "
            "and test slices of earlier folds, so settings are chosen by rows that judge the result"
        )
    if study.folds.calendar == "own" and len(worlds.bars) > 1:
        watcher.note(
            "warning: every series is cut on its own calendar, and all share the settings: "
            "validation rows of one may lie in the time that tests another; name one series with "
            "--set 'data.symbols=[...]', or set folds.calendar=common"
        )
    return worlds


def _note_data(study: Study, folder: RunFolder, worlds: Worlds) -> None:
    """Write down by which bars and instruments all trials are judged."""
    if folder.has("data_info.json"):
        return
    info = info_of(worlds.bars, worlds.instruments, study.data)
    digests = {name: one["digest"] for name, one in info.items()}
    update_summary(folder, data_digest=digest_of_json(digests), left_out=worlds.left_out)
    folder.write_json("data_info.json", info)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _use_threads(wanted: int, watcher: Watcher) -> None:
    """Go on with as many threads as the search began with: sums round by how they are split."""
    import torch

    if wanted != _threads():
        watcher.note(f"{wanted} threads, as the search began with")
        torch.set_num_threads(wanted)
