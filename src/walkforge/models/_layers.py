"""Layers whose every parameter carries a leading member axis.

Shapes: M members, B rows, I inputs, O outputs, D width
"""

from typing import Any

import torch
from torch import Tensor

from ._architecture import StateViews
from ._uncompiled import uncompiled

_EPSILON = 1e-5  # as in nn.LayerNorm and nn.BatchNorm1d
_MOMENTUM = 0.1  # as in nn.BatchNorm1d


def packed_linear(state: StateViews, name: str, x_MBI: Tensor) -> Tensor:
    """Return x W' + b for every member, or x W' where the layer has no bias: [M, B, O]."""
    weight_MIO = state[f"{name}.weight"].transpose(1, 2)
    bias_MO = state.get(f"{name}.bias")
    if bias_MO is None:
        return torch.bmm(x_MBI, weight_MIO)
    return torch.baddbmm(bias_MO[:, None], x_MBI, weight_MIO)


def packed_layer_norm_relu(state: StateViews, name: str, x_MBD: Tensor) -> Tensor:
    """Normalise every row over its width, scale and shift by each member's numbers, then ReLU."""
    weight_M1D, bias_M1D = (state[f"{name}.{kind}"][:, None] for kind in ("weight", "bias"))
    return _LayerNormRelu.apply(x_MBD.float(), weight_M1D, bias_M1D)


class _LayerNormRelu(torch.autograd.Function):
    """What autograd would do in four steps with a new tensor each, with two tensors less.

    A member axis keeps PyTorch's own layer norm from scaling and shifting on the way.
    """

    @staticmethod
    def forward(ctx: Any, x_MBD: Tensor, weight_M1D: Tensor, bias_M1D: Tensor) -> Tensor:
        width = [x_MBD.shape[-1]]
        normal_MBD, mean, rstd = torch.native_layer_norm(x_MBD, width, None, None, _EPSILON)
        y_MBD = torch.addcmul(bias_M1D, normal_MBD, weight_M1D).relu_()
        ctx.save_for_backward(x_MBD, weight_M1D, normal_MBD, y_MBD, mean, rstd)
        return y_MBD

    @staticmethod
    def backward(ctx: Any, d_y_MBD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x_MBD, weight_M1D, normal_MBD, y_MBD, mean, rstd = ctx.saved_tensors
        d_MBD = torch.ops.aten.threshold_backward(d_y_MBD, y_MBD, 0)
        d_bias = d_MBD.sum(1, keepdim=True)
        d_weight = (normal_MBD * d_MBD).sum(1, keepdim=True)
        d_x, _, _ = torch.ops.aten.native_layer_norm_backward(
            d_MBD.mul_(weight_M1D), x_MBD, [x_MBD.shape[-1]], mean, rstd, None, None,
            [True, False, False],
        )  # fmt: skip
        return d_x, d_weight, d_bias


def packed_batch_norm(state: StateViews, name: str, x_MBD: Tensor, *, training: bool) -> Tensor:
    """Normalise over the batch in training, by the running statistics of training otherwise."""
    x_MBD = x_MBD.float()  # autocast leaves sums over the batch in bfloat16
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


@uncompiled  # a compiler refuses to write into a view of the flat state
def _follow(running_MD: Tensor, batch_MD: Tensor) -> None:
    with torch.no_grad():
        running_MD.lerp_(batch_MD.detach().to(running_MD.dtype), _MOMENTUM)
