"""What costs nothing, or little, on the same folds and rows as the model, calibrated like it."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from walkforge import calibration, training
from walkforge.base import FloatArray, IntArray
from walkforge.training import BaselineRows

from ._forecasting import baseline_table
from ._network import forecast_row
from ._prediction_table import prediction_table
from ._prepare import Part, Prepared
from ._study import Study
from ._watcher import Watcher


@dataclass(frozen=True, slots=True)
class Baselining:
    """All baselines of one study."""

    study: Study
    prepared: Prepared
    watcher: Watcher

    def predictions(self) -> pl.DataFrame:
        """Return every baseline's calibrated test predictions, with a column `baseline`."""
        jobs = [(part, n) for part in self.prepared.parts for n in self.study.judge.baselines]
        found = []
        for number, (part, name) in enumerate(jobs):
            self._tell(number, len(jobs), part, name)
            found.append(self._probabilities(part, name))
        # Only now: a table is four times as large as the probabilities in it.
        return pl.concat(
            prediction_table(
                self.prepared,
                part,
                part.rows.test,
                seed=0,
                logits=None,
                probabilities=probabilities,
            ).with_columns(baseline=pl.lit(name))
            for (part, name), probabilities in zip(jobs, found, strict=True)
        )

    def forecasts(self) -> pl.DataFrame:
        """Return every baseline's forecasts of the test rows, with a column `baseline`."""
        names = self.study.judge.forecast_baselines
        jobs = [(part, name) for part in self.prepared.parts for name in names]
        row = forecast_row(self.study)
        tables = []
        for number, (part, name) in enumerate(jobs):
            self._tell(number, len(jobs), part, name)
            series, rows = self.prepared.series[part.series], self._rows(part, part.rows.test)
            tables.append(baseline_table(name, row, part, series, rows))
        return pl.concat(tables, how="diagonal")

    def _tell(self, number: int, total: int, part: Part, name: str) -> None:
        words = name.replace("_", " ")
        self.watcher.item(number, total, f"{words}, {part.series} fold {part.fold.index}")

    def _probabilities(self, part: Part, name: str) -> FloatArray:
        """Return one baseline's probabilities of the test rows."""
        asked = np.concatenate([part.rows.calibration, part.rows.test])
        scores = np.log(training.BASELINES[name](self._rows(part, asked)))
        n_calibration = len(part.rows.calibration)
        calibrator = calibration.fit_calibrator(
            self.study.judge.calibration,
            scores[:n_calibration],
            part.labels[part.rows.calibration].astype(np.int64),
        )
        return calibrator.apply(scores[n_calibration:])

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
