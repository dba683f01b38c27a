"""Dropout of a user's own module, with a mask that depends on its member and step alone.

Shapes: B rows of a batch, I numbers of a row
"""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ._dropout import mix_bits_

# So many bits of a hash are held against the rate.
_BITS = 24


@dataclass(slots=True, eq=False)
class _Key:
    """Whose mask is drawn, and how many were drawn in this call."""

    member: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    first_row: int = 0
    n_masks: int = 0


class _KeyedDropout(nn.Module):
    """Zeroes a fraction of the numbers of every row and scales the others by 1 / (1 - rate)."""

    def __init__(self, rate: float, key: _Key) -> None:
        super().__init__()
        self.p = rate  # by the name of the layer that it stands in for
        self.key = key

    def forward(self, x: Tensor) -> Tensor:
        """Return x [B, ...] with dropped numbers."""
        if not self.training or self.p == 0.0:
            return x
        self.key.n_masks += 1
        return torch.where(self._kept(x), x / max(1.0 - self.p, 2.0**-_BITS), 0.0)

    def _kept(self, x: Tensor) -> Tensor:
        n_rows, n_numbers = x.shape[0], x.shape[1:].numel()
        row_B1 = self.key.first_row + torch.arange(n_rows, device=x.device)[:, None]
        place_BI = row_B1 * n_numbers + torch.arange(n_numbers, device=x.device)
        bits_BI = mix_bits_(place_BI ^ mix_bits_(self.key.member + self.key.n_masks))
        kept_BI = bits_BI.bitwise_and(2**_BITS - 1) >= round(self.p * 2**_BITS)
        return kept_BI.reshape(x.shape)


@dataclass(frozen=True, slots=True, eq=False)
class KeyedModule:
    """A copy of a module whose `nn.Dropout` layers drop by a key."""

    module: nn.Module
    key: _Key

    @classmethod
    def copy_of(
        cls, module: nn.Module, *, training: bool, device: torch.device | None = None
    ) -> "KeyedModule":
        """Return a copy, in training mode or not; `module` stays as it is."""
        key, own = _Key(), copy.deepcopy(module)
        for layer in list(own.modules()):
            for name, child in layer.named_children():
                if type(child) is nn.Dropout:
                    setattr(layer, name, _KeyedDropout(child.p, key))
        return cls(own.to(device).train(training), key)

    def begin(self, member: Tensor, first_row: int) -> None:
        """Begin a call for a member's key (), with rows that stand so far into their batch."""
        self.key.member, self.key.first_row, self.key.n_masks = member, first_row, 0
