"""Ctrl-C and SIGTERM end a run between two steps; a second one ends it at once."""

import signal
import threading
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruptible:
    """A watcher that passes everything on, and once asked to stop ends the run at a sign of life.

    Used in a `with`, which listens for both signals and afterwards gives them back. Outside the
    main thread, where Python takes no signals, it only passes on.
    """

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher
        self._asked = False
        self._saving = False
        self._main = threading.current_thread() is threading.main_thread()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruptible":
        for number in _SIGNALS if self._main else ():
            before = signal.getsignal(number)
            # A signal that the caller ignores, as of a job in the background, stays ignored.
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._ask)
        return self

    def __exit__(self, *problem: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)

    def stage(self, name: str) -> None:
        """Pass it on, or stop."""
        self._stop_if_asked()
        self._watcher.stage(name)

    def note(self, text: str) -> None:
        """Pass it on, or stop."""
        self._stop_if_asked()
        self._watcher.note(text)

    def doing(self, what: str) -> None:
        """Pass it on, or stop."""
        self._stop_if_asked()
        self._watcher.doing(what)

    def item(self, done: int, total: int, what: str) -> None:
        """Pass it on, or stop."""
        self._stop_if_asked()
        self._watcher.item(done, total, what)

    def step(self, epoch: int, step: int, n_steps: int) -> None:
        """Pass it on, or stop."""
        self._stop_if_asked()
        self._watcher.step(epoch, step, n_steps)

    def epoch(self, report: dict[str, Any]) -> None:
        """Pass it on; the epoch's checkpoint is written before the next sign but one."""
        self._saving = True
        self._watcher.epoch(report)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        # Said by another thread: this one may be in the middle of a line.
        words = "stopping after this step; Ctrl-C again stops at once"
        threading.Thread(target=self._watcher.note, args=(words,), daemon=True).start()

    def _stop_if_asked(self) -> None:
        saving, self._saving = self._saving, False
        # The watchdog's notes come from a thread of its own, which is not the one to stop.
        main = threading.main_thread()
        if self._asked and not saving and threading.current_thread() is main:
            raise KeyboardInterrupt
