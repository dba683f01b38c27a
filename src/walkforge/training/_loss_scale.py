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


def unscale_(
    gradient_MQ: Tensor, scale_M: Tensor, clean_steps_M: Tensor, active_M: Tensor | None = None
) -> Tensor:
    """Divide gradients by their scale and move the scales, in place; return finite_M.

    The scales of members with `active_M` False stay as they are. `clean_steps_M` counts the steps
    since a scale last moved, float32. A member whose gradients are not finite must take no step.
    """
    gradient_MQ.div_(scale_M[:, None])
    # A sum is infinite or NaN where one number is; it costs one pass and no mask of Q numbers.
    finite_M = gradient_MQ.abs().sum(dim=1).isfinite()
    clean_M = (clean_steps_M + 1.0) * finite_M
    grows_M = clean_M >= _STEPS_TO_GROW
    factor_M = torch.where(finite_M, torch.where(grows_M, _GROWTH, 1.0), _BACK_OFF)
    moved_M = (scale_M * factor_M).clamp(min=_LEAST_SCALE)
    clean_M = clean_M.masked_fill(grows_M, 0.0)
    if active_M is not None:
        moved_M = torch.where(active_M, moved_M, scale_M)
        clean_M = torch.where(active_M, clean_M, clean_steps_M)
    scale_M.copy_(moved_M)
    clean_steps_M.copy_(clean_M)
    return finite_M
