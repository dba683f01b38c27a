"""Prepared data to trained and calibrated members, and their out-of-sample predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from walkforge import calibration, models, training
from walkforge.base import (
    FloatArray,
    IntArray,
    Precision,
    TrainingError,
    choose_device,
    choose_precision,
)
from walkforge.calibration import Calibrator
from walkforge.features import CLIP
from walkforge.models import Architecture
from walkforge.training import Member, TrainedMember

from ._forecasting import ForecastReader
from ._network import forecast_row, network_of
from ._prediction_table import prediction_table
from ._prepare import Part, Prepared
from ._study import Study
from ._watcher import Watcher

_EXACT = Precision("float32", autocast=False, tf32=False)

# The gap between training and test needs no more training rows than this per member, and of many
# members together.
_MOST_TRAIN_ROWS_MEASURED = 5_000
_TRAIN_ROWS_MEASURED = 40_000


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
    """Of the test rows."""
    calibration_predictions: pl.DataFrame
    """Of the rows that the calibrators learned from, which also weigh the models of an ensemble."""
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
        members = self.members()
        trained = training.train_pack(
            self.architecture,
            table_NF,
            [member for _, member in members],
            self.study.training,
            window_bars=self.study.features.window_bars,
            clip=CLIP,
            precision=precision,
            watcher=self.watcher,
            compiled=self.study.device.compile,
            checkpoints=checkpoints,
            **self.objective(device),
        )
        _refuse_diverged(trained)
        facts = {
            "device": str(device),
            "device_reason": device_reason,
            "precision": precision.name,
            "precision_reason": precision_reason,
            "n_members": len(members),
            "n_parameters": models.Layout.of(self.architecture).n_parameters,
        }
        results = self._calibrate_and_predict([part for part, _ in members], trained, table_NF)
        return replace(results, facts=facts | results.facts)

    @property
    def architecture(self) -> Architecture:
        """Return the network that all members share."""
        return network_of(
            self.study,
            n_features=len(self.prepared.columns),
            n_classes=len(self.prepared.classes),
        )

    def objective(self, device: Any) -> dict[str, Any]:
        """Return what `train_pack` must know of what is learned."""
        import torch

        if self.prepared.targets is None:
            return {"n_classes": len(self.prepared.classes)}
        return {"targets_NT": torch.from_numpy(self.prepared.targets).to(device)}

    def members(self) -> list[tuple[Part, Member]]:
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
            self.architecture,
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
        state = models.stack_states(self.architecture, states, table_NF.device)

        def outputs_at(rows: list[IntArray]) -> list[FloatArray]:
            placed = [own + first[part.series] for part, own in zip(parts, rows, strict=True)]
            return models.predict_outputs(forward, state, placed)

        self.watcher.doing("predicting")
        on_calibration = outputs_at([part.rows.calibration for part in parts])
        on_test = outputs_at([part.rows.test for part in parts])
        most = min(_MOST_TRAIN_ROWS_MEASURED, max(1, _TRAIN_ROWS_MEASURED // len(parts)))
        sampled = [_thinned(part.rows.train, most) for part in parts]
        on_train = outputs_at(sampled)
        learned, tables, earlier, forecasts = [], [], [], []
        gaps: dict[str, list[tuple[float, float]]] = {}
        for m, (part, one) in enumerate(zip(parts, trained, strict=True)):
            found = self._calibrated(part, one, on_calibration[m])
            tables.append(self._table(found, on_test[m], part.rows.test))
            earlier.append(self._table(found, on_calibration[m], part.rows.calibration))
            if isinstance(found.reader, ForecastReader):
                forecasts.append(found.reader.table(on_test[m], part, one.member.seed))
            scores = found.reader.scores(on_train[m], sampled[m])
            on_known = _scores(found.calibrator.apply(scores), part.labels[sampled[m]])
            gaps.setdefault(part.series, []).append(on_known)
            learned.append(found)
        return Results(
            members=learned,
            predictions=pl.concat(tables),
            calibration_predictions=pl.concat(earlier),
            forecasts=pl.concat(forecasts) if forecasts else None,
            facts={"train": _means(gaps)},
        )

    def _table(self, found: Learned, outputs: FloatArray, rows: IntArray) -> pl.DataFrame:
        """Return the predictions of a member's outputs (n, K) at rows (n,)."""
        scores = found.reader.scores(outputs, rows)
        return prediction_table(
            self.prepared,
            found.part,
            rows,
            seed=found.trained.member.seed,
            logits=scores,
            probabilities=found.calibrator.apply(scores),
        )

    def _calibrated(self, part: Part, one: TrainedMember, outputs: FloatArray) -> Learned:
        """Return a member with what its outputs (n, K) on the calibration slice teach."""
        reader = fitted_reader(self.study, self.prepared, part, outputs)
        calibrator = calibration.fit_calibrator(
            self.study.judge.calibration,
            reader.scores(outputs, part.rows.calibration),
            part.labels[part.rows.calibration].astype(np.int64),
        )
        return Learned(part, one, reader, calibrator)


def fitted_reader(study: Study, prepared: Prepared, part: Part, outputs: FloatArray) -> Reader:
    """Return what reads a member's outputs, taught by those (n, K) of its calibration slice."""
    if not study.model.forecasts:
        return ScoresReader()
    return ForecastReader.fit(
        forecast_row(study),
        outputs,
        part=part,
        series=prepared.series[part.series],
        rule=study.labels,
        calibrated=study.judge.calibration != "none",
    )


def _refuse_diverged(trained: Sequence[TrainedMember]) -> None:
    diverged = [one.member.name for one in trained if one.best_epoch == 0]
    if diverged:
        raise TrainingError(
            f"{len(diverged)} of {len(trained)} members never had a finite validation loss "
            f"({', '.join(diverged[:3])}); try a smaller training.learning_rate"
        )


def _thinned(rows: IntArray, most: int) -> IntArray:
    """Return at most `most` rows, evenly spaced."""
    return rows[:: -(-len(rows) // most)]


def _scores(probabilities: FloatArray, labels: Any) -> tuple[float, float]:
    """Return log loss (nats) and accuracy of probabilities (n, C) against classes (n,)."""
    hit = probabilities[np.arange(len(labels)), labels]
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    return float(-np.log(np.clip(hit, 1e-12, None)).mean()), accuracy


def _means(gaps: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
    """Return mean log loss and accuracy of all members, and of each series' own."""

    def mean(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
        log_loss, accuracy = np.mean(pairs, axis=0)
        return {"log_loss": float(log_loss), "accuracy": float(accuracy)}

    every = [pair for pairs in gaps.values() for pair in pairs]
    return mean(every) | {"by_series": {name: mean(pairs) for name, pairs in gaps.items()}}
