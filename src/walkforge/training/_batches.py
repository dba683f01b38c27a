"""Which rows every member sees, step by step, on the device.

Shapes: M members, R rows, B rows in a batch
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from walkforge.base import derive_seed

from ._order import draw_order
from ._plan import Member


@dataclass(slots=True, eq=False)
class _OwnRows:
    """One member's training rows, int32 (n,), and their classes, int8 (n,), on the device."""

    rows: Tensor
    labels: Tensor
    random_seed: int


class Batches:
    """Training rows of all members, in a new order every epoch."""

    def __init__(
        self, members: Sequence[Member], batch_size: int, device: torch.device, *, spare_steps: int
    ) -> None:
        self.batch_size = batch_size
        self.steps = [steps_of(member, batch_size) for member in members]
        """Steps per epoch of every member."""
        self._own = [
            _OwnRows(
                torch.as_tensor(member.train_rows, dtype=torch.int32, device=device),
                torch.as_tensor(member.train_labels, device=device),
                member.random_seed,
            )
            for member in members
        ]
        # Steps beyond the last one are taken by a CUDA graph that holds several; they are masked.
        n_places = (max(self.steps) + spare_steps) * batch_size
        # Never row 0 of the table, whose window would begin above it: a step may read places that
        # have not been drawn, though it makes no use of them.
        first_M1 = torch.stack([own.rows[:1] for own in self._own])
        self.rows_MR = first_M1.repeat(1, n_places)
        self.labels_MR = torch.zeros_like(self.rows_MR, dtype=torch.int8)

    def draw(self, epoch: int) -> None:
        """Put every member's rows into its own random order of this epoch.

        The last batch of a member is filled up from the beginning of its order, so that every
        row is seen and all batches are whole.
        """
        n_places = self.rows_MR.shape[1]
        for m, own in enumerate(self._own):
            key = derive_seed(own.random_seed, "order", epoch)
            order = draw_order(key, len(own.rows), n_places, self.rows_MR.device)
            torch.index_select(own.rows, 0, order, out=self.rows_MR[m])
            torch.index_select(own.labels, 0, order, out=self.labels_MR[m])

    def batch(self, own: slice, step: int) -> tuple[Tensor, Tensor]:
        """Return rows and classes [M, B] of some members at a step of this epoch."""
        places = slice(step * self.batch_size, (step + 1) * self.batch_size)
        return self.rows_MR[own, places], self.labels_MR[own, places]

    def batch_at(self, own: slice, cursor: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same for a step number (1,) that lies on the device."""
        within_B = torch.arange(self.batch_size, device=cursor.device)
        places_B = cursor * self.batch_size + within_B
        return self.rows_MR[own].index_select(1, places_B), self.labels_MR[own].index_select(
            1, places_B
        )

    def active(self, own: slice, step: int) -> int:
        """Return how many of these members still have a batch at a step: the first ones."""
        return sum(n_steps > step for n_steps in self.steps[own])

    def keep(self, members: Sequence[int]) -> None:
        """Drop all members but those named by number."""
        self.steps = [self.steps[m] for m in members]
        self._own = [self._own[m] for m in members]


def steps_of(member: Member, batch_size: int) -> int:
    """Return a member's steps per epoch."""
    return -(-len(member.train_rows) // batch_size)
