"""A run, read top to bottom: bars, features, labels, folds, training, measures, verdict, report.

    folder = study.run(study.load("demo"))

Each stage leaves its files whole; a run that was cut off goes on after its last finished stage.
"""

import platform
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from walkforge import __version__
from walkforge.base import (
    RunError,
    Silent,
    UsageError,
    WalkforgeError,
    choose_device,
    choose_precision,
    digest_of_json,
)
from walkforge.market import Bars, Instrument
from walkforge.training import Ranks, find_ranks, launched_first, require_shares

from ._bars import (
    instrument_before,
    missing_assets,
    read_bars,
    twins_told,
)
from ._baselining import Baselining
from ._beside import info_of, instruments_of
from ._bundles import write_bundles, write_trees
from ._clock import StageClock
from ._folder import CHECKPOINTS, RunFolder, default_folder
from ._gpt_files import write_market
from ._gpt_learn import GptLearning
from ._gpt_study import GptStudy
from ._judging import ENSEMBLE, JUDGED, judge, measure_and_backtest
from ._learn import Learning, Results
from ._liquid import decisions_told
from ._lives import survivorship_told
from ._load import as_yaml, load
from ._own import keep_parts, own_facts, refuse_changed_parts
from ._prepare import Prepared, folds_as_plain, prepare
from ._study import Study
from ._telling import tell_bars, tell_rows
from ._trial_entries import entry_of, spans_of_folds
from ._trial_memory import MEMORY
from ._trials import enter
from ._watchdog import Watchdog
from ._watcher import Watcher

_LEARNED = ("predictions.parquet", "baseline_predictions.parquet")


def run(
    study: Study,
    out: Path | None = None,
    *,
    watcher: Watcher | None = None,
    bars: Mapping[str, Bars] | None = None,
) -> Path:
    """Run a study into a new folder and return the folder.

    `out` is `runs/NAME-UTCTIME` where left out. `bars` by symbol take the place of the study's
    own source. Of several processes that train one model, started by torchrun or on several
    machines, all call this with one `out` that they share; the first alone writes.
    Raises a WalkforgeError for anything that the user can mend.
    """
    path = out_folder(study, out)
    if not is_first(study):
        _refuse_another(path, study)
        return _train_along(study, path, bars)
    folder = RunFolder.create(
        path,
        as_yaml(study),
        {
            **own_facts(study),
            "study_digest": _digest(study),
            "started": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "threads": _threads(),
        },
    )
    keep_parts(study, path)
    with Watchdog(watcher or Silent()) as watched:
        try:
            found = read_bars(study) if bars is None else dict(bars)
            if missing := missing_assets(study.data, found):
                words = f"{len(missing)} assets of {study.data.universe} have no bars"
                watched.note(f"{words}: {', '.join(missing)}")
            if bars is None and (twins := twins_told(study.data, found)):
                watched.note(twins)
            prepared = _prepare(study, found, watched)
            if bars is None:
                _tell_survivorship(study, folder, found, prepared, watched)
            found = _note_data(study, folder, found, prepared)
            _enter(study, folder, prepared, watched)
        except WalkforgeError:
            # A study that does not fit its bars leaves nothing behind.
            folder.remove()
            raise
        _learn(study, folder, prepared, watched)
        del prepared  # the table of features: nothing after learning needs it
        return _finish(study, folder, found, watched)


def resume(path: Path, *, watcher: Watcher | None = None) -> Path:
    """Continue the run in `path` after its last finished stage, training after its last epoch.

    What is finished is not computed again. Raises RunError where the study, its bars or funding
    rates are no longer those that the run began with, or where its labels would be made by other
    ticks; the backtest takes the instruments of its beginning in any case.
    """
    folder = RunFolder.open(path)
    if folder.has("tune.json"):
        raise RunError(f"{path}: a search; continue it with `walkforge tune --resume {path}`")
    study = load(folder / "study.yaml")
    facts = folder.read_json("run.json")
    if facts.get("kind") == JUDGED:
        raise RunError(f"{path}: holds predictions that were made elsewhere; nothing to resume")
    if facts.get("kind") == ENSEMBLE:
        raise RunError(f"{path}: an ensemble of finished runs; nothing to resume")
    if facts.get("study_digest") != _digest(study):
        raise RunError(
            f"{path}: study.yaml has changed since the run began; put it back, or start a new run"
        )
    refuse_changed_parts(path, facts)
    if not is_first(path):
        learned = folder.has("predictions.parquet")
        return path if learned else _train_along(study, path, bars_of_run(study, folder))
    with Watchdog(watcher or Silent()) as watched:
        folder.sweep()
        _use_threads(facts.get("threads"), watched)
        bars = bars_of_run(study, folder)
        if not folder.has(*_LEARNED):
            prepared = _prepare(study, bars, watched, instruments_of(folder))
            if not folder.has("data_info.json"):
                _tell_survivorship(study, folder, bars, prepared, watched)
            bars = _note_data(study, folder, bars, prepared)
            _enter(study, folder, prepared, watched)
            _learn(study, folder, prepared, watched)
            del prepared
        return _finish(study, folder, bars, watched)


