"""Keeps a run's books while it goes: the training log, the time of each stage, peak memory."""

import time
from typing import Any

from walkforge.base import peak_resident_bytes

from ._folder import RunFolder
from ._watcher import Watcher


class StageClock:
    """Passes everything on to a watcher; used in a `with`, which also ends the last stage.

    Times are added to those of earlier attempts at the same run; what a killed process had begun is
    not known.
    """

    def __init__(self, folder: RunFolder, watcher: Watcher) -> None:
        self._folder = folder
        self._watcher = watcher
        self._stage = ""
        self._since = time.perf_counter()
        self.note, self.doing = watcher.note, watcher.doing
        self.step, self.item = watcher.step, watcher.item

    def __enter__(self) -> "StageClock":
        return self

    def __exit__(self, *problem: object) -> None:
        self._write()

    def stage(self, name: str) -> None:
        """End the stage before, and begin this one."""
        self._write()
        self._stage = name
        self._watcher.stage(name)

    def epoch(self, report: dict[str, Any]) -> None:
        """Write the epoch to the log, then show it."""
        self._folder.log_epoch(report)
        self._watcher.epoch(report)

    def _write(self) -> None:
        now = time.perf_counter()
        taken, self._since = now - self._since, now
        known = self._folder.read_json("run.json")
        stages = known.get("stage_seconds", {})
        if self._stage:
            stages[self._stage] = stages.get(self._stage, 0.0) + taken
        self._folder.update_run(
            seconds=known.get("seconds", 0.0) + taken,
            stage_seconds=stages,
            peak_memory_bytes=max(known.get("peak_memory_bytes", 0), peak_resident_bytes()),
        )
