"""Who trains, who is finished, and how each member stands; also what a checkpoint holds of it.

Shapes: M members still running, S steps in an epoch
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from walkforge.base import FloatArray

from ._pack import Pack
from ._plan import Member, TrainingPlan
from ._standing import Standing


@dataclass(frozen=True, slots=True)
class TrainedMember:
    """The best state of one member, on the CPU, and how it came about."""

    member: Member
    state: dict[str, Tensor]
    best_epoch: int
    """Counted from 1; 0 means that no epoch had a finite validation loss."""
    best_validation_loss: float
    train_loss_at_best: float


class Cohort:
    """Members that began together, and their pack, whose row m belongs to `running[m]`."""

    def __init__(
        self,
        members: Sequence[Member],
        plan: TrainingPlan,
        pack: Pack,
        *,
        compact: Callable[[list[int]], None],
    ) -> None:
        """`compact` drops the rows of all members but those named by number, the pack's too."""
        self.everyone = list(members)
        self.running = list(members)
        self.finished: dict[str, TrainedMember] = {}
        self.standings = {member.name: Standing(plan) for member in members}
        self.epoch = 0
        """Epochs that are over."""
        self._plan = plan
        self._pack = pack
        self._compact = compact

    def rates(self, steps: Sequence[int]) -> FloatArray:
        """Return the learning rate of every step and member in the next epoch [S, M].

        `steps` are the members' steps in an epoch, falling.
        """
        plan, steps_M = self._plan, np.array(steps)
        rate_M = np.array(
            [
                (plan.learning_rate if m.learning_rate is None else m.learning_rate)
                * self.standings[m.name].slowed
                for m in self.running
            ]
        )
        if plan.schedule != "cosine":
            return np.broadcast_to(rate_M, (steps_M[0], len(steps_M))).copy()
        step_S1 = np.arange(steps_M[0])[:, None]
        done_SM = (self.epoch + np.minimum(step_S1 / steps_M, 1.0)) / plan.epochs
        return rate_M * 0.5 * (1.0 + np.cos(np.pi * done_SM))

    def note(self, losses: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
        """Take in an epoch's training and validation losses; return a report's line per member."""
        self.epoch += 1
        lines = [
            self._line(member, *both) for member, both in zip(self.running, losses, strict=True)
        ]
        self._pack.note_best([m for m, line in enumerate(lines) if line["best"]])
        return lines

    def _line(self, member: Member, train_loss: float, validation_loss: float) -> dict[str, Any]:
        standing = self.standings[member.name]
        best = standing.note(train_loss, validation_loss)
        return {
            "name": member.name,
            "symbol": member.symbol,
            "fold": member.fold,
            "seed": member.seed,
            "train_loss": train_loss,
            "validation_loss": validation_loss,
            "best": best,
            "done": standing.done,
        }

    def release(self, names: Collection[str]) -> None:
        """Take the best states of these members, and go on with the others."""
        stays = []
        for m, member in enumerate(self.running):
            if member.name in names:
                self.finished[member.name] = self._best_of(m, member)
            else:
                stays.append(m)
        if len(stays) < len(self.running):
            self._go_on_with(stays)

    def _go_on_with(self, members: list[int]) -> None:
        self.running = [self.running[m] for m in members]
        self._compact(members)

    def _best_of(self, m: int, member: Member) -> TrainedMember:
        standing = self.standings[member.name]
        # A member that never had a finite loss keeps what it has; `best_epoch` 0 tells the caller.
        source = self._pack.best_MP if standing.best_epoch else self._pack.weights_MP
        return self._trained(member, self._pack.layout.member(source, m))

    def _trained(self, member: Member, state: dict[str, Tensor]) -> TrainedMember:
        standing = self.standings[member.name]
        return TrainedMember(
            member=member,
            state=state,
            best_epoch=standing.best_epoch,
            best_validation_loss=standing.best["validation_loss"],
            train_loss_at_best=standing.best["train_loss"],
        )

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain data from which training goes on exactly."""
        tensors = {f"pack.{name}": tensor for name, tensor in self._pack.tensors().items()}
        for name, trained in self.finished.items():
            tensors |= {f"finished.{name}.{key}": value for key, value in trained.state.items()}
        plain = {
            "epoch": self.epoch,
            "running": [member.name for member in self.running],
            "history": {name: standing.history for name, standing in self.standings.items()},
        }
        return tensors, plain

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Take over a snapshot of these members, which must not have begun."""
        self.epoch = plain["epoch"]
        for name, history in plain["history"].items():
            for losses in history:
                self.standings[name].note(**losses)
        still = set(plain["running"])
        for member in self.everyone:
            if member.name not in still:
                state = _under(f"finished.{member.name}.", tensors)
                self.finished[member.name] = self._trained(member, state)
        self._go_on_with([m for m, member in enumerate(self.everyone) if member.name in still])
        self._pack.restore(_under("pack.", tensors))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
