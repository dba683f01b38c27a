"""Progress on standard error: a live line on a terminal, plain lines anywhere else."""

import statistics
import sys
import time
from typing import Any

from walkforge.study import Silent

# Plain lines of training come at most this often, so that a log of a long run stays readable, and
# within a long epoch at least this often, so that nobody thinks it is stuck.
_QUIET_S = 2.0
_PATIENCE_S = 15.0


def make_watcher() -> "PlainWatcher | LiveWatcher":
    """Return the watcher that suits where standard error goes, to be used in a `with`."""
    return LiveWatcher() if sys.stderr.isatty() else PlainWatcher()


class PlainWatcher(Silent):
    """One line per stage, note and now and then per epoch; no control characters."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def __enter__(self) -> "PlainWatcher":
        return self

    def __exit__(self, *problem: object) -> None:
        pass

    def stage(self, name: str) -> None:
        """Print the stage."""
        _say(f"== {name}")

    def note(self, text: str) -> None:
        """Print the note."""
        _say(f"   {text}")

    def item(self, done: int, total: int, what: str) -> None:
        """Print the piece of work, now and then."""
        self._now_and_then(f"   {done + 1}/{total} {what}", last=done + 1 == total)

    def step(self, epoch: int, step: int, n_steps: int) -> None:
        """Print where a long epoch is."""
        if time.monotonic() - self._last_s >= _PATIENCE_S:
            self._now_and_then(f"   epoch {epoch}, step {step}/{n_steps}")

    def epoch(self, report: dict[str, Any]) -> None:
        """Print the epoch, now and then."""
        self._now_and_then(f"   {epoch_line(report)}", last=report["epoch"] == report["epochs"])

    def _now_and_then(self, line: str, *, last: bool = False) -> None:
        if last or time.monotonic() - self._last_s >= _QUIET_S:
            self._last_s = time.monotonic()
            _say(line)


class LiveWatcher:
    """A bar per stage that moves with every step."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, words="")
        self._stage = ""

    def __enter__(self) -> "LiveWatcher":
        self._progress.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._progress.stop()

    def stage(self, name: str) -> None:
        """Begin a new bar; the stage before it stays as a line."""
        if self._stage:
            self._console.print(f"[green]✓[/] {self._stage}")
        self._stage = name
        self._progress.reset(self._task, total=None, description=name, words="")

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(f"  [dim]{text}[/]", highlight=False)

    def item(self, done: int, total: int, what: str) -> None:
        """Move the bar to `done` of `total`."""
        self._progress.update(self._task, total=total, completed=done, words=what)

    def step(self, epoch: int, step: int, n_steps: int) -> None:
        """Move the bar, which goes once from left to right in every epoch."""
        self._progress.update(self._task, total=n_steps, completed=step)

    def epoch(self, report: dict[str, Any]) -> None:
        """Show the losses of an epoch beside the bar."""
        self._progress.update(self._task, words=epoch_line(report))


def epoch_line(report: dict[str, Any]) -> str:
    """Return an epoch in words: members, losses, speed, and the time that is left at most."""
    losses = [line["validation_loss"] for line in report["members"]]
    left_s = (report["epochs"] - report["epoch"]) * report["seconds"]
    return (
        f"epoch {report['epoch']}/{report['epochs']}, {len(losses)} members, "
        f"validation loss {statistics.median(losses):.4f} (best {min(losses):.4f}), "
        f"{report['rows_per_s']:,.0f} rows/s, at most {_duration(left_s)} left"
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
