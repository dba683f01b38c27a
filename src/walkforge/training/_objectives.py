"""What a pack's outputs are held against: classes, or what came after each bar.

Shapes: M members, B rows, C classes, K numbers of a forecast, T targets of a row, N rows of the
table
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from walkforge.base import TrainingError
from walkforge.models import Architecture, ForecastRow, StateViews, compact_

from ._forecast_losses import forecast_losses
from ._losses import classification_loss
from ._plan import Member, TrainingPlan


class Objective(Protocol):
    """How wrong outputs are, row by row."""

    def row_losses(
        self,
        outputs_MBK: Tensor,
        *,
        state: StateViews,
        rows_MB: Tensor,
        labels_MB: Tensor,
        first: int,
    ) -> Tensor:
        """Return the loss of every row [M, B] of the members from number `first` on."""
        ...

    def keep(self, members: Tensor) -> None:
        """Go on with the members named by number."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ClassObjective:
    """Classes that came true, weighted by class."""

    class_weights_MC: Tensor
    focal_gamma: float | None
    label_smoothing: float

    def row_losses(
        self,
        outputs_MBK: Tensor,
        *,
        state: StateViews,
        rows_MB: Tensor,
        labels_MB: Tensor,
        first: int,
    ) -> Tensor:
        """Return the (focal) cross-entropy of every row [M, B]."""
        return classification_loss(
            outputs_MBK,
            labels_MB,
            self.class_weights_MC[first : first + len(labels_MB)],
            focal_gamma=self.focal_gamma,
            label_smoothing=self.label_smoothing,
        )

    def keep(self, members: Tensor) -> None:
        """Go on with the members named by number."""
        compact_(self.class_weights_MC, members)


@dataclass(frozen=True, slots=True, eq=False)
class ForecastObjective:
    """Bars, bands and volatility that came true."""

    row: ForecastRow
    targets_NT: Tensor
    weights_4: Tensor
    """Of the heads in the order of HEADS; on the device, as a recorded step can fetch nothing."""
    levels_Q: Tensor

    def row_losses(
        self,
        outputs_MBK: Tensor,
        *,
        state: StateViews,
        rows_MB: Tensor,
        labels_MB: Tensor,
        first: int,
    ) -> Tensor:
        """Return the weighted losses of all heads of every row [M, B]."""
        targets_RT = self.targets_NT.index_select(0, rows_MB.reshape(-1))
        targets_MBT = targets_RT.view(*rows_MB.shape, -1)
        losses_MB4 = self.weights_4 * forecast_losses(
            self.row, outputs_MBK, targets_MBT, levels_Q=self.levels_Q
        )
        log_variances_M4 = state.get("task_log_variances")
        if log_variances_M4 is None:
            return losses_MB4.sum(-1)
        # Kendall, Gal and Cipolla 2018, "Multi-task learning using uncertainty to weigh losses". A
        # head without weight has nothing to be uncertain about: its term would fall without end.
        log_variances_M14 = torch.where(self.weights_4 > 0, log_variances_M4[:, None], 0.0)
        return (losses_MB4 * torch.exp(-log_variances_M14) + log_variances_M14).sum(-1)

    def keep(self, members: Tensor) -> None:
        """Change nothing: all members share the targets."""


def make_objective(
    architecture: Architecture,
    members: Sequence[Member],
    plan: TrainingPlan,
    *,
    n_classes: int | None,
    targets_NT: Tensor | None,
    device: torch.device,
) -> Objective:
    """Return the forecaster's objective where there are targets, else that of classes."""
    row = getattr(architecture, "row", None)
    if (row is None) != (targets_NT is None) or (row is None) == (n_classes is None):
        raise TrainingError(
            f"{type(architecture).__name__}: a classifier trains on n_classes, a forecaster on "
            "targets_NT; expected the one that belongs to this model, alone"
        )
    if row is not None and targets_NT is not None:
        return ForecastObjective(
            row=row,
            targets_NT=targets_NT,
            weights_4=torch.tensor(plan.heads.in_order, device=device),
            levels_Q=torch.tensor(row.levels, device=device),
        )
    assert n_classes is not None  # or it would have been refused
    weights = [class_weights(member, n_classes, plan.class_weights) for member in members]
    return ClassObjective(
        class_weights_MC=torch.stack(weights).to(device),
        focal_gamma=plan.focal_gamma if plan.loss == "focal" else None,
        label_smoothing=plan.label_smoothing,
    )


def class_weights(member: Member, n_classes: int, kind: str) -> Tensor:
    """Return weights [C] whose mean over the member's training rows is one."""
    if kind == "none":
        return torch.ones(n_classes)
    counts = np.bincount(member.train_labels, minlength=n_classes)
    present = counts > 0
    weights = np.zeros(n_classes)
    weights[present] = len(member.train_labels) / (present.sum() * counts[present])
    return torch.as_tensor(weights, dtype=torch.float32)
