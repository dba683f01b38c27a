"""What costs nothing, or little, on the same folds and rows as the model, calibrated like it."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from walkforge import calibration, models, training
from walkforge.base import FloatArray, IntArray
from walkforge.calibration import Calibrator
from walkforge.training import BaselineRows

from ._forecasting import baseline_table
from ._network import forecast_row
from ._prediction_table import prediction_table
from ._prepare import Part, Prepared
from ._study import Study
from ._watcher import Watcher


@dataclass(frozen=True, slots=True, eq=False)
class LearnedTrees:
    """The boosted trees of one part, in LightGBM's own text, with their calibrator."""

    part: Part
    text: str
    calibrator: Calibrator


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """What the baselines of classes leave; the tables have a column `baseline`."""

    predictions: pl.DataFrame
    """Calibrated, of the test rows."""
    calibration_predictions: pl.DataFrame
    """Likewise of the rows that the calibrators learned from."""
    trees: list[LearnedTrees]


@dataclass(frozen=True, slots=True)
class Baselining:
    """All baselines of one study."""

    study: Study
    prepared: Prepared
    watcher: Watcher

    def run(self) -> Beside:
        """Return what every baseline of classes learned and says."""
        jobs = [(part, n) for part in self.prepared.parts for n in self.study.judge.baselines]
        said: list[tuple[Part, str, FloatArray]] = []
        trees: list[LearnedTrees] = []
        for number, (part, name) in enumerate(jobs):
            self._tell(number, len(jobs), part, name)
            probabilities, calibrator, text = self._learned(part, name)
            said.append((part, name, probabilities))
            trees += [LearnedTrees(part, text, calibrator)] if text else []
        # Only now: a table is four times as large as the probabilities in it.
        return Beside(
            predictions=self._tables(said, after_calibration=True),
            calibration_predictions=self._tables(said, after_calibration=False),
            trees=trees,
        )

    def _tables(
        self, said: list[tuple[Part, str, FloatArray]], *, after_calibration: bool
    ) -> pl.DataFrame:
        """Return the test rows or the calibration rows of all baselines, in one table."""
        tables = []
        for part, name, probabilities in said:
            edge = len(part.rows.calibration)
            rows = part.rows.test if after_calibration else part.rows.calibration
            own = probabilities[edge:] if after_calibration else probabilities[:edge]
            table = prediction_table(
                self.prepared, part, rows, seed=0, logits=None, probabilities=own
            )
            tables.append(table.with_columns(baseline=pl.lit(name)))
        return pl.concat(tables)

    def forecasts(self) -> pl.DataFrame:
        """Return every baseline's forecasts of the test rows, with a column `baseline`."""
        names = self.study.judge.forecast_baselines
        jobs = [(part, name) for part in self.prepared.parts for name in names]
        row = forecast_row(self.study)
        tables = []
        for number, (part, name) in enumerate(jobs):
            self._tell(number, len(jobs), part, name)
            asked = np.concatenate([part.rows.calibration, part.rows.test])
            tables.append(
                baseline_table(
                    name,
                    row,
                    part,
                    self.prepared.series[part.series],
                    class_rows=self._rows(part, asked),
                    calibrated=self.study.judge.calibration != "none",
                )
            )
        return pl.concat(tables, how="diagonal")

    def _tell(self, number: int, total: int, part: Part, name: str) -> None:
        words = name.replace("_", " ")
        self.watcher.item(number, total, f"{words}, {part.series} fold {part.fold.index}")

    def _learned(self, part: Part, name: str) -> tuple[FloatArray, Calibrator, str]:
        """Return one baseline's probabilities of the calibration rows and, behind, the test rows.

        With them its calibrator, and the text of trees that can be kept.
        """
        rows = self._rows(part, np.concatenate([part.rows.calibration, part.rows.test]))
        text = ""
        if name == "lightgbm":
            trees = training.class_trees(rows)
            scores = np.log(models.tree_probabilities(trees, rows.inputs(rows.asked)))
            text = models.trees_as_text(trees)
        else:
            scores = np.log(training.BASELINES[name](rows))
        calibrator = calibration.fit_calibrator(
            self.study.judge.calibration,
            scores[: len(part.rows.calibration)],
            part.labels[part.rows.calibration].astype(np.int64),
        )
        return calibrator.apply(scores), calibrator, text

    def _rows(self, part: Part, asked: IntArray) -> BaselineRows:
        data = self.prepared.series[part.series]
        return BaselineRows(
            table=data.values,
            labels=part.labels,
            decided_at=data.outcomes.decided_at,
            resolved_at=data.outcomes.resolved_at,
            train=part.rows.train,
            validation=part.rows.validation,
            asked=asked,
            scale=part.scaler.transform,
            window_bars=self.study.features.window_bars,
            n_classes=len(self.prepared.classes),
        )
