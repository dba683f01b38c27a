"""Dropout whose mask depends on a member's seed and its step, never on its neighbours.

A generator per member would draw M small masks a step. Here every element hashes its own
position together with the member's key: one pass over the pack, the same mask alone or packed,
and nothing to store for a resume.

Shapes: M members
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Odd 32-bit multipliers with well-mixed bits, from the `lowbias32` integer hash (C. Wellons, 2018).
_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class MemberDropout:
    """Zeroes a fraction `rate` of elements and scales the others by 1 / (1 - rate)."""

    rate: float
    keys_M: Tensor
    """One int64 in [0, 2**32) per member, changed every step."""

    def __call__(self, x_MBD: Tensor, layer: int) -> Tensor:
        """Return x with dropped elements; `layer` sets the masks of several layers apart."""
        if self.rate == 0.0:
            return x_MBD
        per_member = x_MBD[0].numel()
        place = torch.arange(per_member, device=x_MBD.device)
        keys_M1 = _hash((self.keys_M + layer * 0x9E3779B9) & _MASK)[:, None]
        bits = _hash(place[None] ^ keys_M1)
        kept = bits >= int(self.rate * (_MASK + 1))
        return x_MBD * kept.view_as(x_MBD) * (1.0 / (1.0 - self.rate))


def step_keys(seeds_M: Tensor, step_M: Tensor) -> Tensor:
    """Return each member's key for its own step number: int64 in [0, 2**32)."""
    return _hash((seeds_M ^ _hash(step_M & _MASK)) & _MASK)


def _hash(x: Tensor) -> Tensor:
    """Mix 32 bits held in int64; the products wrap below 2**63, the mask keeps the low half."""
    x = x ^ (x >> 16)
    x = (x * _FIRST) & _MASK
    x = x ^ (x >> 15)
    x = (x * _SECOND) & _MASK
    return x ^ (x >> 16)
