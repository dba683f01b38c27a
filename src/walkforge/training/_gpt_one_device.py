"""One process and one device: all that the trainer asks of whatever it runs on.

Whoever runs it on several devices offers the same: a share of the windows, a model and an
optimiser in wraps of its own, gradients and numbers added up over all processes.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from walkforge.base import Precision


class OneDevice:
    """A device, the precision of its products, and the loss scale that float16 needs."""

    def __init__(self, device: torch.device, precision: Precision) -> None:
        self.device = device
        self.precision = precision
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision.scales_losses)

    def share(self, n_windows: int) -> slice:
        """Return which of so many windows this process computes."""
        return slice(0, n_windows)

    def wrapped(self, model: nn.Module) -> nn.Module:
        """Return the model as it is to be called."""
        return model

    def wrapped_optimiser(self, optimiser: Optimizer) -> Optimizer:
        """Return the optimiser as it is to be stepped."""
        return optimiser

    def computing(self) -> AbstractContextManager:
        """Compute forward passes within in the precision of the products."""
        dtype = getattr(torch, self.precision.name)
        return torch.autocast(self.device.type, dtype, enabled=self.precision.autocast)

    def accumulating(self, model: nn.Module, *, more: bool) -> AbstractContextManager:
        """Hold a forward and a backward pass; where `more` follow, gradients may wait for them."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of this process's part of the loss."""
        self._scaler.scale(loss).backward()

    def update(self, model: nn.Module, optimiser: Optimizer, clip_norm: float) -> None:
        """Clip the whole gradient and take the step; nothing waits for the device."""
        self._scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        self._scaler.step(optimiser)
        self._scaler.update()

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        return values

    def state(self) -> dict[str, Any]:
        """Return plain data from which the loss scale goes on."""
        return self._scaler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        if state:
            self._scaler.load_state_dict(state)
