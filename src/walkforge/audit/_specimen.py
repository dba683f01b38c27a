"""A study's own pipeline on its own bars, small, in memory, stage by stage.

    sound = Specimen.of(study, bars, seed=0)
    sound.results.predictions

Every stage is computed when somebody asks for it, by the real rooms and whatever has been planted
in them by then. A specimen `from_stage` borrows the stages before it from the sound one.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from walkforge import backtest
from walkforge import study as rooms
from walkforge.base import Silent
from walkforge.market import Bars, noise_after
from walkforge.study import GptLearning, GptStudy, Learning, Prepared, Results, Study, Trial

from ._shrink import PIPELINE_BARS, moments_of, newest, small_study

UPSTREAM: dict[str, tuple[str, ...]] = {
    "bars": ("bars",),
    "prepare": ("bars", "prepare"),
    "learn": ("bars", "prepare", "learn"),
    "tune": ("bars", "prepare", "tune"),
    "trade": ("bars", "prepare", "learn", "trade"),
}
"""The stages, and what each of them follows from, itself included."""


class Heard(Silent):
    """Remembers what the training reported after each epoch."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []

    def epoch(self, report: dict[str, Any]) -> None:
        """Remember the report."""
        self.epochs.append(report)


@dataclass(eq=False)
class Specimen:
    """One run of the small pipeline."""

    study: Study
    """Small; see `small_study`."""
    source: Mapping[str, Bars]
    """All bars of the study, by series, as far as guards look at them."""
    bars: Mapping[str, Bars]
    """The newest of them, on which the pipeline runs."""
    seed: int = 0
    sound: "Specimen | None" = None
    stage: str = "bars"
    """The first stage that is computed anew; those before it are the sound specimen's."""
    heard: Heard = field(default_factory=Heard)
    _poisoned: dict[str, "Specimen"] = field(default_factory=dict)

    @classmethod
    def of(
        cls, study: Study, bars: Mapping[str, Bars], *, seed: int = 0, n_bars: int = PIPELINE_BARS
    ) -> "Specimen":
        """Return the specimen of a study as it stands."""
        cut = newest(bars, n_bars)
        n_moments = moments_of(cut, each_for_itself=study.folds.calendar == "own")
        return cls(small_study(study, seed=seed, n_bars=n_moments), bars, cut, seed)

    def from_stage(self, stage: str) -> "Specimen":
        """Return a specimen that computes this stage and what follows from it anew."""
        return replace(self, sound=self, stage=stage, heard=Heard(), _poisoned={})

    def with_bars(self, source: Mapping[str, Bars]) -> "Specimen":
        """Return a specimen of other bars."""
        n_bars = max(len(one) for one in self.bars.values())
        return replace(self.from_stage("bars"), source=source, bars=newest(source, n_bars))

    def poisoned(self, after: str) -> "Specimen":
        """Return the same with noise in place of all that is not complete when a slice ends.

        Of every series where its own slice ends.
        """
        if after not in self._poisoned:
            edges = self.edges(after)
            last_ms = max(edges.values())
            dirty = {n: poison(one, edges.get(n, last_ms)) for n, one in self.bars.items()}
            sound = None if self.sound is None else self.sound.poisoned(after)
            self._poisoned[after] = replace(
                self, bars=dirty, sound=sound, heard=Heard(), _poisoned={}
            )
        return self._poisoned[after]

    def edges(self, slice_name: str) -> dict[str, int]:
        """Return by series when a slice of its one fold ends, ms UTC."""
        return {one.series: getattr(one.fold, slice_name).to_ms for one in self.prepared.parts}

    def _borrows(self, stage: str) -> bool:
        return self.sound is not None and self.stage not in UPSTREAM[stage]

    @cached_property
    def prepared(self) -> Prepared:
        """Return features, outcomes, folds, scalers and label limits."""
        if self._borrows("prepare"):
            return self.sound.prepared  # type: ignore[union-attr]
        return rooms.prepare(self.bars, self.study)

    @cached_property
    def results(self) -> Results:
        """Return the trained and calibrated models and their predictions."""
        if self._borrows("learn"):
            self.heard.epochs = self.sound.heard.epochs  # type: ignore[union-attr]
            return self.sound.results  # type: ignore[union-attr]
        if isinstance(self.study, GptStudy):
            with tempfile.TemporaryDirectory() as folder:
                return GptLearning(self.study, self.prepared, self.heard).run(Path(folder))
        return Learning(self.study, self.prepared, self.heard).run(None)

    @cached_property
    def trials(self) -> list[Trial]:
        """Return what became of the trials of a small search."""
        if self._borrows("tune"):
            return self.sound.trials  # type: ignore[union-attr]
        with tempfile.TemporaryDirectory() as folder:
            out = rooms.tune(self.study, Path(folder) / "search", bars=self.bars)
            return rooms.read_trials(out)

    @cached_property
    def traded(self) -> backtest.BacktestResult:
        """Return the backtest of the predictions."""
        if self._borrows("trade"):
            return self.sound.traded  # type: ignore[union-attr]
        instruments = {name: one.instrument for name, one in self.prepared.series.items()}
        beside = rooms.Beside(instruments, {})
        return rooms.backtest_predictions(
            self.study,
            self.bars,
            self.results.predictions,
            beside,
            n_trials=self.study.judge.n_trials * len(self.study.seeds),
        )


def poison(bars: Bars, from_ms: int) -> Bars:
    """Return bars with noise in place of all that are not complete before `from_ms`, ms UTC."""
    return noise_after(bars, int((bars.closes_at < from_ms).sum()), seed=99)
