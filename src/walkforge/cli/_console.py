"""Progress on standard error: a live line on a terminal, plain lines anywhere else."""

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from walkforge.base import Silent

from ._live_bar import LiveBar
from ._progress_words import Pace, duration, epoch_lines

if TYPE_CHECKING:
    from rich.console import RenderableType

# Plain lines of training come at most this often, so that a log of a long run stays readable, and
# within a long epoch at least this often, so that nobody thinks it is stuck.
_QUIET_S = 2.0
_PATIENCE_S = 15.0


def make_watcher() -> "PlainWatcher | LiveWatcher":
    """Return the watcher that suits where standard error goes, to be used in a `with`.

    Live only where control characters are welcome: on a terminal that is not `dumb`, and where
    NO_COLOR does not ask for plain text.
    """
    plain = os.environ.get("TERM") in ("dumb", "unknown") or bool(os.environ.get("NO_COLOR"))
    return LiveWatcher() if sys.stderr.isatty() and not plain else PlainWatcher()


class PlainWatcher(Silent):
    """One line per stage, note and now and then per epoch; no control characters.

    What `doing` says is not printed: where it lasts, the watchdog's note names it.
    """

    def __init__(self) -> None:
        self._last_s = time.monotonic()
        self._pace = Pace()

    def __enter__(self) -> "PlainWatcher":
        return self

    def __exit__(self, *problem: object) -> None:
        pass

    def stage(self, name: str) -> None:
        """Print the stage."""
        self._pace = Pace()
        _say(f"== {name}")

    def note(self, text: str) -> None:
        """Print the note."""
        _say(f"   {text}")

    def item(self, done: int, total: int, what: str) -> None:
        """Print the piece of work, now and then."""
        self._pace.note_step(done, total)
        left_s = self._pace.steps_left_s
        left = "" if left_s is None else f", {duration(left_s)} left"
        self._now_and_then(f"   {done + 1}/{total} {what}{left}", last=done + 1 == total)

    def step(self, epoch: int, step: int, n_steps: int) -> None:
        """Print where a long epoch is."""
        self._pace.note_step(step, n_steps)
        if time.monotonic() - self._last_s >= _PATIENCE_S:
            left_s = self._pace.steps_left_s
            left = "" if left_s is None else f", {duration(left_s)} left in it"
            self._now_and_then(f"   epoch {epoch}, step {step}/{n_steps}{left}")

    def epoch(self, report: dict[str, Any]) -> None:
        """Print the epoch, now and then."""
        self._pace.note(report)
        left = f"at most {duration(self._pace.left_s)} left"
        numbers = [part for parts in epoch_lines(report) for part in parts]
        line = ", ".join([f"epoch {self._pace.words}", left, *numbers])
        self._now_and_then(f"   {line}", last=report["epoch"] == report["epochs"])

    def _now_and_then(self, line: str, *, last: bool = False) -> None:
        if last or time.monotonic() - self._last_s >= _QUIET_S:
            self._last_s = time.monotonic()
            _say(line)


class LiveWatcher:
    """A bar per stage, and in training lines of numbers below it.

    The callbacks only remember what they are told; a thread of the display draws it eight times a
    second, whatever the number of steps.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        self._bar = LiveBar("")
        self._spinner = Spinner("dots")
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(
            console=self._console, get_renderable=self._draw, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> "LiveWatcher":
        self._live.start()
        return self

    def __exit__(self, kind: type | None, *problem: object) -> None:
        self._live.stop()
        if kind is None:
            self._keep_stage()

    def stage(self, name: str) -> None:
        """Begin a new bar; the stage before it stays as a line."""
        self._keep_stage()
        self._bar = LiveBar(name)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        from rich.text import Text

        self._console.print(Text(f"  {text}", style="dim"))

    def doing(self, what: str) -> None:
        """Show the phase beside the bar, until the next step."""
        self._bar.doing = what

    def item(self, done: int, total: int, what: str) -> None:
        """Move the bar to `done` of `total`; what was trained before is told no more."""
        bar = self._bar
        bar.done, bar.total, bar.doing = done, total, what
        bar.epoch, bar.report = 0, None
        bar.pace.note_step(done, total)

    def step(self, epoch: int, step: int, n_steps: int) -> None:
        """Move the bar, which goes once from left to right in every epoch."""
        bar = self._bar
        bar.epoch, bar.done, bar.total, bar.doing = epoch, step, n_steps, ""
        bar.pace.note_step(step, n_steps)

    def epoch(self, report: dict[str, Any]) -> None:
        """Show the numbers of an epoch below the bar."""
        self._bar.pace.note(report)
        self._bar.report = report

    def _draw(self) -> "RenderableType":
        return self._bar.draw(self._spinner, self._console.width)

    def _keep_stage(self) -> None:
        from rich.text import Text

        if self._bar.stage:
            tick, took = Text("✓", "green"), Text(self._bar.elapsed, "dim")
            self._console.print(Text.assemble(tick, f" {self._bar.stage} ", took))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
