"""AdamW over the flat state of a pack, with each member's own rate, decay, clip and step count.

Loshchilov and Hutter 2019, "Decoupled weight decay regularization"; the same numbers as
`torch.nn.utils.clip_grad_norm_` and `torch.optim.AdamW` give one member alone. There are two
ways, each the fastest on its device: a CPU passes once over each member's row, which its cache
can hold; a GPU makes a few passes over all rows at once, with nothing decided on the host.

Shapes: M members, Q trained numbers of a member
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
_NORM_EPSILON = 1e-6  # as in clip_grad_norm_


@dataclass(frozen=True, slots=True)
class Moments:
    """What an update reads and writes, in place; row m of everything belongs to member m."""

    weights_MQ: Tensor
    gradient_MQ: Tensor
    """Scratch afterwards."""
    first_MQ: Tensor
    second_MQ: Tensor
    steps_M: Tensor
    """Updates made so far, float32."""


def adamw_by_rows(
    moments: Moments,
    *,
    rates: Sequence[float],
    decays: Sequence[float],
    clip_norm: float,
    active_M: Tensor | None = None,
) -> None:
    """Clip and update one member after the other: `rates` (M,) and `decays` (M,) are plain.

    Members with `active_M` False stay as they are.
    """
    active = [True] * len(rates) if active_M is None else active_M.tolist()
    moments.steps_M.add_(1 if active_M is None else active_M)
    gradients = moments.gradient_MQ.unbind(0)
    # Row by row: a norm over all rows at once would round differently in packs of other sizes.
    norm_M = torch.stack(torch._foreach_norm(gradients))
    shrink_M = norm_M.add_(_NORM_EPSILON).div_(clip_norm).clamp_(min=1.0)
    rows = zip(
        moments.weights_MQ.unbind(0),
        gradients,
        moments.first_MQ.unbind(0),
        moments.second_MQ.unbind(0),
        moments.steps_M.unbind(0),
        shrink_M.unbind(0),
        rates,
        decays,
        active,
        strict=True,
    )
    for weights, gradient, first, second, steps, shrink, rate, decay, updated in rows:
        if not updated:
            continue
        torch._fused_adamw_(
            [weights],
            [gradient],
            [first],
            [second],
            [],
            [steps],
            lr=rate,
            beta1=_BETA_1,
            beta2=_BETA_2,
            weight_decay=decay,
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
            grad_scale=shrink,
        )


def adamw_at_once(
    moments: Moments, *, rate_M: Tensor, decay_M: Tensor, active_M: Tensor, clip_norm: float
) -> None:
    """Clip and update all members at once; those with `active_M` False stay as they are."""
    weights_MQ, gradient_MQ = moments.weights_MQ, moments.gradient_MQ
    # Weights of 0 would not do: 0 times infinity is NaN.
    gradient_MQ.masked_fill_(~active_M[:, None], 0.0)
    active_M1 = active_M[:, None].float()
    rate_M1 = rate_M[:, None] * active_M1
    steps_M1 = moments.steps_M.add_(active_M1[:, 0])[:, None].clamp(min=1.0)
    norm_M1 = torch.linalg.vector_norm(gradient_MQ, dim=1, keepdim=True)
    gradient_MQ.mul_((clip_norm / (norm_M1 + _NORM_EPSILON)).clamp(max=1.0))
    moments.first_MQ.lerp_(gradient_MQ, (1 - _BETA_1) * active_M1)
    moments.second_MQ.lerp_(gradient_MQ.square_(), (1 - _BETA_2) * active_M1)
    weights_MQ.mul_(1 - rate_M1 * decay_M[:, None])
    # 1 - beta^n by expm1: float32 would lose half its digits in the subtraction.
    step_size_M1 = -rate_M1 / torch.expm1(steps_M1 * math.log(_BETA_1))
    root_correction_M1 = torch.sqrt(-torch.expm1(steps_M1 * math.log(_BETA_2)))
    size_MQ = torch.sqrt(moments.second_MQ, out=gradient_MQ)
    size_MQ.div_(root_correction_M1).add_(_EPSILON)
    weights_MQ.sub_(torch.div(moments.first_MQ, size_MQ, out=size_MQ).mul_(step_size_M1))
