"""Dropout whose mask depends on a member's seed and its step, never on its neighbours.

A generator per member would draw M small masks a step. Here every place hashes its own number
together with the member's key: one pass over the pack, the same mask alone, packed, or in pieces
of a batch, and nothing to store for a resume.

Shapes: M members, L whatever lies between (time steps), B rows of a batch, D width
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Odd 64-bit multipliers of the splitmix64 finaliser (Steele, Lea and Flood 2014, "Fast splittable
# pseudorandom number generators"), as signed numbers; int64 products wrap on every device.
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
# One hash decides for this many neighbours, 16 bits each.
_PER_HASH = 4


@dataclass(frozen=True, slots=True)
class MemberDropout:
    """Zeroes a fraction `rate` of elements and scales the others by 1 / (1 - rate)."""

    rate: float
    keys_M: Tensor
    """One int64 per member, changed every step."""
    first_row: int = 0
    """Where these rows stand in their batch of `n_rows`: a batch in pieces keeps its mask."""
    n_rows: int | None = None
    """Rows of the whole batch; None where it is not in pieces."""

    def __call__(self, x: Tensor, layer: int) -> Tensor:
        """Return x [M, ..., B, D] with dropped elements; `layer` sets several masks apart."""
        if self.rate == 0.0:
            return x
        return torch.where(self._kept(x.shape, layer), x * (1.0 / (1.0 - self.rate)), 0.0)

    def _kept(self, shape: torch.Size, layer: int) -> Tensor:
        n_members, n_rows, width = shape[0], shape[-2], shape[-1]
        n_between = shape[1:-2].numel()
        blocks = -(-width // _PER_HASH)
        between_L11 = torch.arange(n_between, device=self.keys_M.device)[:, None, None]
        row_B1 = torch.arange(self.first_row, self.first_row + n_rows, device=self.keys_M.device)
        block_D = torch.arange(blocks, device=self.keys_M.device)
        place_LBD = between_L11 * (self.n_rows or n_rows) + row_B1[:, None]
        place_LBD = place_LBD * blocks + block_D
        keys = mix_bits_(self.keys_M + layer).view(n_members, 1, 1, 1)
        bits = mix_bits_(place_LBD ^ keys).view(torch.int16)[..., :width]
        return (bits >= round(self.rate * 2**16) - 2**15).view(shape)


def step_keys(seeds_M: Tensor, step_M: Tensor) -> Tensor:
    """Return each member's key for its own step number, int64."""
    return mix_bits_(seeds_M ^ mix_bits_(step_M + _GOLDEN))


def mix_bits_(x: Tensor) -> Tensor:
    """Scatter int64 in place so that any two numbers come out unlike; a bijection."""
    _fold_(x, 30)
    x *= _FIRST
    _fold_(x, 27)
    x *= _SECOND
    return _fold_(x, 31)


def _fold_(x: Tensor, bits: int) -> Tensor:
    """Fold the high bits onto the low ones; the mask keeps the sign from being shifted in."""
    x ^= (x >> bits).bitwise_and_(2 ** (64 - bits) - 1)
    return x
