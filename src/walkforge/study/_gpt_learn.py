"""Prepared data to MarketGPTs, one per fold and seed for all series, and their predictions."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from walkforge import models, training
from walkforge.base import (
    TrainingError,
    choose_device,
    choose_precision,
    derive_seed,
)
from walkforge.folds import Fold
from walkforge.models import GptShape, MarketGpt
from walkforge.training import TrainedGpt

from ._fine_tune import BaseModel
from ._gpt_said import GptMember, Said, Speaker
from ._gpt_study import GptStudy
from ._gpt_tokens import baseline_columns
from ._gpt_watcher import MemberWatcher
from ._learn import Results
from ._prepare import Prepared
from ._token_market import TokenMarket, token_market
from ._watcher import Watcher

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class GptResults(Results):
    """What learning leaves, beside that of every family."""

    models: list[GptMember]
    tokens: pl.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class _Trained:
    """One member, its training over; its model is built again when it is asked."""

    market: TokenMarket
    seed: int
    shape: GptShape
    trained: TrainedGpt
    folder: Path


class GptLearning:
    """Trains and predicts for one study of tokens, on one device or several."""

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
        trained = self.train(checkpoints)
        said = list(self._all_said(trained))
        log_loss, accuracy = np.mean([one.gap for one in said], axis=0)
        forecasts = [one.forecasts for one in said if one.forecasts is not None]
        device = self.study.device
        ranks = training.find_ranks(device.devices, device.nodes, self.device.type)
        return GptResults(
            members=[],
            predictions=pl.concat([one.predictions for one in said]),
            calibration_predictions=pl.concat([one.calibration_predictions for one in said]),
            forecasts=pl.concat(forecasts) if forecasts else None,
            facts={
                "device": str(self.device),
                "device_reason": self._device_reason,
                "devices": ranks.n_processes,
                "precision": self.precision.name,
                "precision_reason": self._precision_reason,
                "n_members": len(said),
                "n_parameters": sum(models.gpt_parameters(said[0].member.shape).values()),
                "train": {"log_loss": float(log_loss), "accuracy": float(accuracy)},
            },
            models=[one.member for one in said],
            tokens=pl.concat([one.tokens for one in said]),
        )

    def train(self, checkpoints: Path) -> list[_Trained]:
        """Train all members; where several processes train together, all of them call this.

        Nothing is drawn in between: the others would wait for the first one, and not for long.
        """
        self.watcher.note(f"device {self.device}: {self._device_reason}")
        self.watcher.note(f"precision {self.precision.name}: {self._precision_reason}")
        return list(self._trained_one_by_one(checkpoints))

    def _trained_one_by_one(self, checkpoints: Path) -> Iterator[_Trained]:
        folds = {part.fold.index: part.fold for part in self.prepared.parts}
        for place, (_, fold) in enumerate(sorted(folds.items())):
            self.watcher.doing(f"making the tokens of fold {fold.index}")
            markets: dict[str, TokenMarket] = {}
            for number, seed in enumerate(self.study.seeds):
                watched = MemberWatcher(
                    self.watcher,
                    done=place * len(self.study.seeds) + number,
                    total=len(folds) * len(self.study.seeds),
                    epochs=self.study.training.epochs,
                )
                folder = checkpoints / f"fold{fold.index}_seed{seed}"
                yield self._trained(fold, seed, folder, watched, markets)

    def _trained(
        self,
        fold: Fold,
        seed: int,
        folder: Path,
        watched: MemberWatcher,
        markets: dict[str, TokenMarket],
    ) -> _Trained:
        """Train one member; `markets` keeps the tokens that seeds share."""
        base = None if self.prepared.base is None else self.prepared.base.model(fold, seed)
        tokens = "anew" if base is None else base.tokenizer.digest
        if tokens not in markets:
            markets[tokens] = token_market(self.study, self.prepared, fold, base)
        market = markets[tokens]
        model = self._first_model(market, base, derive_seed(seed, "marketgpt", fold.index))
        watched.note(f"fold {fold.index}, seed {seed}: {models.gpt_parameters_text(model.shape)}")
        if base is not None:
            watched.note(f"going on from {base.place}: {models.learned_parameters_text(model)}")
        device = self.study.device
        trained = training.train_gpt(
            model,
            market.table,
            self.study.training,
            seed=seed,
            precision=self.precision,
            name=f"market fold {fold.index}",
            compiled=device.compile,
            watcher=watched,
            checkpoints=folder,
            devices=device.devices,
            nodes=device.nodes,
            sharded=device.sharded,
        )
        if trained.best_epoch == 0:
            raise TrainingError(
                f"the MarketGPT of fold {fold.index} and seed {seed} never had a finite validation "
                "loss; try a smaller training.learning_rate"
            )
        if self._has_factors:
            models.merge_lora(model)
            trained = replace(trained, state=_on_cpu(model))
        return _Trained(market, seed, model.shape, trained, folder)

    def _all_said(self, trained: list[_Trained]) -> Iterator[Said]:
        speaker = Speaker(self.study, self.prepared, self.watcher)
        beside: dict[int, dict[str, np.ndarray]] = {}
        for one in trained:
            fold = one.market.fold.index
            if fold not in beside:
                beside[fold] = baseline_columns(self.study, one.market)
            model = MarketGpt(one.shape).to(self.device).eval()
            model.load_state_dict(one.trained.state)
            yield speaker.said(
                one.market, model, one.trained, beside[fold], seed=one.seed, folder=one.folder
            )

    @property
    def _has_factors(self) -> bool:
        return self.prepared.base is not None and self.study.fine_tune.method == "lora"

    def _first_model(self, market: TokenMarket, base: BaseModel | None, drawn_by: int) -> MarketGpt:
        import torch

        shape = self.study.shape(
            vocabulary=market.tokenizer.vocabulary,
            n_assets=len(market.asset_of),
            n_categories=len(market.categories),
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(drawn_by)
            model = MarketGpt(shape)
        if base is not None:
            base.into(model)
        model.to(self.device)
        if self._has_factors:
            models.add_lora(model, rank=self.study.fine_tune.rank, seed=drawn_by)
        return model


def _on_cpu(model: MarketGpt) -> dict[str, "Tensor"]:
    return {name: one.detach().to("cpu", copy=True) for name, one in model.state_dict().items()}