def is_first(study: Study | Path) -> bool:
    """Return whether this process is the one of a study's or a run's that writes, or the only one.

    Raises TrainingError where the study cannot train on the devices that are here, RunError where
    the folder holds no run.
    """
    if isinstance(study, Path):
        folder = RunFolder.open(study)
        if folder.has("predictions.parquet"):  # nothing trains any more, on whatever devices
            return launched_first()
        study = load(folder / "study.yaml")
    ranks = _ranks(study)
    return ranks is None or ranks.first


def out_folder(study: Study, out: Path | None) -> Path:
    """Return the run folder, one with the time in its name where left out.

    Raises UsageError where several processes that somebody else has started write one run.
    """
    ranks = _ranks(study)
    if out is None and ranks is not None and ranks.n_processes > 1 and ranks.started_elsewhere:
        raise UsageError(
            "several processes write one run, so its folder must have a name that all of them "
            "know; give it with --out"
        )
    return out or default_folder(study.name)


def _ranks(study: Study) -> Ranks | None:
    """Return who trains together; None for a study that trains in one process."""
    if not isinstance(study, GptStudy):
        return None
    device, _ = choose_device(study.device.device)
    precision, _ = choose_precision(study.device.precision, device)
    ranks = find_ranks(study.device.devices, study.device.nodes, device.type)
    require_shares(study.training, ranks, precision, sharded=study.device.sharded)
    return ranks


def _refuse_another(path: Path, study: Study) -> None:
    """Raise RunError where the first process will refuse the folder and never train."""
    folder = RunFolder(path)
    begun = folder.has("run.json") and folder.read_json("run.json").get("study_digest")
    if begun != _digest(study) or folder.has("predictions.parquet"):
        RunFolder.refuse_used(path)


def _train_along(study: Study, path: Path, bars: Mapping[str, Bars] | None) -> Path:
    """Train the models of a run that another process writes."""
    assert isinstance(study, GptStudy)  # no other trains in several processes
    found = read_bars(study) if bars is None else dict(bars)
    prepared = _prepare(study, found, Silent(), instruments_of(RunFolder(path)))
    GptLearning(study, prepared, Silent()).train(path / CHECKPOINTS)
    return path


def bars_of_run(
    study: Study, folder: RunFolder, bars: Mapping[str, Bars] | None = None
) -> dict[str, Bars]:
    """Return the bars of a run that has begun; series that the source has got since are no part.

    `bars` by series take the place of the study's own source. Raises RunError where they are not
    those that the run began with.
    """
    if not folder.has("data_info.json"):
        return read_bars(study) if bars is None else dict(bars)
    known = folder.read_json("data_info.json")
    if bars is None:
        # By name and venue: what the folder has got since must not push one of them out.
        venue_of = {str(one["symbol"]): str(one["venue"]) for one in known.values()}
        named = replace(study, data=replace(study.data, symbols=tuple(venue_of)))
        bars = read_bars(named, venue_of)
    changed = [s for s in known if s not in bars or known[s].get("digest") != bars[s].digest()]
    if changed:
        raise RunError(
            f"{folder.path}: the bars of {', '.join(changed)} have changed since it began; start a "
            "new run"
        )
    return {name: bars[name] for name in known}


def _prepare(
    study: Study,
    bars: Mapping[str, Bars],
    watcher: Watcher,
    instruments: Mapping[str, Instrument] | None = None,
) -> Prepared:
    """Return features, outcomes and folds, and say what was found and dropped."""
    choose_device(study.device.device)
    tell_bars(bars, watcher)
    watcher.stage("features, labels and folds")
    prepared = prepare(bars, study, instruments=instruments, note=watcher.note)
    tell_rows(prepared, watcher)
    return prepared


def _tell_survivorship(
    study: Study,
    folder: RunFolder,
    bars: Mapping[str, Bars],
    prepared: Prepared,
    watcher: Watcher,
) -> None:
    """Say and write down by what the choice of symbols knew the future."""
    judged = {prepared.series[part.series].bars.symbol for part in prepared.parts}
    if told := survivorship_told(study.data, bars, judged):
        watcher.note(f"warning: {told}")
        folder.update_run(survivorship=told)


