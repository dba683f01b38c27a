"""The live bar of one stage: what it was told, and how it looks right now."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._progress_words import Pace, duration, epoch_lines, fitted

if TYPE_CHECKING:
    from rich.console import RenderableType

_BAR_WIDTH = 16
_MARGIN = "  "


@dataclass(slots=True)
class LiveBar:
    """One stage; the fields are set by the run, and read by the thread that draws."""

    stage: str
    done: int = 0
    total: int | None = None
    """None: nobody has said how much there is to do."""
    doing: str = ""
    epoch: int = 0
    """0 outside training."""
    report: dict[str, Any] | None = None
    pace: Pace = field(default_factory=Pace)
    started_s: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> str:
        """Return how long the stage has taken so far."""
        return duration(time.monotonic() - self.started_s)

    def draw(self, spinner: "RenderableType", width: int) -> "RenderableType":
        """Return the bar, and in training numbers below it, each one line within `width`."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        elapsed = self.elapsed
        # Spinner, stage, bar and time, each with a space behind it.
        taken = 2 + len(self.stage) + 1 + _BAR_WIDTH + 1 + len(elapsed) + 1
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row(
            spinner,
            Text(self.stage, no_wrap=True),
            ProgressBar(self.total, self.done, width=_BAR_WIDTH, pulse=self.total is None),
            Text(elapsed, style="dim", no_wrap=True),
            Text(fitted(self._words(), width - taken - 1), no_wrap=True),
        )
        lines = [] if self.report is None else epoch_lines(self.report)
        below = [fitted(parts, width - len(_MARGIN) - 1) for parts in lines]
        return Group(grid, *(Text(_MARGIN + line, no_wrap=True) for line in below))

    def _words(self) -> list[str]:
        """Return what stands beside the bar, the most important first."""
        words = [f"epoch {self.pace.words_of(self.epoch)}"] if self.epoch else []
        left_s = self.pace.steps_left_s
        if self.report is not None:
            words.append(f"at most {duration(self.pace.left_s)} left")
        elif left_s is not None:
            words.append(f"{duration(left_s)} left{' in it' if self.epoch else ''}")
        if self.doing:
            words.append(self.doing)
        return words
