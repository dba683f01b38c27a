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


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """One trained member with its calibrator."""

    part: Part
    trained: TrainedMember
    calibrator: Calibrator


@dataclass(frozen=True, slots=True)
class Learning:
    """Trains and predicts for one study on one device."""

    study: Study
    prepared: Prepared
    watcher: Watcher

    def run(self, checkpoints: Path | None) -> tuple[list[Learned], pl.DataFrame, dict[str, Any]]:
        """Return the calibrated members, the test predictions, and facts for `run.json`."""
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
            n_classes=len(self.prepared.classes),
            clip=CLIP,
            precision=precision,
            watcher=self.watcher,
            compiled=self.study.device.compile,
            checkpoints=checkpoints,
        )
        _refuse_diverged(trained)
        learned, predictions, gap = self._calibrate_and_predict(
            [part for part, _ in members], trained, table_NF
        )
        facts = {
            "device": str(device),
            "device_reason": device_reason,
            "precision": precision.name,
            "precision_reason": precision_reason,
            "n_members": len(members),
            "n_parameters": models.Layout.of(self._architecture()).n_parameters,
            "train": gap,
        }
        return learned, predictions, facts

    def _architecture(self) -> Architecture:
        return models.build_architecture(
            self.study.model.name,
            n_features=len(self.prepared.columns),
            window_bars=self.study.features.window_bars,
            n_classes=len(self.prepared.classes),
            **self.study.model.options(),
        )

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
    ) -> tuple[list[Learned], pl.DataFrame, dict[str, float]]:
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

        def logits_at(rows: list[IntArray]) -> list[FloatArray]:
            placed = [own + first[part.series] for part, own in zip(parts, rows, strict=True)]
            return models.predict_logits(forward, state, placed)

        on_calibration = logits_at([part.rows.calibration for part in parts])
        on_test = logits_at([part.rows.test for part in parts])
        sampled = [_thinned(part.rows.train, _MOST_TRAIN_ROWS_MEASURED) for part in parts]
        on_train = logits_at(sampled)
        learned, tables, gaps = [], [], []
        for m, (part, one) in enumerate(zip(parts, trained, strict=True)):
            calibrator = calibration.fit_calibrator(
                self.study.judge.calibration,
                on_calibration[m],
                part.labels[part.rows.calibration].astype(np.int64),
            )
            learned.append(Learned(part, one, calibrator))
            probabilities = calibrator.apply(on_test[m])
            tables.append(self._table(part, one.member.seed, on_test[m], probabilities))
            gaps.append(_scores(calibrator.apply(on_train[m]), part.labels[sampled[m]]))
        log_loss, accuracy = np.mean(gaps, axis=0)
        gap = {"log_loss": float(log_loss), "accuracy": float(accuracy)}
        return learned, pl.concat(tables), gap

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
            "model": {"name": self.study.model.name, "options": self.study.model.options()},
            "features": list(self.prepared.columns),
            "feature_set": self.study.features.set,
            "window_bars": self.study.features.window_bars,
            "scaler": part.scaler.as_dict(),
            "calibrator": one.calibrator.as_dict(),
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
