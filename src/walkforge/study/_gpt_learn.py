"""Prepared data to MarketGPTs, one per fold and seed for all series, and their predictions."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from walkforge import models, training
from walkforge.base import (
    TrainingError,
    choose_device,
    choose_precision,
    derive_seed,
)
from walkforge.models import MarketGpt
from walkforge.training import TrainedGpt

from ._gpt_said import GptMember, Said, Speaker
from ._gpt_study import GptStudy
from ._gpt_tokens import baseline_columns
from ._gpt_watcher import MemberWatcher
from ._learn import Results
from ._prepare import Prepared
from ._token_market import TokenMarket, token_market
from ._watcher import Watcher


@dataclass(frozen=True, slots=True, eq=False)
class GptResults(Results):
    """What learning leaves, beside that of every family."""

    models: list[GptMember]
    tokens: pl.DataFrame


class GptLearning:
    """Trains and predicts for one study of tokens on one device."""

    def __init__(self, study: GptStudy, prepared: Prepared, watcher: Watcher) -> None:
        self.study, self.prepared, self.watcher = study, prepared, watcher
        self.device, self._device_reason = choose_device(study.device.device)
        self.precision, self._precision_reason = choose_precision(
            study.device.precision, self.device
        )

    def run(self, checkpoints: Path) -> GptResults:
        """Train all members, calibrate them for every series, and predict the test rows.

        What is in the folder `checkpoints` is taken up and not computed again.
        """
        self.watcher.note(f"device {self.device}: {self._device_reason}")
        self.watcher.note(f"precision {self.precision.name}: {self._precision_reason}")
        said = list(self._all_said(checkpoints))
        log_loss, accuracy = np.mean([one.gap for one in said], axis=0)
        return GptResults(
            members=[],
            predictions=pl.concat([one.predictions for one in said]),
            calibration_predictions=pl.concat([one.calibration_predictions for one in said]),
            forecasts=pl.concat([one.forecasts for one in said]),
            facts={
                "device": str(self.device),
                "device_reason": self._device_reason,
                "precision": self.precision.name,
                "precision_reason": self._precision_reason,
                "n_members": len(said),
                "n_parameters": sum(models.gpt_parameters(said[0].member.shape).values()),
                "train": {"log_loss": float(log_loss), "accuracy": float(accuracy)},
            },
            models=[one.member for one in said],
            tokens=pl.concat([one.tokens for one in said]),
        )

    def _all_said(self, checkpoints: Path) -> Iterator[Said]:
        folds = {part.fold.index: part.fold for part in self.prepared.parts}
        speaker = Speaker(self.study, self.prepared, self.watcher)
        for place, fold in enumerate(folds.values()):
            self.watcher.doing(f"tokens of fold {fold.index}")
            market = token_market(self.study, self.prepared, fold)
            beside = baseline_columns(self.study, market)
            for number, seed in enumerate(self.study.seeds):
                done = place * len(self.study.seeds) + number
                total = len(folds) * len(self.study.seeds)
                folder = checkpoints / f"fold{fold.index}_seed{seed}"
                watched = MemberWatcher(
                    self.watcher, done=done, total=total, epochs=self.study.training.epochs
                )
                model, trained = self._trained(market, seed, folder, watched)
                yield speaker.said(market, model, trained, beside, seed=seed, folder=folder)

    def _trained(
        self, market: TokenMarket, seed: int, folder: Path, watched: MemberWatcher
    ) -> tuple[MarketGpt, TrainedGpt]:
        fold = market.fold.index
        model = self._first_model(market, derive_seed(seed, "marketgpt", fold))
        watched.note(f"fold {fold}, seed {seed}: {models.gpt_parameters_text(model.shape)}")
        trained = training.train_gpt(
            model,
            market.table,
            self.study.training,
            seed=seed,
            precision=self.precision,
            name=f"market fold {fold}",
            compiled=self.study.device.compile,
            watcher=watched,
            checkpoints=folder,
        )
        if trained.best_epoch == 0:
            raise TrainingError(
                f"the MarketGPT of fold {fold} and seed {seed} never had a finite validation loss; "
                "try a smaller training.learning_rate"
            )
        return model, trained

    def _first_model(self, market: TokenMarket, drawn_by: int) -> MarketGpt:
        import torch

        shape = self.study.shape(
            vocabulary=market.tokenizer.vocabulary,
            n_assets=len(market.first_row),
            n_categories=len(market.categories),
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(drawn_by)
            return MarketGpt(shape).to(self.device)
