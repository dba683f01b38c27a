"""Convolution over the bars of a window, packed.

Shapes: M members, T bars, B rows, I channels in, O channels out, K bars of the kernel
"""

import torch
from torch import Tensor
from torch.nn import functional

from ._architecture import StateViews


def packed_convolution(state: StateViews, name: str, x_MTBI: Tensor) -> Tensor:
    """Return what the `nn.Conv1d` at `name` does to every window: [M, T, B, O].

    The kernel is odd and zeros stand before and after the window, so that bars stay where they are.
    """
    M, T, B, I = x_MTBI.shape  # noqa: E741
    weight_MOIK = state[f"{name}.weight"]
    O, K = weight_MOIK.shape[1], weight_MOIK.shape[3]  # noqa: E741
    padded = functional.pad(x_MTBI, (0, 0, 0, 0, K // 2, K // 2))
    # What a kernel sees, side by side: one product as deep as the kernel. A product per bar of the
    # kernel would need no copy, but round K sums in 16 bits and start K times on a GPU.
    seen_MTBX = torch.cat([padded[:, k : k + T] for k in range(K)], dim=-1)
    weight_MXO = weight_MOIK.permute(0, 3, 2, 1).reshape(M, K * I, O)
    bias_M1O = state[f"{name}.bias"][:, None]
    return torch.baddbmm(bias_M1O, seen_MTBX.flatten(1, 2), weight_MXO).view(M, T, B, O)
