"""One process and one device."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from walkforge.base import Precision
from walkforge.models import MarketGpt


class OneDevice:
    """A device, the precision of its products, and the loss scale that float16 needs.

    Its methods are those of `Hardware`.
    """

    n_processes = 1
    together = False
    first = True

    def __init__(self, device: torch.device, precision: Precision) -> None:
        self.device = device
        self.precision = precision
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision.scales_losses)

    def share(self, n_windows: int) -> slice:
        return slice(0, n_windows)

    def wrapped(self, model: MarketGpt) -> tuple[nn.Module, MarketGpt]:
        return model, model

    def computing(self) -> AbstractContextManager:
        dtype = getattr(torch, self.precision.name)
        return torch.autocast(self.device.type, dtype, enabled=self.precision.autocast)

    def accumulating(self, model: nn.Module, *, more: bool) -> AbstractContextManager:
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        self._scaler.scale(loss).backward()

    def agree(self, model: nn.Module, *, failed: bool) -> bool:
        return failed

    def update(self, model: nn.Module, optimiser: Optimizer, clip_norm: float) -> None:
        self._scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        self._scaler.step(optimiser)
        self._scaler.update()

    def total(self, values: Tensor) -> Tensor:
        return values

    def state(self) -> dict[str, Any]:
        return self._scaler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        if state:
            self._scaler.load_state_dict(state)
