"""A trained MarketGPT's forecasts to calibrated predictions of every series of its fold.

Shapes: n decisions, K numbers of a forecast row
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from walkforge import calibration, models, training
from walkforge.base import FloatArray, IntArray, Precision, atomic_path
from walkforge.calibration import Calibrator
from walkforge.models import MarketGpt
from walkforge.training import TokenLosses, TrainedGpt

from ._forecasting import ForecastReader
from ._gpt_paths import Paths
from ._gpt_study import GptStudy
from ._gpt_tokens import token_frame
from ._network import forecast_row
from ._prediction_table import prediction_table
from ._prepare import Part, Prepared
from ._token_market import TokenMarket
from ._watcher import Watcher

_EXACT = Precision("float32", autocast=False, tf32=False)
_OUTPUTS = "forecasts.safetensors"
# Of one member; the gap between training and test needs no more decisions in training.
_TRAIN_ROWS_MEASURED = 500
_PIECES = ("calibration", "test", "train")

Outputs = dict[str, FloatArray]
"""Forecast rows (n, K) of one series by slice."""


@dataclass(frozen=True, slots=True, eq=False)
class PartLearned:
    """What one series' calibration slice taught about a member's forecasts of it."""

    part: Part
    reader: ForecastReader
    calibrator: Calibrator


@dataclass(frozen=True, slots=True, eq=False)
class GptMember:
    """One trained MarketGPT: of one fold and seed, for all series."""

    market: TokenMarket
    seed: int
    shape: models.GptShape
    trained: TrainedGpt
    losses: TokenLosses
    """Of the test slice's tokens."""
    best_constant: float
    """What share of these the best guess that never changes gets right."""
    parts: list[PartLearned]


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """One member and its tables."""

    member: GptMember
    predictions: pl.DataFrame
    calibration_predictions: pl.DataFrame
    forecasts: pl.DataFrame
    tokens: pl.DataFrame
    gap: tuple[float, float]
    """Log loss (nats) and accuracy of decisions in training."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Lets trained members speak; what one has drawn is kept in its folder."""

    study: GptStudy
    prepared: Prepared
    watcher: Watcher

    def said(
        self,
        market: TokenMarket,
        model: MarketGpt,
        trained: TrainedGpt,
        beside: dict[str, np.ndarray],
        *,
        seed: int,
        folder: Path,
    ) -> Said:
        """Return what a member says of the tokens and decisions of its fold.

        `beside` are the columns of the tokens' baselines.
        """
        losses = training.token_losses(model, market.table, "test", precision=_EXACT)
        asked = self._asked(market.fold.index)
        drawn = self._drawn(Paths(self.study, market, model), asked, seed, folder)
        learned = [
            self._calibrated(part, outputs["calibration"])
            for (part, _), outputs in zip(asked, drawn, strict=True)
        ]
        constant = float(beside["constant_hit"].mean())
        gaps = [
            _measured(one, rows["train"], outputs["train"])
            for one, (_, rows), outputs in zip(learned, asked, drawn, strict=True)
        ]
        log_loss, accuracy = np.mean(gaps, axis=0)
        return Said(
            member=GptMember(market, seed, model.shape, trained, losses, constant, learned),
            predictions=self._tables(learned, asked, drawn, "test", seed),
            calibration_predictions=self._tables(learned, asked, drawn, "calibration", seed),
            forecasts=pl.concat(
                [
                    one.reader.table(outputs["test"], one.part, seed)
                    for one, outputs in zip(learned, drawn, strict=True)
                ]
            ),
            tokens=token_frame(self.prepared, market, losses, beside, seed=seed),
            gap=(float(log_loss), float(accuracy)),
        )

    def _asked(self, fold: int) -> list[tuple[Part, dict[str, IntArray]]]:
        """Return the parts of a fold, each with the rows by slice that paths are drawn for."""
        parts = [part for part in self.prepared.parts if part.fold.index == fold]
        most = max(1, _TRAIN_ROWS_MEASURED // len(parts))
        return [
            (
                part,
                {
                    "calibration": part.rows.calibration,
                    "test": part.rows.test,
                    "train": part.rows.train[:: -(-len(part.rows.train) // most)],
                },
            )
            for part in parts
        ]

    def _drawn(
        self,
        paths: Paths,
        asked: list[tuple[Part, dict[str, IntArray]]],
        seed: int,
        folder: Path,
    ) -> list[Outputs]:
        """Return the outputs of every part, those of an earlier process where it drew them."""
        from safetensors.numpy import load_file, save_file

        if (folder / _OUTPUTS).exists():
            drawn = load_file(folder / _OUTPUTS)
        else:
            drawn = self._draw(paths, asked, seed)
            with atomic_path(folder / _OUTPUTS) as temporary:
                save_file(drawn, temporary)
        return [{name: drawn[_key(part, name)] for name in _PIECES} for part, _ in asked]

    def _draw(
        self, paths: Paths, asked: list[tuple[Part, dict[str, IntArray]]], seed: int
    ) -> dict[str, FloatArray]:
        drawn = {}
        for number, (part, rows) in enumerate(asked):
            words = f"paths of {part.series}, fold {part.fold.index}"
            self.watcher.item(number, len(asked), words)
            series = self.prepared.series[part.series]
            for name in _PIECES:
                drawn[_key(part, name)] = paths.forecast(
                    part.series, series, rows[name], seed=seed, piece=name
                )
        return drawn

    def _calibrated(self, part: Part, outputs: FloatArray) -> PartLearned:
        """Return what the outputs (n, K) on a part's calibration slice teach."""
        reader = ForecastReader.fit(
            forecast_row(self.study),
            outputs,
            part=part,
            series=self.prepared.series[part.series],
            rule=self.study.labels,
            calibrated=self.study.judge.calibration != "none",
        )
        calibrator = calibration.fit_calibrator(
            self.study.judge.calibration,
            reader.scores(outputs, part.rows.calibration),
            part.labels[part.rows.calibration].astype(np.int64),
        )
        return PartLearned(part, reader, calibrator)

    def _tables(
        self,
        learned: list[PartLearned],
        asked: list[tuple[Part, dict[str, IntArray]]],
        drawn: list[Outputs],
        piece: str,
        seed: int,
    ) -> pl.DataFrame:
        """Return the predictions of one slice of all series."""
        tables = []
        for one, (part, rows), outputs in zip(learned, asked, drawn, strict=True):
            scores = one.reader.scores(outputs[piece], rows[piece])
            tables.append(
                prediction_table(
                    self.prepared,
                    part,
                    rows[piece],
                    seed=seed,
                    logits=scores,
                    probabilities=one.calibrator.apply(scores),
                )
            )
        return pl.concat(tables)


def _key(part: Part, piece: str) -> str:
    return f"{part.series}.{piece}"


def _measured(one: PartLearned, rows: IntArray, outputs: FloatArray) -> tuple[float, float]:
    """Return log loss (nats) and accuracy of a series' decisions at rows (n,)."""
    probabilities = one.calibrator.apply(one.reader.scores(outputs, rows))
    labels = one.part.labels[rows]
    hit = probabilities[np.arange(len(labels)), labels]
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    return float(-np.log(np.clip(hit, 1e-12, None)).mean()), accuracy
