"""What two or more studies set otherwise, and what that means for a comparison."""

from collections.abc import Iterator, Sequence
from typing import Any

from ._compare_runs import Compared
from ._judging import ENSEMBLE, JUDGED

# What a study is called changes no number.
_WORDS = ("name", "note")


def differing_settings(runs: Sequence[Compared]) -> dict[str, Any]:
    """Return the flattened keys whose values differ, in the studies' order.

    `differ`: per key its `values`, one per run, and the letters that it is `missing_in` (their
    value is None); `n_same`: how many keys agree.
    """
    flat = [dict(_flat(run.study)) for run in runs]
    keys = [key for key in dict.fromkeys(key for one in flat for key in one) if _counts(key)]
    differ = [k for k in keys if any(k not in one or one[k] != flat[0].get(k) for one in flat)]
    return {
        "n_same": len(keys) - len(differ),
        "differ": [
            {
                "key": key,
                "values": [one.get(key) for one in flat],
                "missing_in": [
                    run.data["letter"]
                    for run, one in zip(runs, flat, strict=True)
                    if key not in one
                ],
            }
            for key in differ
        ],
    }


def _counts(key: str) -> bool:
    """Return whether a key can change a run's numbers; what a search would try cannot."""
    return key not in _WORDS and not key.startswith("tune.")


def labels_that_differ(one: Compared, other: Compared) -> list[str]:
    """Return the keys of the label rule that the two set otherwise."""
    settings = differing_settings([one, other])
    return [row["key"] for row in settings["differ"] if row["key"].startswith("labels.")]


def notes_on(runs: Sequence[Compared], settings: dict[str, Any]) -> list[str]:
    """Return what a reader must know before setting these numbers side by side."""
    notes = [*_bars(runs), *_beside(runs), *_own(runs), *_backtests(settings), *_machines(runs)]
    judged = [run.title for run in runs if run.data["kind"] == JUDGED]
    if judged:
        notes.append(
            f"{_listed(judged)}: predictions that were made elsewhere; its study names the gates "
            "and the backtest, not how the model was made."
        )
    joined = [run.title for run in runs if run.data["kind"] == ENSEMBLE]
    if joined:
        notes.append(
            f"{_listed(joined)}: an ensemble of finished runs; its study is that of the first of "
            "them, and its time and memory are those of joining and judging."
        )
    return notes


def _flat(data: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its path; a list is one leaf."""
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _bars(runs: Sequence[Compared]) -> list[str]:
    symbols = sorted(set.intersection(*(set(run.bars) for run in runs)))
    other = [s for s in symbols if len({run.bars[s] for run in runs}) > 1]
    if not other:
        return []
    return [f"The bars of {_listed(other)} are not the same in all runs (data_info.json, digest)."]


def _beside(runs: Sequence[Compared]) -> list[str]:
    """Return a note on ticks, fees and funding that differ between runs that tell of them."""
    symbols = sorted(set.intersection(*(set(run.beside) for run in runs)))
    told = {s: [run.beside[s] for run in runs if run.beside[s] is not None] for s in symbols}
    other = [s for s in symbols if any(one != told[s][0] for one in told[s])]
    if not other:
        return []
    return [
        f"The instruments or funding rates of {_listed(other)} are not the same in all runs "
        "(data_info.json): labels and accounts were made by other ticks, fees or rates."
    ]


def _own(runs: Sequence[Compared]) -> list[str]:
    """Return a note on files of one's own that were edited between runs."""
    found: dict[str, set[str]] = {}
    for run in runs:
        facts = run.folder.read_json("run.json") if run.folder.has("run.json") else {}
        for part in facts.get("own", {}).values():
            found.setdefault(part["own"], set()).add(part["sha256"])
    edited = sorted(name for name, digests in found.items() if len(digests) > 1)
    if not edited:
        return []
    return [f"{_listed(edited)} was edited between the runs (run.json, sha256)."]


def _backtests(settings: dict[str, Any]) -> list[str]:
    keys = [row["key"] for row in settings["differ"] if row["key"].startswith("backtest.")]
    if not keys:
        return []
    return [
        f"The backtests have other settings ({_listed(keys)}): what was earned compares accounts, "
        "not models alone."
    ]


def _machines(runs: Sequence[Compared]) -> list[str]:
    for key in ("device", "threads"):
        values = [run.data["cost"][key] for run in runs]
        if len({str(value) for value in values}) > 1 and None not in values:
            told = ", ".join(
                f"{run.data['letter']} {value}" for run, value in zip(runs, values, strict=True)
            )
            return [f"Times are of different machines or threads ({key}: {told})."]
    return []


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
