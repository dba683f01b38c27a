"""A run in a process of its own that kills itself at a chosen moment, as a power cut would.

    python killed.py BARS RUN STAGE N    dies at the Nth move after STAGE began; "" counts from
                                         the start, and N = 0 never dies

Moves are all signs of life that a watcher sees, and everything that is done to files inside RUN.
Prints how many moves the stage had.
"""

import os
import signal
import sys
from pathlib import Path

from study_runs import small_study
from walkforge import study
from walkforge.base import Silent

_FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "shutil.rmtree", "os.truncate"}


class Killer(Silent):
    """Counts moves, and ends the process at the chosen one without a word."""

    def __init__(self, run: Path, stage: str, dies_at: int) -> None:
        self.place, self.wanted, self.dies_at = str(run), stage, dies_at
        self.counting = stage == ""
        self.moves = 0

    def stage(self, name):
        self.counting = self.wanted in ("", name)
        self.move()

    def doing(self, what):
        self.move()

    def step(self, epoch, step, n_steps):
        self.move()

    def epoch(self, report):
        self.move()

    def item(self, done, total, what):
        self.move()

    def on_event(self, event, words):
        if event in _FILE_EVENTS and self.place in str(words[0]):
            self.move()

    def move(self):
        if self.counting:
            self.moves += 1
            if self.moves == self.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    bars, run, stage, dies_at = sys.argv[1:]
    killer = Killer(Path(run), stage, int(dies_at))
    sys.addaudithook(killer.on_event)
    if (Path(run) / "study.yaml").exists():
        study.resume(Path(run), watcher=killer)
    else:
        study.run(small_study(f"data.bars={bars}"), Path(run), watcher=killer)
    sys.stdout.write(f"{killer.moves}\n")


if __name__ == "__main__":
    main()
