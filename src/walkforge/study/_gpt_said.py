"""A trained MarketGPT's forecasts to calibrated predictions of every series of its fold.

Shapes: n decisions, K numbers of a forecast row
"""

from collections.abc import Callable
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
from ._gpt_head import HeadScores, with_fitted_head
from ._gpt_paths import Paths
from ._gpt_study import GptStudy
from ._gpt_tokens import token_frame
from ._learn import Reader, fitted_reader
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
"""Forecast rows or class scores (n, K) of one series by slice."""

Asking = Callable[[str, IntArray], FloatArray]
"""A series and its rows (n,) to outputs (n, K)."""


@dataclass(frozen=True, slots=True, eq=False)
class PartLearned:
    """What one series' calibration slice taught about a member's forecasts of it."""

    part: Part
    reader: Reader
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
    forecasts: pl.DataFrame | None
    """Where paths decide."""
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
        if not self.study.model.forecasts:
            self.watcher.doing(f"fitting the direction head of fold {market.fold.index}")
            parts = [part for part, _ in asked]
            model, trained = with_fitted_head(self.study, market, model, trained, parts)
        drawn = self._drawn(self._asking(market, model, seed), asked, folder)
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
            forecasts=_forecasts(learned, drawn, seed),
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

    def _asking(self, market: TokenMarket, model: MarketGpt, seed: int) -> Asking:
        """Return what tells a model's outputs of decisions."""
        if not self.study.model.forecasts:
            head = HeadScores(self.study, market, model)
            return head.scores
        paths = Paths(self.study, market, model)
        series = self.prepared.series
        return lambda name, rows: paths.forecast(name, series[name], rows, seed=seed)

    def _drawn(
        self, asking: Asking, asked: list[tuple[Part, dict[str, IntArray]]], folder: Path
    ) -> list[Outputs]:
        """Return the outputs of every part, those of an earlier process where it drew them."""
        from safetensors.numpy import load_file, save_file

        if (folder / _OUTPUTS).exists():
            drawn = load_file(folder / _OUTPUTS)
        else:
            drawn = self._draw(asking, asked)
            with atomic_path(folder / _OUTPUTS) as temporary:
                save_file(drawn, temporary)
        return [{name: drawn[_key(part, name)] for name in _PIECES} for part, _ in asked]

    def _draw(
        self, asking: Asking, asked: list[tuple[Part, dict[str, IntArray]]]
    ) -> dict[str, FloatArray]:
        drawn = {}
        what = "paths" if self.study.model.forecasts else "decisions"
        for number, (part, rows) in enumerate(asked):
            words = f"{what} of {part.series}, fold {part.fold.index}"
            self.watcher.item(number, len(asked), words)
            for name in _PIECES:
                drawn[_key(part, name)] = asking(part.series, rows[name])
        return drawn

    def _calibrated(self, part: Part, outputs: FloatArray) -> PartLearned:
        """Return what the outputs (n, K) on a part's calibration slice teach."""
        reader = fitted_reader(self.study, self.prepared, part, outputs)
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


def _forecasts(learned: list[PartLearned], drawn: list[Outputs], seed: int) -> pl.DataFrame | None:
    """Return the forecasts of the test slice of all series, None where no paths were drawn."""
    tables = [
        one.reader.table(outputs["test"], one.part, seed)
        for one, outputs in zip(learned, drawn, strict=True)
        if isinstance(one.reader, ForecastReader)
    ]
    return pl.concat(tables) if tables else None


def _key(part: Part, piece: str) -> str:
    return f"{part.series}.{piece}"


def _measured(one: PartLearned, rows: IntArray, outputs: FloatArray) -> tuple[float, float]:
    """Return log loss (nats) and accuracy of a series' decisions at rows (n,)."""
    probabilities = one.calibrator.apply(one.reader.scores(outputs, rows))
    labels = one.part.labels[rows]
    hit = probabilities[np.arange(len(labels)), labels]
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    return float(-np.log(np.clip(hit, 1e-12, None)).mean()), accuracy
