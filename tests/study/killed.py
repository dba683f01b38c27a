"""Work in a process of its own that kills itself at a chosen moment, as a power cut would.

Moments are counted in moves: all signs of life that a watcher sees, and everything that is done to
files inside the folder of a run or a search.
"""

import os
import signal
import sys
from pathlib import Path

from study.searches import search
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


def begin_or_resume(venue: Path, run: Path, stage: str, dies_at: int) -> None:
    """Die at a move after a stage of a run began; "" counts from the start, and 0 never dies."""
    killer = Killer(run, stage, dies_at)
    sys.addaudithook(killer.on_event)
    if (run / "study.yaml").exists():
        study.resume(run, watcher=killer)
    else:
        study.run(small_study(f"data.bars={venue}"), run, watcher=killer)


def search_or_resume(venue: Path, folder: Path, dies_at: int) -> None:
    """Die at a move of a search; 0 never dies."""
    killer = Killer(folder, "", dies_at)
    sys.addaudithook(killer.on_event)
    if (folder / "study.yaml").exists():
        study.resume_tuning(folder, watcher=killer)
    else:
        study.tune(search(f"data.bars={venue}"), folder, watcher=killer)
