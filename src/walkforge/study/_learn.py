"""Prepared data to calibrated out-of-sample predictions: the networks, and the baselines beside."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from walkforge import __version__, calibration, models, training
from walkforge.base import (
    FloatArray,
    IntArray,
    Precision,
    TrainingError,
    choose_device,
    choose_precision,
    utc_text,
)
from walkforge.calibration import Calibrator
from walkforge.features import CLIP
from walkforge.models import Architecture
from walkforge.training import BaselineRows, Member, TrainedMember

from ._forecasting import ForecastReader, baseline_table
from ._prepare import Part, Prepared
from ._study import Study

_EXACT = Precision("float32", autocast=False, tf32=False)

# The gap between training and test needs no more training rows than this per member.
_MOST_TRAIN_ROWS_MEASURED = 5_000


class Watcher(training.Watcher, Protocol):
    """Whoever shows the progress of a run."""

    def stage(self, name: str) -> None:
        """A stage begins."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line happened: a choice and its reason, a count, a warning."""
        ...

    def item(self, done: int, total: int, what: str) -> None:
        """One of the stage's `total` pieces of work is about to be done after `done` others."""
        ...


class Reader(Protocol):
    """What makes scores of classes out of a member's outputs."""

    def scores(self, outputs: FloatArray, rows: IntArray) -> FloatArray:
        """Return scores (n, C), not yet calibrated, from outputs (n, K) at the series' rows."""
        ...


