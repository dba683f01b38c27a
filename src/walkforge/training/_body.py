"""What one step of a pack computes: gather, forward, loss, backward.

Shapes: M members, B rows in a batch, C classes
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from walkforge.models import MemberDropout, PackedForward, compact_, step_keys

from ._batches import Batches
from ._losses import classification_loss
from ._pack import Pack
from ._plan import Member, TrainingPlan


@dataclass(slots=True, eq=False)
class Body:
    """What all ways have in common: the numbers of members, and their gradients."""

    plan: TrainingPlan
    forward: PackedForward
    pack: Pack
    batches: Batches
    seeds_M: Tensor
    decay_M: Tensor
    class_weights_MC: Tensor
    total_M: Tensor
    """Sum of the losses of the epoch's steps."""
    pieces: int = 1
    """A batch is computed in so many pieces; more than one only when memory is short."""
    compute_loss: Callable[..., Tensor] = field(init=False)
    """`loss`, compiled where that was asked for."""

    def __post_init__(self) -> None:
        self.compute_loss = self.loss

    @classmethod
    def of(
        cls,
        members: Sequence[Member],
        plan: TrainingPlan,
        *,
        forward: PackedForward,
        pack: Pack,
        batches: Batches,
        n_classes: int,
    ) -> "Body":
        """Put what belongs to each member on the device."""
        device = forward.table_NF.device
        decays = [_own(m.weight_decay, plan.weight_decay) for m in members]
        weights = [class_weights(m, n_classes, plan.class_weights) for m in members]
        return cls(
            plan=plan,
            forward=forward,
            pack=pack,
            batches=batches,
            seeds_M=torch.tensor([m.random_seed for m in members], device=device),
            decay_M=torch.tensor(decays, device=device),
            class_weights_MC=torch.stack(weights).to(device),
            total_M=torch.zeros(len(members), device=device),
        )

    def gradients(self, own: slice, rows_MB: Tensor, labels_MB: Tensor) -> Tensor:
        """Leave the gradients of some members in the pack; return their losses [M]."""
        n_rows = rows_MB.shape[1]
        keys_M = step_keys(self.seeds_M[own], self.pack.steps_M[own].long())
        losses: list[Tensor] = []
        for rows, labels in zip(
            rows_MB.tensor_split(self.pieces, dim=1),
            labels_MB.tensor_split(self.pieces, dim=1),
            strict=True,
        ):
            first_row = sum(part.shape[1] for part in losses)
            loss_MB = self.compute_loss(
                self.pack.leaves(own),
                rows,
                labels,
                keys_M=keys_M,
                first=own.start,
                first_row=first_row,
                n_rows=n_rows,
            )
            # Members share no number, so the gradient of the sum is each member's own gradient.
            self.pack.collect_gradients(loss_MB.sum() / n_rows, own, add=first_row > 0)
            losses.append(loss_MB.detach())
        return (torch.cat(losses, dim=1) if self.pieces > 1 else losses[0]).mean(dim=1)

    def loss(
        self,
        state: dict[str, Tensor],
        rows_MB: Tensor,
        labels_MB: Tensor,
        *,
        keys_M: Tensor,
        first: int,
        first_row: int,
        n_rows: int,
    ) -> Tensor:
        """Return the training loss of every row [M, B]."""
        rate = getattr(self.forward.architecture, "dropout", 0.0)
        dropout = MemberDropout(rate, keys_M, first_row, n_rows)
        logits_MBC = self.forward.logits(state, rows_MB, first=first, dropout=dropout)
        return self.row_losses(logits_MBC, labels_MB, first)

    def row_losses(self, logits_MBC: Tensor, labels_MB: Tensor, first: int) -> Tensor:
        """Return the loss of every row [M, B] from its logits."""
        return classification_loss(
            logits_MBC,
            labels_MB,
            self.class_weights_MC[first : first + len(labels_MB)],
            focal_gamma=self.plan.focal_gamma if self.plan.loss == "focal" else None,
            label_smoothing=self.plan.label_smoothing,
        )

    def keep(self, members: list[int]) -> None:
        """Go on with the members named by number."""
        kept = torch.tensor(members, dtype=torch.long, device=self.total_M.device)
        for rows in (self.seeds_M, self.decay_M, self.class_weights_MC):
            compact_(rows, kept)
        self.forward.keep(kept)
        self.pack.keep(kept)
        self.batches.keep(members)


def _own(own: float | None, shared: float) -> float:
    return shared if own is None else own


def class_weights(member: Member, n_classes: int, kind: str) -> Tensor:
    """Return weights [C] whose mean over the member's training rows is one."""
    if kind == "none":
        return torch.ones(n_classes)
    counts = np.bincount(member.train_labels, minlength=n_classes)
    present = counts > 0
    weights = np.zeros(n_classes)
    weights[present] = len(member.train_labels) / (present.sum() * counts[present])
    return torch.as_tensor(weights, dtype=torch.float32)
