"""A small search on noise, and watchers that look on."""

import json

from study_runs import small_study
from walkforge import study
from walkforge.base import Silent

SETTINGS = [
    "tune.trials=10",
    "tune.at_once=6",
    "tune.warmup_epochs=1",
    "tune.space.training.learning_rate={low: 1e-4, high: 3e-2, log: true}",
    "tune.space.model.dropout={low: 0.0, high: 0.4}",
    "training.epochs=4",
]


def search(*more: str) -> study.Study:
    """Return a study whose search takes about a second: two batches, two packs in each."""
    return small_study(*SETTINGS, *more)


def ledger(folder) -> list[dict]:
    """Return the lines of the ledger without what the clock says."""
    lines = (folder / "trials.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


class Onlooker(Silent):
    """Keeps the epochs' reports by stage, and the notes."""

    def __init__(self):
        self.notes, self.reports = [], {}
        self.moves = 0

    def move(self, *_):
        self.moves += 1

    doing = step = item = move

    def stage(self, name):
        self.move()
        self.now = name
        self.reports[name] = []

    def note(self, text):
        self.move()
        self.notes.append(text)

    def epoch(self, report):
        self.move()
        self.reports[self.now].append(report)

    def widths(self) -> dict[str, list[int]]:
        """Return how many members trained in each epoch of each stage that trained."""
        return {k: [len(r["members"]) for r in v] for k, v in self.reports.items() if v}


class CutOff(Silent):
    """Interrupts at the chosen move."""

    def __init__(self, at: int):
        self.left = at

    def move(self, *_):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    stage = note = doing = step = epoch = item = move
