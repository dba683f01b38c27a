"""AdamW over the flat state of a pack, with each member's own rate, decay, clip and step count.

Loshchilov and Hutter 2019, "Decoupled weight decay regularization"; the same numbers as
`torch.nn.utils.clip_grad_norm_` and `torch.optim.AdamW` give one member alone.

Shapes: M members, Q trained numbers of a member
"""

import torch
from torch import Tensor

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


def clip_gradients(gradient_MQ: Tensor, clip_norm: float) -> Tensor:
    """Scale each member's gradient to a norm of at most `clip_norm`; return the norms [M]."""
    norm_M1 = torch.linalg.vector_norm(gradient_MQ, dim=1, keepdim=True)
    gradient_MQ.mul_((clip_norm / (norm_M1 + 1e-6)).clamp(max=1.0))
    return norm_M1[:, 0]


def adamw_step(
    weights_MQ: Tensor,
    gradient_MQ: Tensor,
    *,
    first_MQ: Tensor,
    second_MQ: Tensor,
    steps_M: Tensor,
    rate_M: Tensor,
    decay_M: Tensor,
) -> None:
    """Update weights, both moments and the step counts in place."""
    steps_M.add_(1)
    rate_M1, steps_M1 = rate_M[:, None], steps_M[:, None]
    first_MQ.lerp_(gradient_MQ, 1 - _BETA_1)
    second_MQ.mul_(_BETA_2).addcmul_(gradient_MQ, gradient_MQ, value=1 - _BETA_2)
    weights_MQ.mul_(1 - rate_M1 * decay_M[:, None])
    step_size_M1 = rate_M1 / (1 - _BETA_1**steps_M1)
    root_correction_M1 = torch.sqrt(1 - _BETA_2**steps_M1)
    size_MQ = second_MQ.sqrt().div_(root_correction_M1).add_(_EPSILON)
    weights_MQ.sub_(torch.div(first_MQ, size_MQ, out=size_MQ).mul_(step_size_M1))
