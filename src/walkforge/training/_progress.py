"""How far an epoch has come, whatever groups its members go in."""

from collections.abc import Iterable

from ._watcher import Watcher


class Progress:
    """Counts the steps of all groups of an epoch; groups may be noted from several threads."""

    def __init__(self, epoch: int, watcher: Watcher) -> None:
        self.epoch = epoch
        self.watcher = watcher
        self._told = 0
        self._steps: dict[int, tuple[int, int]] = {}
        """Steps taken, and steps in all, by the first member of each group."""

    def expect(self, groups: Iterable[tuple[slice, int]], steps: list[int]) -> None:
        """Take in groups, and the step that each begins with, of members with so many `steps`."""
        for own, step in groups:
            self._steps[own.start] = (step, steps[own.start])

    def note(self, own: slice, step: int) -> None:
        """A group has come to this step."""
        self._steps[own.start] = (step, self._steps[own.start][1])

    def tell(self) -> None:
        """Tell the watcher of steps that it has not heard of: what is said is a sign of life."""
        known = list(self._steps.values())
        done, total = (sum(part) for part in zip(*known, strict=True))
        if done > self._told:
            self._told = done
            self.watcher.step(self.epoch, done, total)
