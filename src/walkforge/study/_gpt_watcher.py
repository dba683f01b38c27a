"""Several trainings, one after the other, told as one."""

from typing import Any

from ._watcher import Watcher


class MemberWatcher:
    """Passes on what one of `total` trainings of at most `epochs` tells, after `done` others.

    Epochs are counted through all of them, as the log and the time that is left want them; the
    numbers of those that a training does not need are left out.
    """

    def __init__(self, watcher: Watcher, *, done: int, total: int, epochs: int) -> None:
        self._watcher, self._before, self._total = watcher, done * epochs, total * epochs
        self.note, self.doing = watcher.note, watcher.doing

    def step(self, epoch: int, step: int, n_steps: int) -> None:
        """Pass a step on."""
        self._watcher.step(self._before + epoch, step, n_steps)

    def epoch(self, report: dict[str, Any]) -> None:
        """Pass a report on, with its own epoch as `member_epoch`."""
        epoch = report["epoch"]
        counted = {"epoch": self._before + epoch, "epochs": self._total, "member_epoch": epoch}
        self._watcher.epoch(report | counted)
