"""Null markets as one pack beside one after the other: what measuring the gates costs.

    python benchmarks/null_markets.py --markets 300 --alone 6

Every market is two years of hourly bars of the preset `honesty`, with six walk-forward folds and a
GRU for each. Both ways end in a verdict per market, by all baselines, backtest and gates. The
alternative, a run of each market by itself, is taken over a few markets spread among the packs and
told per market. Training alone is told beside the whole.
"""

import argparse
import statistics
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _side_by_side import hardware, in_words, table

from walkforge import audit, study
from walkforge.base import Silent

_N_FOLDS = 6


@dataclass
class _Epochs(Silent):
    """Adds up the seconds of all epochs."""

    seconds: float = 0.0
    members: list[int] = field(default_factory=list)

    def epoch(self, report: Any) -> None:
        self.seconds += report["seconds"]
        self.members.append(len(report["members"]))


def main() -> None:
    """Measure both ways, print."""
    n_markets, n_alone, at_once = _arguments()
    plan = study.load("honesty", [f"folds.count={_N_FOLDS}"])
    made = audit.Recipe("garch", 1, plan.data.simulated.n_bars, plan.data.timeframe)
    packed: list[tuple[float, float]] = []
    alone: list[tuple[float, float]] = []
    every = max(1, n_markets // n_alone)
    _seconds(plan, made, [0])  # what is compiled once is nobody's time
    for first in range(0, n_markets, at_once):
        numbers = list(range(first, min(first + at_once, n_markets)))
        packed.append(_seconds(plan, made, numbers))
        alone += [_seconds(plan, made, [number]) for number in numbers if number % every == 0]
    print(f"{hardware()}; {n_markets} markets in packs of {at_once}, {len(alone)} alone\n")
    rows = []
    for place, what in enumerate(("whole, a market", "training alone, a market")):
        ours = sum(one[place] for one in packed) / n_markets
        other = statistics.mean(one[place] for one in alone)
        rows.append((what, in_words(ours), in_words(other), f"{other / ours:.2f}"))
    print(table(rows))
    whole, training = (sum(one[place] for one in packed) / 60 for place in (0, 1))
    print(f"\nall {n_markets} packed: {whole:.1f} minutes, of which training {training:.1f}")


def _seconds(plan: study.Study, made: audit.Recipe, numbers: list[int]) -> tuple[float, float]:
    """Return the seconds from bars to verdicts, and those of the epochs."""
    epochs = _Epochs()
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        make = partial(_market, made, numbers)
        audit.measure_markets(plan, make, len(numbers), Path(folder), watcher=epochs)
        return time.perf_counter() - started, epochs.seconds


def _market(made: audit.Recipe, numbers: list[int], place: int) -> Any:
    return audit.null_market(made, numbers[place])


def _arguments() -> tuple[int, int, int]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markets", type=int, default=300, help="all of them")
    parser.add_argument("--alone", type=int, default=6, help="of these, how many by themselves")
    parser.add_argument("--at-once", type=int, default=50, help="of one pack, at most 50")
    known = parser.parse_args()
    return known.markets, known.alone, known.at_once


if __name__ == "__main__":
    main()
