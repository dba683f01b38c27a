"""Whoever shows the progress of a run."""

from typing import Protocol

from walkforge import training


class Watcher(training.Watcher, Protocol):
    """Is told what a run does, and says it."""

    def stage(self, name: str) -> None:
        """A stage begins."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line happened: a choice and its reason, a count, a warning."""
        ...

    def item(self, done: int, total: int, what: str) -> None:
        """One of the stage's `total` pieces of work is about to be done after `done` others."""
        ...
