"""Whole tensors of a model whose processes hold a part of each, and back.

What is not shared out is whole already.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def whole(tensor: Tensor) -> Tensor:
    """Return the tensor itself, or what all processes hold of it together, on the CPU.

    All processes must ask for the same tensors in the same order.
    """
    return tensor.full_tensor().cpu() if hasattr(tensor, "full_tensor") else tensor


def shared_out_as(like: Tensor, tensor: Tensor) -> Tensor:
    """Return this process's part of a whole tensor, where `like` is one process's part."""
    if not hasattr(like, "full_tensor"):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


@torch.no_grad()
def load_whole(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take over whole weights, by the names of `model.state_dict()`."""
    for name, mine in model.state_dict().items():
        mine.copy_(shared_out_as(mine, state[name]))
