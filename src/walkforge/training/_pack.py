"""The state of members that train together, as a few flat tensors.

Members that have stopped leave by moving the others to the front, where they are: nothing that
holds on to the memory (leaves of autograd, a CUDA graph) has to be made again.

Shapes: M members, P numbers of a member (parameters, then buffers), Q parameters of a member
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from walkforge.models import Architecture, Layout, compact_, initial_state

from ._adamw import Moments
from ._loss_scale import FIRST_SCALE, unscale_
from ._plan import Member

_SAVED = (
    "weights_MP",
    "best_MP",
    "first_MQ",
    "second_MQ",
    "steps_M",
    "loss_scale_M",
    "clean_steps_M",
)


@dataclass(slots=True, eq=False)
class Pack:
    """Weights, moments and best states; row m of every tensor belongs to member m."""

    layout: Layout
    n_members: int
    """Rows in use; those after them are what stopped members left behind."""
    weights_MP: Tensor
    best_MP: Tensor
    """A true copy of the state with the lowest validation loss so far."""
    first_MQ: Tensor
    second_MQ: Tensor
    steps_M: Tensor
    """Updates made so far, float32."""
    loss_scale_M: Tensor
    """Of float16 training; others leave it as it is."""
    clean_steps_M: Tensor
    """Steps since a loss scale last moved, float32."""
    scratch_MQ: Tensor
    """Room for the gradients."""
    _leaves: dict[tuple[int, int], dict[str, Tensor]] = field(default_factory=dict)

    @classmethod
    def fresh(
        cls,
        architecture: Architecture,
        members: Sequence[Member],
        device: torch.device,
    ) -> "Pack":
        """Return the pack before its first step; every member starts from its own seed."""
        layout = Layout.of(architecture)
        weights = torch.empty(len(members), layout.n_numbers)
        for row, member in zip(weights, members, strict=True):
            row.copy_(layout.flatten([initial_state(architecture, member.random_seed)])[0])
        weights = weights.to(device)
        zeros = torch.zeros(len(members), layout.n_parameters, device=device)
        return cls(
            layout=layout,
            n_members=len(members),
            weights_MP=weights,
            best_MP=weights.clone(),
            first_MQ=zeros,
            second_MQ=zeros.clone(),
            steps_M=torch.zeros(len(members), device=device),
            loss_scale_M=torch.full((len(members),), FIRST_SCALE, device=device),
            clean_steps_M=torch.zeros(len(members), device=device),
            scratch_MQ=torch.empty_like(zeros),
        )

    def leaves(self, own: slice) -> dict[str, Tensor]:
        """Return the named tensors of some members; parameters are leaves of autograd.

        All share memory with `weights_MP`, so that the optimiser works on whole rows.
        """
        key = (own.start, own.stop)
        if key not in self._leaves:
            # `.data`, not detach(): statistics that the forward pass writes must not count as a
            # change of the weights beside them.
            views = self.layout.views(self.weights_MP[own])
            state = {name: view.data for name, view in views.items()}
            for name in self.layout.parameter_names:
                state[name].requires_grad_()
            self._leaves[key] = state
        return self._leaves[key]

    def moments(self, own: slice) -> Moments:
        """Return what an update of some members works on."""
        n_parameters = self.layout.n_parameters
        return Moments(
            weights_MQ=self.weights_MP[own, :n_parameters],
            gradient_MQ=self.scratch_MQ[own],
            first_MQ=self.first_MQ[own],
            second_MQ=self.second_MQ[own],
            steps_M=self.steps_M[own],
        )

    def collect_gradients(self, loss: Tensor, own: slice, *, add: bool = False) -> None:
        """Put the gradients of a scalar loss where `moments` has them, or add them there."""
        places = self.layout.views(self.scratch_MQ[own])
        leaves = self.leaves(own)
        gradients = torch.autograd.grad(loss, [leaves[name] for name in places])
        for place, gradient in zip(places.values(), gradients, strict=True):
            if add:
                place.add_(gradient)
            else:
                place.copy_(gradient)

    def unscale(self, own: slice, active_M: Tensor | None = None) -> Tensor:
        """Divide the gradients of some members by their loss scales; return which are finite."""
        gradient_MQ = self.scratch_MQ[own]
        return unscale_(gradient_MQ, self.loss_scale_M[own], self.clean_steps_M[own], active_M)

    def buffers(self, own: slice) -> Tensor:
        """Return what some members keep beside their parameters (running statistics): a view."""
        return self.weights_MP[own, self.layout.n_parameters :]

    def note_best(self, members: Sequence[int]) -> None:
        """Keep a copy of the state of the members named by number."""
        for member in members:  # row by row: an index would copy all of them once more
            self.best_MP[member].copy_(self.weights_MP[member])

    def keep(self, members: Tensor) -> None:
        """Drop all members but those named by number; they cost nothing from now on."""
        for name in _SAVED:
            compact_(getattr(self, name), members)
        self.n_members = len(members)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that a checkpoint must hold, by name."""
        return {name: getattr(self, name)[: self.n_members] for name in _SAVED}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over the tensors of a checkpoint, which may be of fewer members."""
        for name in _SAVED:
            self.n_members = len(tensors[name])
            getattr(self, name)[: self.n_members].copy_(tensors[name])
