"""Enters what is tried into the trial ledger before anything is learned, and counts it.

What a folder has to know of it, `run.json` keeps under `ledger`: the number of trials as of then,
so that the verdict of a finished run stays what it was, and how to recognise the ledger.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from walkforge.base import RunError

from ._folder import RunFolder
from ._study import Study
from ._trial_entries import Entry, count_trials, read_entry, same_data
from ._trial_ledger import Ledger, Line, add_lines, ledger_path, read_ledger
from ._trial_memory import BEGIN, MEMORY, ledger_trouble, trouble_of
from ._watcher import Watcher


def enter(entries: Sequence[Entry], watcher: Watcher) -> dict[str, Any]:
    """Enter what is about to be tried, on bars that all entries share; return what a folder keeps.

    What a process that was cut off has entered already is not entered twice. What is wrong with the
    ledger is said. Raises RunError where it cannot be written.
    """
    trouble = ledger_trouble()

    def wanted(ledger: Ledger) -> list[Line]:
        known = {one.identity for one in entries_of(ledger)}
        new = [one for one in entries if one.identity not in known]
        first = [] if len(ledger) else [_first_line(trouble)]
        return [*first, *(one.as_plain() for one in new)] if new else []

    ledger = add_lines(wanted)
    if trouble is not None:
        watcher.note(f"warning: {trouble}")
    settings, trials = count_trials(same_data(entries_of(ledger), entries[0].series))
    return {
        "path": str(ledger.path),
        "lines": len(ledger),
        "head": ledger.head,
        "settings": settings,
        "trials": trials,
        "trouble": trouble,
    }


def entries_of(ledger: Ledger) -> list[Entry]:
    """Return everything that was tried, in order."""
    found = (read_entry(line) for line in ledger.lines)
    return [one for one in found if one is not None]


def n_trials_of(study: Study, folder: RunFolder, n_seeds: int) -> int:
    """Return how many trials a run is the luckiest of, as was known when it began.

    They are those of the ledger, or those that the study counts with every seed as one, where these
    are more.
    """
    return max(study.judge.n_trials * n_seeds, _kept(folder).get("trials", 1))


def trials_told(folder: RunFolder, counted: int | None) -> list[str]:
    """Return how many trials a run's verdict counted and by what, and what is wrong with the
    ledger now, or was when the run began; nothing of a folder that was made without one.
    """
    kept = _kept(folder)
    if not kept:
        return []
    settings, trials = kept["settings"], kept["trials"]
    on_bars = (
        f"{trials} on these bars by the trial ledger ({_many(settings, 'setting')}; every seed is "
        "a trial of its own)"
    )
    if counted is None or counted <= trials:
        told = f"{_many(trials, 'trial')} counted: {on_bars}."
    else:
        told = f"{_many(counted, 'trial')} counted, by judge.n_trials; there are {on_bars}."
    trouble = ledger_trouble(folder.path) or kept["trouble"]
    return [told] if trouble is None else [told, trouble]


def later_trials_told(path: Path) -> str | None:
    """Return in a sentence how many trials on a run's bars were entered since it began, if any.

    The verdict of a finished run does not count them; whoever chooses among runs should.
    """
    kept = _kept(RunFolder(path))
    entries = entries_of(read_ledger())
    own = [one for one in entries if one.folder == str(path.resolve())]
    if not kept or not own:
        return None
    _, trials = count_trials(same_data(entries, own[0].series))
    if trials <= kept["trials"]:
        return None
    return (
        f"{path}: by now the trial ledger has {trials} trials on these bars; the verdict counts "
        f"the {kept['trials']} of when the run began, so it says too little if the run was chosen "
        "among all of them. A new run counts them all."
    )


def ledger_state() -> dict[str, Any]:
    """Return what `doctor` tells of the workspace's ledger."""
    try:
        ledger = read_ledger()
    except RunError as error:
        return {"path": str(ledger_path()), "lines": 0, "trouble": str(error)}
    return {"path": str(ledger.path), "lines": len(ledger), "trouble": trouble_of(ledger)}


def _first_line(trouble: str | None) -> Line:
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return {"kind": BEGIN, "when": when, "in_place_of": trouble}


def _kept(folder: RunFolder) -> Mapping[str, Any]:
    found = folder.read_json("run.json").get(MEMORY) if folder.has("run.json") else None
    return found or {}


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
