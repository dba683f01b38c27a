"""Whoever shows the progress of a training."""

from typing import Any, Protocol


class Watcher(Protocol):
    """Whoever shows progress."""

    def note(self, text: str) -> None:
        """Something worth a line happened: a choice and its reason, a warning."""
        ...

    def doing(self, what: str) -> None:
        """A phase without steps begins, such as "validating"."""
        ...

    def step(self, epoch: int, step: int, n_steps: int) -> None:
        """One step of the pack is done."""
        ...

    def epoch(self, report: dict[str, Any]) -> None:
        """One epoch is done; the report is a line of `training_log.jsonl`."""
        ...


class Unwatched:
    """Shows nothing."""

    def note(self, text: str) -> None: ...

    def doing(self, what: str) -> None: ...

    def step(self, epoch: int, step: int, n_steps: int) -> None: ...

    def epoch(self, report: dict[str, Any]) -> None: ...
