"""Loss scaling for float16, whose smallest gradients would be 0 and largest infinite.

Each member has its own scale: losses are multiplied by it before the backward pass, gradients
divided by it before they are clipped. A step whose gradients overflowed is left out for that
member, and its scale halved; after many steps without, it is doubled (Micikevicius et al. 2018,
"Mixed precision training"). The numbers are those of `torch.amp.GradScaler`.

Shapes: M members, B rows, Q trained numbers of a member
"""

import torch
from torch import Tensor

FIRST_SCALE = 2.0**16
_GROWTH, _BACK_OFF = 2.0, 0.5
_STEPS_TO_GROW = 2000
# A scale of 0 could never grow again.
_LEAST_SCALE = 2.0**-16


def scaled(loss_MB: Tensor, scale_M: Tensor) -> Tensor:
    """Return losses from which the backward pass makes scaled gradients."""
    return loss_MB * scale_M[:, None]


def unscale_(gradient_MQ: Tensor, scale_M: Tensor, clean_steps_M: Tensor) -> Tensor:
    """Divide gradients by their scale and move the scales, in place; return finite_M.

    `clean_steps_M` counts the steps since a scale last moved, float32. A member whose gradients
    are not finite must take no step.
    """
    gradient_MQ.div_(scale_M[:, None])
    # A sum is infinite or NaN where one number is; it costs one pass and no mask of Q numbers.
    finite_M = gradient_MQ.abs().sum(dim=1).isfinite()
    clean_steps_M.add_(1.0).mul_(finite_M)
    grows_M = clean_steps_M >= _STEPS_TO_GROW
    clean_steps_M.masked_fill_(grows_M, 0.0)
    factor_M = torch.where(finite_M, torch.where(grows_M, _GROWTH, 1.0), _BACK_OFF)
    scale_M.mul_(factor_M).clamp_(min=_LEAST_SCALE)
    return finite_M
