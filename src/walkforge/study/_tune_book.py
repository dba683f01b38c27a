"""What the epochs of a pack say about the trials that train in it."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

IsHopeless = Callable[[Sequence[float]], bool]


class Book:
    """Takes in the reports of all epochs, in order; what it says follows from them alone."""

    def __init__(
        self, members: Mapping[int, Sequence[str]], *, warmup_epochs: int, is_hopeless: IsHopeless
    ) -> None:
        """Begin with the names of every trial's members, by the trial's number."""
        self._members = members
        self._trial_of = {name: trial for trial, names in members.items() for name in names}
        self._warmup_epochs = warmup_epochs
        self._is_hopeless = is_hopeless
        self._best = dict.fromkeys(self._trial_of, math.inf)
        self._best_epoch = dict.fromkeys(self._trial_of, 0)
        self._losses: dict[int, list[float]] = {trial: [] for trial in members}
        self._seconds = dict.fromkeys(members, 0.0)
        self._left = set(self._trial_of)
        self._stopped: dict[int, tuple[Literal["pruned", "failed"], str]] = {}

    def take_in(self, report: Mapping[str, Any]) -> set[str]:
        """Take in an epoch; return the names of the members that stop after it."""
        lines = report["members"]
        for line in lines:
            self._take_in_member(line, report["epoch"], report["seconds"] / len(lines))
        for trial in {self._trial_of[line["name"]] for line in lines}:
            self._losses[trial].append(self._mean(trial))
        left = [line["name"] for line in lines if not line["done"]]
        for trial in sorted({self._trial_of[name] for name in left}):
            self._judge(trial, report["epoch"])
        stopped = {name for name in left if self._trial_of[name] in self._stopped}
        self._left = set(left) - stopped
        return stopped

    @property
    def is_whole(self) -> bool:
        """Return whether every member has come to its end."""
        return not self._left

    def result(self, trial: int) -> dict[str, Any]:
        """Return what a trial's line in the ledger says of its training."""
        value = self._mean(trial)
        state, reason = self._stopped.get(trial, ("complete", ""))
        if not math.isfinite(value):
            state, reason = "failed", self._no_loss(trial)
        epochs = [self._best_epoch[name] for name in self._members[trial]]
        return {
            "state": state,
            "reason": reason,
            "value": value if math.isfinite(value) else None,
            "epochs": len(self._losses[trial]),
            "best_epoch": statistics.median_low(epochs),
            "members": len(epochs),
            "seconds": round(self._seconds[trial], 3),
            "losses": [one if math.isfinite(one) else None for one in self._losses[trial]],
        }

    def _take_in_member(self, line: Mapping[str, Any], epoch: int, seconds: float) -> None:
        name, loss = line["name"], line["validation_loss"]
        self._seconds[self._trial_of[name]] += seconds
        # What is no finite number stands in a log as null.
        if loss is not None and math.isfinite(loss) and loss < self._best[name]:
            self._best[name], self._best_epoch[name] = loss, epoch

    def _judge(self, trial: int, epoch: int) -> None:
        """Stop a trial that cannot become anything."""
        losses = self._losses[trial]
        if epoch <= self._warmup_epochs:
            return
        if not math.isfinite(losses[-1]):
            self._stopped[trial] = "failed", self._no_loss(trial)
        elif self._is_hopeless(losses):
            self._stopped[trial] = "pruned", "worse than the median of the complete trials"

    def _mean(self, trial: int) -> float:
        names = self._members[trial]
        return math.fsum(self._best[name] for name in names) / len(names)

    def _no_loss(self, trial: int) -> str:
        names = self._members[trial]
        n_lost = sum(not math.isfinite(self._best[name]) for name in names)
        return f"{n_lost} of {len(names)} members never had a finite validation loss"
