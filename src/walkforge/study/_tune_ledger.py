"""What became of every trial of a search, one line of JSON each."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from walkforge.base import RunError, json_text, write_text

LEDGER = "trials.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One try of other settings."""

    number: int
    """Counted from 1."""
    batch: int
    """Trials of one batch were asked for together; counted from 1."""
    settings: dict[str, Any]
    state: Literal["complete", "pruned", "failed"]
    value: float | None
    """Mean over the members of their best validation loss; None where one has none."""
    epochs: int = 0
    """Trained by the member that went on longest."""
    best_epoch: int | None = None
    """Median over the members."""
    members: int = 0
    seconds: float = 0.0
    """The trial's share of the time of its packs."""
    reason: str = ""
    """Why it was pruned or failed."""
    losses: list[float | None] = field(default_factory=list)
    """After every epoch the mean over the members of their best validation loss so far."""


def read_trials(folder: Path) -> list[Trial]:
    """Return the trials of a search in order; raise RunError where the file is damaged."""
    path = folder / LEDGER
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Trial(**json.loads(line)) for line in lines]
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise RunError(f"{path}: not a readable ledger of trials ({error})") from None


def write_trials(folder: Path, trials: Iterable[Trial]) -> None:
    """Write all trials in order, atomically."""
    in_order = sorted(trials, key=lambda trial: trial.number)
    write_text(folder / LEDGER, "".join(f"{json_text(asdict(one))}\n" for one in in_order))


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the complete trial with the lowest value, the first of equals; None without any."""
    complete = [(one.value, one.number, one) for one in trials if one.state == "complete"]
    return min(complete)[2] if complete else None


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials best first: complete ones by value, then pruned ones, then failed ones."""
    states = ("complete", "pruned", "failed")

    def rank(one: Trial) -> tuple[int, float, int]:
        return states.index(one.state), one.value or 0.0, one.number

    return sorted(trials, key=rank)
