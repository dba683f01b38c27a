"""Says in words when a run has shown no sign of life for a while, and what it was doing."""

import threading
import time
from collections.abc import Callable
from typing import Any

from ._watcher import Watcher

_LIMIT_S = 30.0


class Watchdog:
    """Passes everything on to a watcher, and speaks through its `note` when nothing comes.

    Used in a `with`: a thread of its own looks on until the end. It speaks after `limit_s`, after
    2, 4, 10, 20, 40, 100, ... times that (30 s, 1, 2, 5, 10, 20, 50 minutes), and once more when
    life goes on. The watcher's `note` is therefore called from that thread too.
    """

    def __init__(
        self,
        watcher: Watcher,
        *,
        limit_s: float = _LIMIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watcher = watcher
        self._limit_s = limit_s
        self._clock = clock
        self._last_s = self._silent_since_s = clock()
        self._n_said = 0
        self._speaking = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="watchdog", daemon=True)
        self._words: Callable[[str], str] = _at_the_start
        self._stage = ""
        self._at_step = 0, 0
        self._epoch = self._n_epochs = 0

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        self._thread.join()

    def stage(self, name: str) -> None:
        """Pass the stage on."""
        self._stage, self._epoch, self._n_epochs = name, 0, 0
        self._lives(lambda t: f"stage {name} has taken {t} so far; its work shows no steps")
        self._watcher.stage(name)

    def note(self, text: str) -> None:
        """Pass the note on; it does not say what comes next."""
        self._lives(self._words)
        self._watcher.note(text)

    def doing(self, what: str) -> None:
        """Pass the phase on."""
        where = self._where()
        if self._epoch:
            self._lives(lambda t: f"no step has finished for {t}; it is {what}{where}")
        else:
            self._lives(lambda t: f"it has been {what} for {t}{where}")
        self._watcher.doing(what)

    def item(self, done: int, total: int, what: str) -> None:
        """Pass the piece of work on."""
        where = self._where()
        self._lives(
            lambda t: (
                f"{what} ({done + 1} of {total}) has taken {t} so far; such a piece of "
                f"work shows no steps{where}"
            )
        )
        self._watcher.item(done, total, what)

    def step(self, epoch: int, step: int, n_steps: int) -> None:
        """Pass the step on; this comes tens of thousands of times a second."""
        self._epoch = epoch
        self._at_step = step, n_steps
        self._lives(self._after_step)
        self._watcher.step(epoch, step, n_steps)

    def epoch(self, report: dict[str, Any]) -> None:
        """Pass the epoch's report on."""
        epoch, self._n_epochs = report["epoch"], report["epochs"]
        self._epoch = min(epoch + 1, self._n_epochs)
        done = f"epoch {epoch} of {self._n_epochs} is done (stage {self._stage})"
        self._lives(lambda t: f"no step has finished for {t}; {done}")
        self._watcher.epoch(report)

    def check(self) -> None:
        """Speak where the silence has lasted long enough; the thread asks again and again."""
        with self._speaking:
            last_s = self._last_s
            silent_s = self._clock() - last_s
            if silent_s < self._limit_of(self._n_said):
                return
            while silent_s >= self._limit_of(self._n_said):
                self._n_said += 1
            self._silent_since_s = last_s
            self._watcher.note(self._words(_duration(silent_s)))

    def _look_on(self) -> None:
        while not self._over.wait(self._limit_s / 30):
            try:
                self.check()
            except OSError:  # nobody reads what is said any more
                return

    def _lives(self, words: Callable[[str], str]) -> None:
        """Note a sign of life, and what to say if it was the last one for long."""
        now_s = self._clock()
        if self._n_said:
            with self._speaking:
                self._n_said = 0
                self._watcher.note(f"went on after {_duration(now_s - self._silent_since_s)}")
        self._words, self._last_s = words, now_s

    def _limit_of(self, n_said: int) -> float:
        return self._limit_s * (1, 2, 4)[n_said % 3] * 10.0 ** (n_said // 3)

    def _after_step(self, silence: str) -> str:
        step, n_steps = self._at_step
        last = f"the last was step {step} of {n_steps}"
        return f"no step has finished for {silence}; {last}{self._where()}"

    def _where(self) -> str:
        epochs = f" of {self._n_epochs}" if self._n_epochs else ""
        epoch = f" in epoch {self._epoch}{epochs}" if self._epoch else ""
        return f"{epoch} (stage {self._stage})" if self._stage else epoch


def _at_the_start(silence: str) -> str:
    return f"nothing has been heard for {silence}; it is reading the bars"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
