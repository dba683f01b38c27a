"""What one step of a pack computes: gather, forward, loss, backward.

Shapes: M members, B rows in a batch, K outputs of a row
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from walkforge.models import MemberDropout, PackedForward, compact_, step_keys

from ._batches import Batches
from ._loss_scale import scaled
from ._objectives import Objective
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
    objective: Objective
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
        objective: Objective,
    ) -> "Body":
        """Put what belongs to each member on the device."""
        device = forward.table_NF.device
        decays = [_own(m.weight_decay, plan.weight_decay) for m in members]
        return cls(
            plan=plan,
            forward=forward,
            pack=pack,
            batches=batches,
            seeds_M=torch.tensor([m.random_seed for m in members], device=device),
            decay_M=torch.tensor(decays, device=device),
            objective=objective,
            total_M=torch.zeros(len(members), device=device),
        )

    @property
    def device(self) -> torch.device:
        """Return where everything lies."""
        return self.total_M.device

    @property
    def scales(self) -> bool:
        """Return whether gradients are those of scaled losses, to be unscaled before an update."""
        return self.forward.precision.scales_losses

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
            backed_MB = scaled(loss_MB, self.pack.loss_scale_M[own]) if self.scales else loss_MB
            self.pack.collect_gradients(backed_MB.sum() / n_rows, own, add=first_row > 0)
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
        outputs_MBK = self.forward.outputs(state, rows_MB, first=first, dropout=dropout)
        return self.objective.row_losses(
            outputs_MBK, state=state, rows_MB=rows_MB, labels_MB=labels_MB, first=first
        )

    def keep(self, members: list[int]) -> None:
        """Go on with the members named by number."""
        kept = torch.tensor(members, dtype=torch.long, device=self.device)
        for rows in (self.seeds_M, self.decay_M):
            compact_(rows, kept)
        self.objective.keep(kept)
        self.forward.keep(kept)
        self.pack.keep(kept)
        self.batches.keep(members)


def _own(own: float | None, shared: float) -> float:
    return shared if own is None else own
