"""What the trainer of a MarketGPT asks of whatever it runs on."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from walkforge.base import Precision
from walkforge.models import MarketGpt


class Hardware(Protocol):
    """One device, or one process's part of several: each process computes a share of a batch."""

    device: torch.device
    """Of this process."""
    precision: Precision
    n_processes: int
    together: bool
    """Whether a forward pass is one of all processes, which none of them can take again alone."""
    first: bool
    """Whether this process is the one that writes files and reports."""

    def share(self, n_windows: int) -> slice:
        """Return which of so many windows this process computes; shares differ by one at most."""
        ...

    def wrapped(self, model: MarketGpt) -> tuple[nn.Module, MarketGpt]:
        """Return the model as it is to be called in training, and the one that learns by that."""
        ...

    def computing(self) -> AbstractContextManager:
        """Compute forward passes within in the precision of the products."""
        ...

    def accumulating(self, model: nn.Module, *, more: bool) -> AbstractContextManager:
        """Hold a forward and a backward pass; where `more` follow, gradients may wait for them."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of this process's part of the loss."""
        ...

    def agree(self, model: nn.Module, *, failed: bool) -> bool:
        """Return whether memory ran out anywhere; where not, gradients are the whole batch's."""
        ...

    def update(self, model: nn.Module, optimiser: Optimizer, clip_norm: float) -> None:
        """Clip the whole gradient and take the step; nothing waits for the device."""
        ...

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        ...

    def state(self) -> dict[str, Any]:
        """Return plain data from which the loss scale goes on."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        ...
