"""Positions as turned pairs of numbers, so that a score knows distances and no places.

Su et al. 2021, "RoFormer: enhanced transformer with rotary position embedding".

Shapes: T positions, W width of a head, P pairs of numbers in a head (W / 2)
"""

import torch
from torch import Tensor

_LONGEST = 10_000.0  # the slowest pair turns by about 1 / _LONGEST a position, the fastest by 1

Turns = tuple[Tensor, Tensor]
"""Cosines and sines [T, W] of the angles that each pair is turned by at each position, once for
either number of it; sines are negative for the first."""


def rotary_turns(first: int, n_positions: int, head_width: int, like: Tensor) -> Turns:
    """Return the turns of positions `first`, `first` + 1, ...; float32, or the dtype of `like`
    where that is finer, on its device.

    They are computed at every pass, which costs next to nothing: a kept table would be rounded
    when a model is turned to 16 bits, and hold nothing after one is built on the meta device.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    place_T = torch.arange(first, first + n_positions, device=like.device, dtype=dtype)
    pair_P = torch.arange(0, head_width, 2, device=like.device, dtype=dtype) / head_width
    angle_TP = place_T[:, None] * _LONGEST**-pair_P
    cos_TP, sin_TP = angle_TP.cos(), angle_TP.sin()
    return torch.cat([cos_TP, cos_TP], dim=1), torch.cat([-sin_TP, sin_TP], dim=1)


def rotate(x: Tensor, turns: Turns) -> Tensor:
    """Return x [..., T, W] with number i and number i + W / 2 turned as a pair, in its dtype."""
    cos_TW, sin_TW = turns
    partner = x.roll(x.shape[-1] // 2, dims=-1)
    return torch.addcmul(x * cos_TW, partner, sin_TW).to(x.dtype)