def _finish(study: Study, folder: RunFolder, bars: Mapping[str, Bars], watcher: Watcher) -> Path:
    """Go through all stages after learning that are not finished."""
    judged = {part["series"] for part in folder.read_json("folds.json")}
    bars = {name: one for name, one in bars.items() if name in judged}
    with StageClock(folder, watcher) as watched:
        instruments = {name: instrument_before(one, study.data) for name, one in bars.items()}
        measure_and_backtest(study, folder, bars, instruments, watched)
        watched.stage("verdict and report")
        folder.update_run(**facts_of(study))
        judge(folder.path)
    folder.remove_checkpoints()
    return folder.path


def _learn(study: Study, folder: RunFolder, prepared: Prepared, watcher: Watcher) -> None:
    """Train, predict and keep the bundles; then the same for the baselines."""
    with StageClock(folder, watcher) as watched:
        folder.write_json("folds.json", folds_as_plain(prepared))
        if not folder.has("predictions.parquet"):
            watched.stage("training")
            _train(study, folder, prepared, watched)
        if not folder.has("baseline_predictions.parquet"):
            watched.stage("baselines")
            _learn_beside(Baselining(study, prepared, watched), folder)


def _train(study: Study, folder: RunFolder, prepared: Prepared, watcher: Watcher) -> None:
    results = _learned(study, folder, prepared, watcher)
    folder.update_run(**results.facts)
    if results.forecasts is not None:
        folder.write_table("forecasts.parquet", results.forecasts)
    folder.write_table("calibration_predictions.parquet", results.calibration_predictions)
    folder.write_table("predictions.parquet", results.predictions)


def _learned(study: Study, folder: RunFolder, prepared: Prepared, watcher: Watcher) -> Results:
    """Return what learning leaves, after writing the models."""
    if isinstance(study, GptStudy):
        market = GptLearning(study, prepared, watcher).run(folder / CHECKPOINTS)
        watcher.doing("writing the models")
        write_market(folder, study, prepared, market)
        return market
    learning = Learning(study, prepared, watcher)
    results = learning.run(folder / CHECKPOINTS)
    watcher.doing("writing the bundles")
    write_bundles(folder, learning, results)
    return results


def _learn_beside(beside: Baselining, folder: RunFolder) -> None:
    if beside.study.model.forecasts:
        folder.write_table("baseline_forecasts.parquet", beside.forecasts())
    found = beside.run()
    write_trees(folder, beside, found)
    folder.write_table("baseline_calibration_predictions.parquet", found.calibration_predictions)
    folder.write_table("baseline_predictions.parquet", found.predictions)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _use_threads(wanted: int | None, watcher: Watcher) -> None:
    """Go on with as many threads as the run began with: sums round by how they are split."""
    import torch

    if wanted is not None and wanted != _threads():
        watcher.note(f"{wanted} threads, as the run began with")
        torch.set_num_threads(wanted)


def _note_data(
    study: Study, folder: RunFolder, bars: Mapping[str, Bars], prepared: Prepared
) -> dict[str, Bars]:
    """Return the bars of the series that are not left out, and write down which these are.

    Raises RunError where the models that the run goes on from are no longer those of its beginning.
    """
    kept = {name: bars[name] for name in prepared.series}
    if prepared.base is not None:
        found = prepared.base.as_plain()
        if folder.read_json("run.json").get("base", found) != found:
            raise RunError(
                f"{folder.path}: the models of {prepared.base.folder.path} have changed since it "
                "began; start a new run"
            )
        folder.update_run(base=found)
    if not folder.has("data_info.json"):
        folder.update_run(left_out=prepared.left_out)
        if prepared.own:
            folder.update_run(own=prepared.own)
        if study.data.universe is not None:
            folder.update_run(missing_assets=missing_assets(study.data, bars))
        instruments = {name: one.instrument for name, one in prepared.series.items()}
        info = info_of(kept, instruments, study.data)
        if study.data.most_liquid is not None:
            for name, one in prepared.series.items():
                told = decisions_told(one.outcomes.decided_at[one.usable])
                info[name]["most_liquid"] = told
        folder.write_json("data_info.json", info)
    return kept


def _enter(study: Study, folder: RunFolder, prepared: Prepared, watcher: Watcher) -> None:
    """Enter the run into the trial ledger, unless that was done: before anything is learned, so
    that a run counts that is ended because it does not look good.
    """
    if MEMORY in folder.read_json("run.json"):
        return
    led_on = isinstance(study, GptStudy) and study.fine_tune.run is not None
    entry = entry_of(
        study,
        folder.path,
        kind="fine-tune" if led_on else "run",
        info=folder.read_json("data_info.json"),
        spans=spans_of_folds(folds_as_plain(prepared)),
    )
    folder.update_run(**{MEMORY: enter([entry], watcher)})


def _digest(study: Study) -> str:
    return digest_of_json(as_yaml(study))


def facts_of(study: Study) -> dict[str, Any]:
    """Return what `run.json` says of every run: its name, versions and seeds."""
    import torch

    return {
        "name": study.name,
        "walkforge": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "seeds": list(study.seeds),
    }
