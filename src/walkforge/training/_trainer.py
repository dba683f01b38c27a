"""Trains all members of a study together: one step of the pack is one step of every member.

    trained = train_pack(architecture, table_NF, members, plan, ...)

Members are kept in the order of their steps per epoch, longest first, so that the members still
busy in a late step are the first rows of every tensor. A member's numbers follow from its own
data and its own seed: alone or in a pack it trains the same, within float tolerance.

Shapes: M members, S steps in an epoch, B rows in a batch, R rows, C classes
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from walkforge.base import Precision, derive_seed
from walkforge.models import Architecture, MemberDropout, PackedForward, pad_rows, step_keys

from ._adamw import adamw_step, clip_gradients
from ._checkpoint import read_checkpoint, write_checkpoint
from ._losses import classification_loss
from ._pack import Pack
from ._plan import Member, TrainingPlan


@dataclass(frozen=True, slots=True)
class TrainedMember:
    """The best state of one member, on the CPU, and how it came about."""

    member: Member
    state: dict[str, Tensor]
    best_epoch: int
    """Counted from 1; 0 means that no epoch had a finite validation loss."""
    best_validation_loss: float
    train_loss_at_best: float


class Watcher(Protocol):
    """Whoever shows progress."""

    def step(self, epoch: int, step: int, n_steps: int) -> None:
        """One step of the pack is done."""
        ...

    def epoch(self, report: dict[str, Any]) -> None:
        """One epoch is done; the report is a line of `training_log.jsonl`."""
        ...


def train_pack(
    architecture: Architecture,
    table_NF: Tensor,
    members: Sequence[Member],
    plan: TrainingPlan,
    *,
    window_bars: int,
    n_classes: int,
    clip: float,
    precision: Precision,
    watcher: Watcher | None = None,
    checkpoint: Path | None = None,
) -> list[TrainedMember]:
    """Train `members` on the device that holds `table_NF` and return their best states, in order.

    Every row of a member must have its whole window of `window_bars` rows above it in the table.
    With `checkpoint` the state is written there after each epoch, and taken up from there.
    """
    trainer = _Trainer(
        architecture, table_NF, members, plan, window_bars, n_classes, clip, precision
    )
    if checkpoint is not None and checkpoint.exists():
        trainer.restore(checkpoint)
    while trainer.running:
        report = trainer.run_epoch(watcher)
        # First the report, then the checkpoint: cut off between the two, the epoch is trained
        # and reported again, and the log misses nothing.
        if watcher is not None:
            watcher.epoch(report)
        if checkpoint is not None:
            write_checkpoint(checkpoint, *trainer.snapshot())
    return [trainer.finished[member.name] for member in members]


class _Trainer:
    def __init__(
        self,
        architecture: Architecture,
        table_NF: Tensor,
        members: Sequence[Member],
        plan: TrainingPlan,
        window_bars: int,
        n_classes: int,
        clip: float,
        precision: Precision,
    ) -> None:
        self.architecture = architecture
        self.plan = plan
        self.n_classes = n_classes
        self.device = table_NF.device
        self.everyone = sorted(members, key=lambda member: -self._steps_of(member))
        self.epoch = 0
        self.history: dict[str, list[dict[str, float]]] = {m.name: [] for m in members}
        self.finished: dict[str, TrainedMember] = {}
        self.running = list(self.everyone)
        self.forward = PackedForward.build(
            architecture,
            table_NF,
            window_bars=window_bars,
            centers=[member.center for member in self.running],
            scales=[member.scale for member in self.running],
            clip=clip,
            precision=precision,
        )
        self.pack = Pack.fresh(architecture, self.running, self.device)
        self._place_members()

    def run_epoch(self, watcher: Watcher | None) -> dict[str, Any]:
        """Train one epoch, validate, let stopped members go; return the epoch's report."""
        started = time.perf_counter()
        self.epoch += 1
        steps = [self._steps_of(member) for member in self.running]
        train_loss_M = self._train(steps, watcher)
        validation_loss_M = self._validate()
        better_M = self.pack.note_validation(validation_loss_M, self.plan)
        n_rows = sum(steps) * self.plan.batch_size
        report = self._report(train_loss_M, validation_loss_M, better_M)
        report["seconds"] = time.perf_counter() - started
        report["rows_per_s"] = n_rows / report["seconds"]
        self._release_finished()
        return report

    def _train(self, steps: list[int], watcher: Watcher | None) -> Tensor:
        """Take every member's steps of this epoch; return its mean training loss [M]."""
        rows_MR, labels_MR = self._draw_order()
        rates_SM = self._rates(steps)
        total_M = torch.zeros(len(self.running), device=self.device)
        size = self.plan.batch_size
        for step in range(steps[0]):
            n_active = sum(count > step for count in steps)
            batch = slice(step * size, (step + 1) * size)
            loss_M = self._step(
                rows_MR[:n_active, batch], labels_MR[:n_active, batch], rates_SM[step, :n_active]
            )
            total_M[:n_active] += loss_M
            if watcher is not None:
                watcher.step(self.epoch, step + 1, steps[0])
        return total_M / torch.tensor(steps, device=self.device)

    def _step(self, rows_MB: Tensor, labels_MB: Tensor, rate_M: Tensor) -> Tensor:
        """Take one step of the first members; return their losses [M]."""
        k, pack = len(rows_MB), self.pack
        dropout = MemberDropout(
            getattr(self.architecture, "dropout", 0.0),
            step_keys(self.seeds_M[:k], pack.steps_M[:k].long()),
        )
        logits_MBC = self.forward.logits(pack.state(k), rows_MB, dropout)
        loss_M = self._loss(logits_MBC, labels_MB).mean(dim=1)
        # Members share no number, so the gradient of the sum is each member's own gradient.
        gradient_MQ = pack.collect_gradients(loss_M.sum(), k)
        clip_gradients(gradient_MQ, self.plan.clip_norm)
        adamw_step(
            pack.weights_MP[:k, : pack.layout.n_parameters],
            gradient_MQ,
            first_MQ=pack.first_MQ[:k],
            second_MQ=pack.second_MQ[:k],
            steps_M=pack.steps_M[:k],
            rate_M=rate_M,
            decay_M=self.decay_M[:k],
        )
        return loss_M.detach()

    @torch.no_grad()
    def _validate(self) -> Tensor:
        """Return each member's mean loss [M] over its validation rows."""
        state = self.pack.layout.views(self.pack.weights_MP)
        total_M = torch.zeros(len(self.running), device=self.device)
        chunk = self.forward.rows_per_chunk()
        for start in range(0, self.validation_rows_MR.shape[1], chunk):
            part = slice(start, start + chunk)
            logits_MBC = self.forward.logits(state, self.validation_rows_MR[:, part])
            loss_MB = self._loss(logits_MBC, self.validation_labels_MR[:, part])
            place = torch.arange(start, start + loss_MB.shape[1], device=self.device)
            inside_MB = place < self.n_validation_M[:, None]
            total_M += torch.where(inside_MB, loss_MB, 0.0).sum(dim=1)
        return total_M / self.n_validation_M

    def _loss(self, logits_MBC: Tensor, labels_MB: Tensor) -> Tensor:
        plan = self.plan
        return classification_loss(
            logits_MBC,
            labels_MB,
            self.class_weights_MC[: len(labels_MB)],
            focal_gamma=plan.focal_gamma if plan.loss == "focal" else None,
            label_smoothing=plan.label_smoothing,
        )

    def _draw_order(self) -> tuple[Tensor, Tensor]:
        """Return this epoch's rows and classes [M, R], in each member's own random order.

        The last batch of a member is filled up from the beginning of its order, so that every
        row is seen and all batches are whole.
        """
        n_places = max(self._steps_of(member) for member in self.running) * self.plan.batch_size
        rows_MR = np.zeros((len(self.running), n_places), dtype=np.int64)
        labels_MR = np.zeros((len(self.running), n_places), dtype=np.int8)
        for m, member in enumerate(self.running):
            random = np.random.default_rng(derive_seed(member.random_seed, "order", self.epoch))
            order = np.resize(random.permutation(len(member.train_rows)), n_places)
            rows_MR[m], labels_MR[m] = member.train_rows[order], member.train_labels[order]
        return (
            torch.from_numpy(rows_MR).to(self.device),
            torch.from_numpy(labels_MR).to(self.device),
        )

    def _rates(self, steps: list[int]) -> Tensor:
        """Return the learning rate of every step and member in this epoch [S, M]."""
        step_S1 = np.arange(steps[0])[:, None]
        factor_SM = np.ones((steps[0], len(steps)))
        if self.plan.schedule == "cosine":
            done_SM = (self.epoch - 1 + np.minimum(step_S1 / steps, 1.0)) / self.plan.epochs
            factor_SM = 0.5 * (1.0 + np.cos(np.pi * done_SM))
        rates_SM = torch.as_tensor(factor_SM, dtype=torch.float32, device=self.device)
        return rates_SM * self.rate_M * self.pack.slowed_M

    def _release_finished(self) -> None:
        """Take the best states of members that are done, and go on with the others."""
        waited = self.pack.waited_M.tolist()
        at_end = self.epoch >= self.plan.epochs
        stays = [m for m, w in enumerate(waited) if not at_end and w < self.plan.patience]
        for m, member in enumerate(self.running):
            if m not in stays:
                self.finished[member.name] = self._best_of(m, member)
        if len(stays) < len(self.running):
            kept = torch.tensor(stays, dtype=torch.long, device=self.device)
            self.running = [self.running[m] for m in stays]
            self.pack.keep(kept)
            self.forward = self.forward.keep(kept)
            self._place_members()

    def _best_of(self, m: int, member: Member) -> TrainedMember:
        history = self.history[member.name]
        best = min(
            (line for line in history if np.isfinite(line["validation_loss"])),
            key=lambda line: line["validation_loss"],
            default=None,
        )
        # A member that never had a finite loss keeps what it has; `best_epoch` 0 tells the caller.
        source = self.pack.weights_MP if best is None else self.pack.best_MP
        return TrainedMember(
            member=member,
            state=self.pack.layout.member(source, m),
            best_epoch=0 if best is None else history.index(best) + 1,
            best_validation_loss=float("nan") if best is None else best["validation_loss"],
            train_loss_at_best=float("nan") if best is None else best["train_loss"],
        )

    def _report(self, train_M: Tensor, validation_M: Tensor, better_M: Tensor) -> dict[str, Any]:
        lines = []
        columns = zip(
            self.running, train_M.tolist(), validation_M.tolist(), better_M.tolist(), strict=True
        )
        for member, train_loss, validation_loss, better in columns:
            losses = {"train_loss": train_loss, "validation_loss": validation_loss}
            self.history[member.name].append(losses)
            place = {"symbol": member.symbol, "fold": member.fold, "seed": member.seed}
            lines.append({"name": member.name, **place, **losses, "best": better})
        return {"epoch": self.epoch, "epochs": self.plan.epochs, "members": lines}

    def _place_members(self) -> None:
        """Put what belongs to the running members on the device."""
        if not self.running:
            return
        members, plan = self.running, self.plan

        def on_device(values: list[Any], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=self.device)

        self.seeds_M = on_device([m.random_seed & 0xFFFFFFFF for m in members], torch.int64)
        self.rate_M = on_device(
            [_first(m.learning_rate, plan.learning_rate) for m in members], torch.float32
        )
        self.decay_M = on_device(
            [_first(m.weight_decay, plan.weight_decay) for m in members], torch.float32
        )
        self.n_validation_M = on_device([len(m.validation_rows) for m in members], torch.int64)
        self.validation_rows_MR = pad_rows([m.validation_rows for m in members]).to(self.device)
        labels = pad_rows([m.validation_labels.astype(np.int64) for m in members])
        self.validation_labels_MR = labels.to(self.device, torch.int8)
        weights = [_class_weights(m, self.n_classes, plan.class_weights) for m in members]
        self.class_weights_MC = torch.stack(weights).to(self.device)

    def _steps_of(self, member: Member) -> int:
        return -(-len(member.train_rows) // self.plan.batch_size)

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain data from which training goes on exactly."""
        tensors = {f"pack.{name}": tensor for name, tensor in self.pack.tensors().items()}
        finished = {}
        for name, trained in self.finished.items():
            tensors |= {f"finished.{name}.{key}": value for key, value in trained.state.items()}
            finished[name] = [
                trained.best_epoch,
                trained.best_validation_loss,
                trained.train_loss_at_best,
            ]
        plain = {
            "epoch": self.epoch,
            "running": [member.name for member in self.running],
            "finished": finished,
            "history": self.history,
        }
        return tensors, plain

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint of the same members."""
        tensors, plain = read_checkpoint(path, [member.name for member in self.everyone])
        by_name = {member.name: member for member in self.everyone}
        self.epoch, self.history = plain["epoch"], plain["history"]
        for name, (best_epoch, validation_loss, train_loss) in plain["finished"].items():
            start = f"finished.{name}."
            state = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            self.finished[name] = TrainedMember(
                by_name[name], state, best_epoch, validation_loss, train_loss
            )
        places = [self.everyone.index(by_name[name]) for name in plain["running"]]
        self.running = [self.everyone[place] for place in places]
        self.forward = self.forward.keep(torch.tensor(places, dtype=torch.long))
        self.pack.restore(
            {k.removeprefix("pack."): v for k, v in tensors.items() if k.startswith("pack.")}
        )
        self._place_members()


def _first(own: float | None, shared: float) -> float:
    return shared if own is None else own


def _class_weights(member: Member, n_classes: int, kind: str) -> Tensor:
    """Return weights [C] whose mean over the member's training rows is one."""
    if kind == "none":
        return torch.ones(n_classes)
    counts = np.bincount(member.train_labels, minlength=n_classes)
    present = counts > 0
    weights = np.zeros(n_classes)
    weights[present] = len(member.train_labels) / (present.sum() * counts[present])
    return torch.as_tensor(weights, dtype=torch.float32)
