"""The trial ledger as a list: per market what was tried on it, and whether the chain holds."""

from collections.abc import Sequence
from typing import Any

from ._trial_entries import Entry, TriedSeries, count_trials
from ._trial_ledger import read_ledger
from ._trial_memory import trouble_of
from ._trials import entries_of


def trials() -> dict[str, Any]:
    """Return the workspace's trial ledger as plain data.

    `path`, `lines`, `head` (SHA-256 of the last line), `unfinished` (lines of killed processes),
    `trouble` (a sentence, or None), and `data`, an entry for all series that were always tried
    together: `series`, `tested` (from, to), `settings`, `trials` (every seed is one), the folders
    of the `runs`, `first` and `last` (when entered), and the `digests` of their bars. Raises
    RunError where the ledger cannot be read.
    """
    ledger = read_ledger()
    entries = entries_of(ledger)
    return {
        "path": str(ledger.path),
        "lines": len(ledger),
        "head": ledger.head,
        "unfinished": ledger.n_unfinished,
        "trouble": trouble_of(ledger),
        "data": [
            _as_plain(names, [entries[index] for index in tried])
            for tried, names in _tried_together(entries).items()
        ],
    }


def _tried_together(entries: Sequence[Entry]) -> dict[tuple[int, ...], list[str]]:
    """Return the series that stand in the same entries, by the numbers of these."""
    tried: dict[str, list[int]] = {}
    for index, entry in enumerate(entries):
        for one in entry.series:
            tried.setdefault(_name(one), []).append(index)
    together: dict[tuple[int, ...], list[str]] = {}
    for name, indices in tried.items():
        together.setdefault(tuple(dict.fromkeys(indices)), []).append(name)
    return together


def _as_plain(names: Sequence[str], entries: Sequence[Entry]) -> dict[str, Any]:
    own = [one for entry in entries for one in entry.series if _name(one) in set(names)]
    settings, n_trials = count_trials(entries)
    return {
        "series": list(names),
        "tested": [min(one.tested[0] for one in own), max(one.tested[1] for one in own)],
        "settings": settings,
        "trials": n_trials,
        "runs": list(dict.fromkeys(entry.folder for entry in entries)),
        "first": entries[0].when,
        "last": entries[-1].when,
        "digests": sorted({one.digest for one in own}),
    }


def _name(one: TriedSeries) -> str:
    """Return what a series is listed by; made-up bars are told apart by their digest."""
    name = f"{one.venue}/{one.symbol}/{one.timeframe}"
    return f"{name} ({one.digest[:8]})" if one.provenance == "simulated" else name
