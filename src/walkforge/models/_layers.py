"""Layers whose every parameter carries a leading member axis.

Shapes: M members, B rows, I inputs, O outputs, D width
"""

import torch
from torch import Tensor
from torch.nn import functional

from ._architecture import StateViews

_EPSILON = 1e-5  # as in nn.LayerNorm and nn.BatchNorm1d
_MOMENTUM = 0.1  # as in nn.BatchNorm1d


def packed_linear(state: StateViews, name: str, x_MBI: Tensor) -> Tensor:
    """Return x W' + b for every member, or x W' where the layer has no bias: [M, B, O]."""
    weight_MIO = state[f"{name}.weight"].transpose(1, 2)
    bias_MO = state.get(f"{name}.bias")
    if bias_MO is None:
        return torch.bmm(x_MBI, weight_MIO)
    return torch.baddbmm(bias_MO[:, None], x_MBI, weight_MIO)


def packed_layer_norm(state: StateViews, name: str, x_MBD: Tensor) -> Tensor:
    """Normalise every row over its width, then scale and shift by each member's numbers."""
    normal_MBD = functional.layer_norm(x_MBD, x_MBD.shape[-1:], eps=_EPSILON)
    return torch.addcmul(
        state[f"{name}.bias"][:, None], normal_MBD, state[f"{name}.weight"][:, None]
    )


def packed_batch_norm(state: StateViews, name: str, x_MBD: Tensor, *, training: bool) -> Tensor:
    """Normalise over the batch in training, by the running statistics of training otherwise."""
    running_mean_MD, running_var_MD = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    if training:
        var_MD, mean_MD = torch.var_mean(x_MBD, dim=1, correction=0)
        _follow(running_mean_MD, mean_MD)
        n_rows = x_MBD.shape[1]
        _follow(running_var_MD, var_MD * (n_rows / max(n_rows - 1, 1)))
    else:
        mean_MD, var_MD = running_mean_MD, running_var_MD
    scale_MD = state[f"{name}.weight"] * torch.rsqrt(var_MD + _EPSILON)
    return (x_MBD - mean_MD[:, None]) * scale_MD[:, None] + state[f"{name}.bias"][:, None]


def _follow(running_MD: Tensor, batch_MD: Tensor) -> None:
    with torch.no_grad():
        running_MD.lerp_(batch_MD.detach().to(running_MD.dtype), _MOMENTUM)