class ScoresReader:
    """Reads a model of classes: its outputs are the scores."""

    def scores(self, outputs: FloatArray, rows: IntArray) -> FloatArray:
        """Return the outputs."""
        return outputs


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """One trained member with its calibrator."""

    part: Part
    trained: TrainedMember
    reader: Reader
    calibrator: Calibrator


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What learning leaves."""

    members: list[Learned]
    predictions: pl.DataFrame
    forecasts: pl.DataFrame | None
    """Of a forecaster."""
    facts: dict[str, Any]
    """For `run.json`."""


@dataclass(frozen=True, slots=True)
class Learning:
    """Trains and predicts for one study on one device."""

    study: Study
    prepared: Prepared
    watcher: Watcher

    def run(self, checkpoints: Path | None) -> Results:
        """Train all members, calibrate them, and predict their test rows."""
        import torch

        device, device_reason = choose_device(self.study.device.device)
        precision, precision_reason = choose_precision(self.study.device.precision, device)
        self.watcher.note(f"device {device}: {device_reason}")
        self.watcher.note(f"precision {precision.name}: {precision_reason}")
        table_NF = torch.from_numpy(self.prepared.table).to(device)
        members = self._members()
        trained = training.train_pack(
            self._architecture(),
            table_NF,
            [member for _, member in members],
            self.study.training,
            window_bars=self.study.features.window_bars,
            clip=CLIP,
            precision=precision,
            watcher=self.watcher,
            compiled=self.study.device.compile,
            checkpoints=checkpoints,
            **self._objective(device),
        )
        _refuse_diverged(trained)
        facts = {
            "device": str(device),
            "device_reason": device_reason,
            "precision": precision.name,
            "precision_reason": precision_reason,
            "n_members": len(members),
            "n_parameters": models.Layout.of(self._architecture()).n_parameters,
        }
        results = self._calibrate_and_predict([part for part, _ in members], trained, table_NF)
        return replace(results, facts=facts | results.facts)

    def _objective(self, device: Any) -> dict[str, Any]:
        """Return what `train_pack` must know of what is learned."""
        import torch

        if self.prepared.targets is None:
            return {"n_classes": len(self.prepared.classes)}
        return {"targets_NT": torch.from_numpy(self.prepared.targets).to(device)}

    def _architecture(self) -> Architecture:
        return models.build_architecture(
            self.study.model.name,
            n_features=len(self.prepared.columns),
            window_bars=self.study.features.window_bars,
            **self._outputs(),
            **self.study.model.options(),
        )

    def _outputs(self) -> dict[str, Any]:
        """Return what the architecture must know of its outputs."""
        if self.study.model.forecasts:
            return {"horizon_bars": self.study.labels.horizon_bars}
        return {"n_classes": len(self.prepared.classes)}

    @property
    def _row(self) -> models.ForecastRow:
        """Return the order of a forecaster's outputs."""
        return self._architecture().row  # type: ignore[attr-defined]

    def _members(self) -> list[tuple[Part, Member]]:
        return [(part, one) for part in self.prepared.parts for one in self._members_of(part)]

    def _members_of(self, part: Part) -> list[Member]:
        """Return a member per seed; they share one copy of rows and classes."""
        first_row = self.prepared.first_row[part.series]
        first = Member(
            symbol=part.series,
            fold=part.fold.index,
            seed=self.study.seeds[0],
            train_rows=part.rows.train + first_row,
            train_labels=part.labels[part.rows.train],
            validation_rows=part.rows.validation + first_row,
            validation_labels=part.labels[part.rows.validation],
            center=part.scaler.center_,
            scale=part.scaler.scale_,
        )
        return [replace(first, seed=seed) for seed in self.study.seeds]

    def _calibrate_and_predict(
        self,
        parts: Sequence[Part],
        trained: Sequence[TrainedMember],
        table_NF: Any,
    ) -> Results:
        forward = models.PackedForward.build(
            self._architecture(),
            table_NF,
            window_bars=self.study.features.window_bars,
            centers=[part.scaler.center_ for part in parts],
            scales=[part.scaler.scale_ for part in parts],
            clip=CLIP,
            # Exact whatever the training's precision: a bundle predicts so, one row or many.
            precision=_EXACT,
        )
        first = self.prepared.first_row
        states = [one.state for one in trained]
        state = models.stack_states(self._architecture(), states, table_NF.device)

        def outputs_at(rows: list[IntArray]) -> list[FloatArray]:
            placed = [own + first[part.series] for part, own in zip(parts, rows, strict=True)]
            return models.predict_outputs(forward, state, placed)

        on_calibration = outputs_at([part.rows.calibration for part in parts])
        on_test = outputs_at([part.rows.test for part in parts])
        sampled = [_thinned(part.rows.train, _MOST_TRAIN_ROWS_MEASURED) for part in parts]
        on_train = outputs_at(sampled)
        learned, tables, forecasts, gaps = [], [], [], []
        for m, (part, one) in enumerate(zip(parts, trained, strict=True)):
            found = self._calibrated(part, one, on_calibration[m])
            scores = found.reader.scores(on_test[m], part.rows.test)
            tables.append(
                self._table(part, one.member.seed, scores, found.calibrator.apply(scores))
            )
            if isinstance(found.reader, ForecastReader):
                forecasts.append(found.reader.table(on_test[m], part, one.member.seed))
            scores = found.reader.scores(on_train[m], sampled[m])
            gaps.append(_scores(found.calibrator.apply(scores), part.labels[sampled[m]]))
            learned.append(found)
        log_loss, accuracy = np.mean(gaps, axis=0)
        facts = {"train": {"log_loss": float(log_loss), "accuracy": float(accuracy)}}
        return Results(
            learned, pl.concat(tables), pl.concat(forecasts) if forecasts else None, facts
        )

    def _calibrated(self, part: Part, one: TrainedMember, outputs: FloatArray) -> Learned:
        """Return a member with what its outputs (n, K) on the calibration slice teach."""
        reader = self._reader(part, outputs)
        calibrator = calibration.fit_calibrator(
            self.study.judge.calibration,
            reader.scores(outputs, part.rows.calibration),
            part.labels[part.rows.calibration].astype(np.int64),
        )
        return Learned(part, one, reader, calibrator)

    def _reader(self, part: Part, outputs: FloatArray) -> Reader:
        if not self.study.model.forecasts:
            return ScoresReader()
        return ForecastReader.fit(
            self._row,
            outputs,
            part=part,
            series=self.prepared.series[part.series],
            rule=self.study.labels,
            calibrated=self.study.judge.calibration != "none",
        )

    def _table(
        self, part: Part, seed: int, logits: FloatArray | None, probabilities: FloatArray
    ) -> pl.DataFrame:
        """Return the rows of `predictions.parquet` for one member's test slice."""
        data, rows = self.prepared.series[part.series], part.rows.test
        table = pl.DataFrame(
            {
                "timestamp": _moments(data.bars.timestamp[rows]),
                "symbol": [data.bars.symbol] * len(rows),
                "timeframe": [data.bars.timeframe] * len(rows),
                "fold": pl.Series([part.fold.index] * len(rows), dtype=pl.Int32),
                "seed": pl.Series([seed] * len(rows), dtype=pl.Int32),
                "label": pl.Series(part.labels[rows], dtype=pl.Int8),
                "resolved_at": _moments(data.outcomes.resolved_at[rows]),
            }
        )
        for kind, values in (("logit", logits), ("p", probabilities)):
            if values is not None:
                columns = zip(self.prepared.classes, values.T, strict=True)
                table = table.with_columns(
                    [pl.Series(f"{kind}_{name}", column) for name, column in columns]
                )
        return table

    def baselines(self) -> pl.DataFrame:
        """Return every baseline's calibrated test predictions, with a column `baseline`."""
        names = self.study.judge.baselines
        jobs = [(part, name) for part in self.prepared.parts for name in names]
        found = []
        for number, (part, name) in enumerate(jobs):
            self.watcher.item(number, len(jobs), f"{name}, {part.series} fold {part.fold.index}")
            found.append(self._baseline(part, name))
        # Only now: a table is four times as large as the probabilities in it.
        return pl.concat(
            self._table(part, 0, None, probabilities).with_columns(baseline=pl.lit(name))
            for (part, name), probabilities in zip(jobs, found, strict=True)
        )

    def baseline_forecasts(self) -> pl.DataFrame:
        """Return every baseline's forecasts of the test rows, with a column `baseline`."""
        names = self.study.judge.forecast_baselines
        jobs = [(part, name) for part in self.prepared.parts for name in names]
        tables = []
        for number, (part, name) in enumerate(jobs):
            self.watcher.item(number, len(jobs), f"{name}, {part.series} fold {part.fold.index}")
            series = self.prepared.series[part.series]
            rows = self._baseline_rows(part, part.rows.test)
            tables.append(baseline_table(name, self._row, part, series, rows))
        return pl.concat(tables, how="diagonal")

    def _baseline(self, part: Part, name: str) -> FloatArray:
        """Return one baseline's probabilities of the test rows, calibrated like the model's."""
        asked = np.concatenate([part.rows.calibration, part.rows.test])
        scores = np.log(training.BASELINES[name](self._baseline_rows(part, asked)))
        n_calibration = len(part.rows.calibration)
        calibrator = calibration.fit_calibrator(
            self.study.judge.calibration,
            scores[:n_calibration],
            part.labels[part.rows.calibration].astype(np.int64),
        )
        return calibrator.apply(scores[n_calibration:])

    def _baseline_rows(self, part: Part, asked: IntArray) -> BaselineRows:
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

    def describe(self, one: Learned) -> dict[str, Any]:
        """Return what `bundle.json` holds for one member."""
        part, data = one.part, self.prepared.series[one.part.series]
        return {
            "walkforge": __version__,
            "study": self.study.name,
            "model": {
                "name": self.study.model.name,
                "options": self._outputs() | self.study.model.options(),
            },
            "features": list(self.prepared.columns),
            "feature_set": self.study.features.set,
            "window_bars": self.study.features.window_bars,
            "scaler": part.scaler.as_dict(),
            "calibrator": one.calibrator.as_dict(),
            "forecast": self._describe_forecast(one.reader),
            "label": {"kind": self.study.labels.kind, "limits": part.limits.as_dict()},
            "classes": list(self.prepared.classes),
            "symbols": [data.bars.symbol],
            "timeframe": data.bars.timeframe,
            "calendar": data.bars.calendar,
            "provenance": data.bars.provenance,
            "fold": part.fold.index,
            "seed": one.trained.member.seed,
            "best_epoch": one.trained.best_epoch,
            "best_validation_loss": one.trained.best_validation_loss,
            "trained": [
                utc_text(int(data.bars.timestamp[part.rows.train[0]])),
                utc_text(int(data.bars.timestamp[part.rows.train[-1]])),
            ],
        }

    def _describe_forecast(self, reader: Reader) -> dict[str, Any] | None:
        """Return what makes prices and classes of a forecaster's outputs."""
        if not isinstance(reader, ForecastReader):
            return None
        volatility_bars = self.study.labels.volatility_bars
        return {"volatility_bars": volatility_bars, "classes": reader.classes.as_dict()}


def _refuse_diverged(trained: Sequence[TrainedMember]) -> None:
    diverged = [one.member.name for one in trained if one.best_epoch == 0]
    if diverged:
        raise TrainingError(
            f"{len(diverged)} of {len(trained)} members never had a finite validation loss "
            f"({', '.join(diverged[:3])}); try a smaller training.learning_rate"
        )


def _moments(times_ms: IntArray) -> pl.Series:
    return pl.Series(times_ms).cast(pl.Datetime("ms", "UTC"))


def _thinned(rows: IntArray, most: int) -> IntArray:
    """Return at most `most` rows, evenly spaced."""
    return rows[:: -(-len(rows) // most)]


def _scores(probabilities: FloatArray, labels: Any) -> tuple[float, float]:
    """Return log loss (nats) and accuracy of probabilities (n, C) against classes (n,)."""
    hit = probabilities[np.arange(len(labels)), labels]
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    return float(-np.log(np.clip(hit, 1e-12, None)).mean()), accuracy
