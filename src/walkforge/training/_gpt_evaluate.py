"""What a MarketGPT loses on every target of a slice, in evaluation mode.

Shapes: W and B windows, T inputs of a window, V vocabulary, K targets
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from walkforge.base import BoolArray, IntArray, Precision
from walkforge.models import MarketGpt

from ._device import products_in
from ._gpt_hardware import Hardware
from ._gpt_one_device import OneDevice
from ._room import FittingParts
from ._token_table import UNCOUNTED, ResidentTokens, TokenTable, piece_number
from ._token_windows import covering_windows

_WINDOWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True, eq=False)
class TokenLosses:
    """Every target of a slice once, in the order of the table's rows."""

    rows_K: IntArray
    losses_K: NDArray[np.float32]
    """-ln of the probability that the token had, in nats."""
    hits_K: BoolArray
    """Whether the token was the most likely one."""


def token_losses(
    model: MarketGpt,
    table: TokenTable,
    piece: str,
    *,
    precision: Precision,
    windows_at_once: int = _WINDOWS_AT_ONCE,
) -> TokenLosses:
    """Return losses and hits of one slice (`train`, `validation`, ...), on the model's device.

    Each target sees at least half a context of past, where its run has that much. The model keeps
    its mode. Raises TrainingError where the slice has no target, or one window does not fit.
    """
    device = next(model.parameters()).device
    measure = Measuring(
        model, ResidentTokens.of(table, device), OneDevice(device, precision), windows_at_once
    )
    windows = covering_windows(table, piece, model.shape.context)
    parts = [
        (loss_BT[counted_BT].cpu(), hit_BT[counted_BT].cpu())
        for loss_BT, hit_BT, counted_BT in measure.each(
            torch.from_numpy(windows.places_W5), piece_number(piece)
        )
    ]
    losses_K, hits_K = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return TokenLosses(table.target_rows(piece), losses_K, hits_K)


class Measuring:
    """Measures windows in evaluation mode, as many at once as memory allows."""

    def __init__(
        self, model: MarketGpt, tokens: ResidentTokens, on: Hardware, windows_at_once: int
    ) -> None:
        self._model = model
        self._tokens = tokens
        self._on = on
        self._parts = FittingParts(
            windows_at_once,
            on.device,
            f"not enough memory to measure one window of {model.shape.context} tokens; use a "
            "smaller model.context or model",
            alone=not on.together,
        )

    def sums(self, places_W5: Tensor, piece: int) -> Tensor:
        """Return the sum of losses and the number of hits (2,), float64."""
        sums = torch.zeros(2, dtype=torch.float64, device=self._on.device)
        for loss_BT, hit_BT, _ in self.each(places_W5, piece):
            sums += torch.stack([loss_BT.sum(dtype=torch.float64), hit_BT.sum()])
        return sums

    def each(self, places_W5: Tensor, piece: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Return loss_BT, hit_BT and counted_BT of the windows, some at a time.

        Where a target does not count, its loss is 0 and it is no hit.
        """

        def measure(part: slice) -> tuple[Tensor, Tensor, Tensor]:
            return self._measure(places_W5[part].to(self._on.device), piece)

        for _, found in self._parts.each(len(places_W5), measure):
            yield found

    @torch.no_grad()
    def _measure(self, part_B5: Tensor, piece: int) -> tuple[Tensor, Tensor, Tensor]:
        model = self._model
        inputs_BT, targets_BT = self._tokens.gather(part_B5, model.shape.context, piece)
        with evaluating(model), products_in(self._on.precision), self._on.computing():
            logits_BTV = model(inputs_BT, part_B5[:, 3], part_B5[:, 4]).float()
        loss = cross_entropy(
            logits_BTV.flatten(0, 1),
            targets_BT.flatten(),
            ignore_index=UNCOUNTED,
            reduction="none",
        )
        # A target that does not count is no token, hence never the most likely one.
        hit_BT = logits_BTV.argmax(dim=2) == targets_BT
        return loss.view_as(targets_BT), hit_BT, targets_BT != UNCOUNTED


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Keep a model in evaluation mode within."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
