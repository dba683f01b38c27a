"""The state of members that train together, as a few flat tensors.

Shapes: M members, P numbers of a member (parameters, then buffers), Q parameters of a member
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from walkforge.models import Architecture, Layout, initial_state

from ._plan import Member, TrainingPlan


@dataclass(slots=True, eq=False)
class Pack:
    """Weights, moments and best states of M members; row m of every tensor belongs to member m."""

    layout: Layout
    weights_MP: Tensor
    best_MP: Tensor
    """A true copy of the state with the lowest validation loss so far."""
    gradient_MQ: Tensor
    first_MQ: Tensor
    second_MQ: Tensor
    steps_M: Tensor
    best_loss_M: Tensor
    waited_M: Tensor
    """Epochs since the last better validation loss."""
    slowed_M: Tensor
    """What the plateau schedule has made of the learning rate so far, as a factor."""
    _leaves: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    @classmethod
    def fresh(
        cls, architecture: Architecture, members: Sequence[Member], device: torch.device
    ) -> "Pack":
        """Return the pack before its first step; every member starts from its own seed."""
        layout = Layout.of(architecture)
        states = [initial_state(architecture, member.random_seed) for member in members]
        weights = layout.flatten(states).to(device)
        zeros = torch.zeros(len(members), layout.n_parameters, device=device)
        per_member = torch.zeros(len(members), device=device)
        return cls(
            layout=layout,
            weights_MP=weights,
            best_MP=weights.clone(),
            gradient_MQ=zeros,
            first_MQ=zeros.clone(),
            second_MQ=zeros.clone(),
            steps_M=per_member,
            best_loss_M=torch.full_like(per_member, torch.inf),
            waited_M=per_member.clone(),
            slowed_M=torch.ones_like(per_member),
        )

    def state(self, n_members: int) -> dict[str, Tensor]:
        """Return the named tensors of the first members; parameters are leaves of autograd.

        All share memory with `weights_MP`, so that the optimiser works on whole rows.
        """
        if n_members not in self._leaves:
            state = self.layout.views(self.weights_MP[:n_members])
            for name in self.layout.views(self.gradient_MQ[:1]):
                state[name] = state[name].detach().requires_grad_()
            self._leaves[n_members] = state
        return self._leaves[n_members]

    def collect_gradients(self, loss: Tensor, n_members: int) -> Tensor:
        """Return the flat gradients [n_members, Q] of a scalar loss."""
        flat_MQ = self.gradient_MQ[:n_members]
        places = self.layout.views(flat_MQ)
        state = self.state(n_members)
        gradients = torch.autograd.grad(loss, [state[name] for name in places])
        for place, gradient in zip(places.values(), gradients, strict=True):
            place.copy_(gradient)
        return flat_MQ

    def note_validation(self, loss_M: Tensor, plan: TrainingPlan) -> Tensor:
        """Keep a copy of what became better; return which members did [M], bool."""
        better_M = loss_M < self.best_loss_M
        self.best_loss_M = torch.where(better_M, loss_M, self.best_loss_M)
        self.best_MP = torch.where(better_M[:, None], self.weights_MP, self.best_MP)
        self.waited_M = torch.where(better_M, torch.zeros_like(loss_M), self.waited_M + 1)
        if plan.schedule == "plateau":
            slower = ~better_M & (self.waited_M % plan.plateau_patience == 0)
            self.slowed_M = torch.where(slower, self.slowed_M * plan.plateau_factor, self.slowed_M)
        return better_M

    def keep(self, members: Tensor) -> None:
        """Drop all members but those named by number [K]; they cost nothing from now on."""
        for name in self.tensor_names():
            setattr(self, name, getattr(self, name)[members].clone())
        self._leaves.clear()

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that a checkpoint must hold, by name."""
        return {name: getattr(self, name) for name in self.tensor_names()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over the tensors of a checkpoint."""
        device = self.weights_MP.device
        for name in self.tensor_names():
            setattr(self, name, tensors[name].to(device))
        self._leaves.clear()

    @staticmethod
    def tensor_names() -> tuple[str, ...]:
        """Return the names of all per-member tensors."""
        return (
            "weights_MP",
            "best_MP",
            "gradient_MQ",
            "first_MQ",
            "second_MQ",
            "steps_M",
            "best_loss_M",
            "waited_M",
            "slowed_M",
        )
