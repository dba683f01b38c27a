"""A study's pipeline on many series at once, in memory, with a verdict for each by itself.

    learned = study.learn_each(plan, bars)
    for name in learned.series:
        print(name, learned.judged(name)["verdict"]["fit"])

A run has one verdict over all its series. Here the networks of all still train as one pack, and
each series is then judged as if it had been a run of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from walkforge import evaluation, gates, market
from walkforge.base import Silent, StudyError
from walkforge.market import Bars, Instrument

from ._baselining import Baselining
from ._beside import Beside
from ._gpt_study import GptStudy
from ._judging import backtest_predictions
from ._learn import Learning
from ._prepare import prepare
from ._study import Study
from ._watcher import Watcher


@dataclass(frozen=True, slots=True, eq=False)
class LearnedSeries:
    """What the models and baselines of many series say of their test rows."""

    study: Study
    bars: Mapping[str, Bars]
    instruments: Mapping[str, Instrument]
    predictions: Mapping[str, pl.DataFrame]
    baselines: Mapping[str, pl.DataFrame]
    train: Mapping[str, Mapping[str, float]]
    """`log_loss` and `accuracy` on training rows, of each series."""

    @property
    def series(self) -> list[str]:
        """Return the names of the series that were tested, in order."""
        return list(self.predictions)

    def judged(self, name: str) -> dict[str, Any]:
        """Return `metrics`, `diagnostics`, `backtest` and `verdict` of one series.

        They are the plain data that a run of this series alone would write into its folder.
        """
        study, predictions = self.study, self.predictions[name]
        classes = evaluation.classes_of(predictions)
        found = {
            "metrics": evaluation.metrics(
                predictions,
                self.baselines[name],
                classes=classes,
                n_resamples=study.judge.n_resamples,
            ),
            "diagnostics": evaluation.diagnostics(
                predictions,
                classes=classes,
                train_log_loss=self.train[name]["log_loss"],
                train_accuracy=self.train[name]["accuracy"],
            ),
            "backtest": self._backtest(name),
        }
        info = {name: market.data_info(self.bars[name])}
        verdict = gates.judge(
            metrics=found["metrics"],
            diagnostics=found["diagnostics"],
            backtest=found["backtest"],
            data_info=info,
            profile=study.judge.profile,
        )
        return found | {"verdict": verdict}

    def _backtest(self, name: str) -> dict[str, Any]:
        beside = Beside({name: self.instruments[name]}, {})
        bars, predictions = {name: self.bars[name]}, self.predictions[name]
        n_trials = self.study.judge.n_trials * len(self.study.seeds)
        return backtest_predictions(
            self.study, bars, predictions, beside, n_trials=n_trials
        ).summary


def learn_each(
    study: Study, bars: Mapping[str, Bars], *, watcher: Watcher | None = None
) -> LearnedSeries:
    """Train, calibrate and predict all series of `bars` at once; nothing is written.

    Raises StudyError for a study whose one model learns from all series: none of them could be
    judged by itself.
    """
    if isinstance(study, GptStudy) or study.one_for_all:
        raise StudyError(
            f"model.name is {study.model.name}, one model for all series, so none of them can be "
            "judged by itself; name mlp, gru, cnn_lstm or bilstm"
        )
    watched = watcher or Silent()
    watched.stage("features, labels and folds")
    prepared = prepare(bars, study, note=watched.note)
    watched.stage("training")
    results = Learning(study, prepared, watched).run(None)
    watched.stage("baselines")
    beside = Baselining(study, prepared, watched).run()
    return LearnedSeries(
        study=study,
        bars={name: bars[name] for name in prepared.series},
        instruments={name: one.instrument for name, one in prepared.series.items()},
        predictions=_apart(results.predictions),
        baselines=_apart(beside.predictions),
        train=results.facts["train"]["by_series"],
    )


def _apart(table: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the rows of each series."""
    column = "series of the row"  # no table has it
    named = table.with_columns(evaluation.series_names(table).alias(column))
    groups = named.partition_by(column, as_dict=True, include_key=False, maintain_order=True)
    return {str(name): rows for (name,), rows in groups.items()}
