"""A watcher of progress for calls from Python that want no output."""

from typing import Any


class Silent:
    """Shows nothing."""

    def stage(self, name: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def doing(self, what: str) -> None:
        """Say nothing."""

    def item(self, done: int, total: int, what: str) -> None:
        """Say nothing."""

    def step(self, epoch: int, step: int, n_steps: int) -> None:
        """Say nothing."""

    def epoch(self, report: dict[str, Any]) -> None:
        """Say nothing."""
