"""Each member's own random order of its training rows, drawn on the device.

An order follows from its key alone: the same on every device, alone or in a pack, and nothing to
store for a resume.
"""

import torch
from torch import Tensor

from walkforge.models import mix_bits_

_PLACE = 0xFFFFFFFF


def draw_order(key: int, n_rows: int, n_places: int, device: torch.device) -> Tensor:
    """Return `n_places` row numbers, int64 (n_places,): every row once, then again from the start.

    Rows are sorted by hashes of their number; the number itself sits in the low bits, so that no
    two are equal and every sort agrees.
    """
    place = torch.arange(n_rows, device=device)
    hashed = mix_bits_(mix_bits_(place + 1) ^ key)
    order = _sorted(hashed.bitwise_and_(~_PLACE).bitwise_or_(place)).bitwise_and_(_PLACE)
    whole, rest = divmod(n_places, n_rows)
    return torch.cat([order] * whole + [order[:rest]]) if n_places != n_rows else order


def _sorted(x: Tensor) -> Tensor:
    if x.device.type == "cpu":  # NumPy's sort of integers is ten times as fast as torch's
        values = x.numpy()
        values.sort()
        return torch.from_numpy(values)
    return x.sort().values
