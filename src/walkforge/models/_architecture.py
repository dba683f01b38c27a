"""What every packed model offers, and how its state lies in one flat tensor.

The state of a pack is one tensor `[M, P]`: row m holds all parameters of member m, then its
buffers (the running statistics of batch normalisation). Optimiser, clipping, snapshots and
compaction then are a few operations on whole tensors, and members cannot touch each other.

Shapes: M members, B rows in a batch, T bars in the window, F features, C classes, P numbers
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor, nn

from ._dropout import MemberDropout

StateViews = Mapping[str, Tensor]


class Architecture(Protocol):
    """One shape of network; frozen, comparable, and without any numbers of its own."""

    def __hash__(self) -> int:
        """Return the same for equal shapes."""
        ...

    def twin(self) -> nn.Module:
        """Return the ordinary module of one member: [B, T, F] to logits [B, C]."""
        ...

    def forward(
        self, state: StateViews, x_MBTF: Tensor, *, dropout: MemberDropout | None
    ) -> Tensor:
        """Return logits_MBC; `dropout` is given in training and None in prediction."""
        ...

    def bars_in_a_row(self) -> int:
        """Return how many bars it walks through one after the other; 1 where all go at once."""
        ...

    def numbers_per_row(self) -> int:
        """Return about how many numbers a prediction of one row holds at once."""
        ...


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each named tensor of one member lies in its row of the flat state."""

    shapes: dict[str, tuple[int, ...]]
    offsets: dict[str, int]
    n_parameters: int
    """Numbers that are trained; they come first."""
    n_numbers: int
    """Parameters and buffers together: the length P of a row."""

    @staticmethod
    def of(architecture: Architecture) -> "Layout":
        """Return the layout of an architecture's twin, parameters before buffers."""
        return _layout_of(architecture)

    @property
    def parameter_names(self) -> list[str]:
        """Return the names of what is trained."""
        return [name for name, _, _ in self._places(self.n_parameters)]

    def views(self, flat_MP: Tensor) -> dict[str, Tensor]:
        """Return every named tensor as a view `[M, *shape]` into the flat state."""
        n_members = flat_MP.shape[0]
        return {
            name: flat_MP[:, place : place + _count(shape)].view(n_members, *shape)
            for name, shape, place in self._places(flat_MP.shape[1])
        }

    def flatten(self, states: list[dict[str, Tensor]]) -> Tensor:
        """Return the flat state [M, P] of members given as named tensors."""
        rows = [torch.cat([state[name].reshape(-1) for name in self.shapes]) for state in states]
        return torch.stack(rows)

    def member(self, flat_MP: Tensor, index: int) -> dict[str, Tensor]:
        """Return a true copy of one member's named tensors, on the CPU."""
        row = flat_MP[index : index + 1].detach().cpu().clone()
        return {name: view[0].clone() for name, view in self.views(row).items()}

    def _places(self, n_numbers: int) -> list[tuple[str, tuple[int, ...], int]]:
        """Return name, shape, offset of all tensors within the first `n_numbers` of a row."""
        return [
            (name, shape, self.offsets[name])
            for name, shape in self.shapes.items()
            if self.offsets[name] + _count(shape) <= n_numbers
        ]


@lru_cache(maxsize=64)  # a twin draws all its first numbers, which costs more than a prediction
def _layout_of(architecture: Architecture) -> Layout:
    twin = architecture.twin()
    trained = dict(twin.named_parameters())
    stored = twin.state_dict()  # less what a module makes anew each time, as positions
    kept = {n: b for n, b in twin.named_buffers() if b.is_floating_point() and n in stored}
    shapes, offsets, place = {}, {}, 0
    for name, tensor in [*trained.items(), *kept.items()]:
        shapes[name], offsets[name] = tuple(tensor.shape), place
        place += tensor.numel()
    n_parameters = sum(tensor.numel() for tensor in trained.values())
    return Layout(shapes, offsets, n_parameters, place)


def compact_(rows_M: Tensor, kept: Tensor) -> None:
    """Move the rows named by number to the front, in this order, where they are.

    In place, so that what holds on to the memory (a CUDA graph) stays right.
    """
    rows_M[: len(kept)] = rows_M[kept]


def initial_state(architecture: Architecture, seed: int) -> dict[str, Tensor]:
    """Return fresh named tensors of one member, drawn by its own seed as PyTorch draws them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = architecture.twin()
    state = twin.state_dict()
    return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}


def extract_twin(architecture: Architecture, state: StateViews) -> nn.Module:
    """Return one member as an ordinary module in evaluation mode, holding copies of `state`."""
    twin = architecture.twin()
    whole = twin.state_dict()
    whole.update({name: tensor.clone() for name, tensor in state.items()})
    twin.load_state_dict(whole)
    return twin.eval()


def _count(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
