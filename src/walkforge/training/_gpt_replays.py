"""The gradients of a small model's whole batch, recorded as a CUDA graph and replayed.

Forward, loss and backward are one launch then instead of many hundred. Clipping and AdamW are few
launches, hence stay outside, and with them the learning rate and the loss scale of float16.

Shapes: B windows
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from walkforge.models import GptShape

from ._cuda_capture import Capture
from ._gpt_hardware import Hardware
from ._gpt_plan import GptPlan

# On CUDA the steps of models up to this width take longer to launch than to compute.
_WIDEST = 256
# Batches computed before recording, so that libraries and compiler have set themselves up.
_WARM_BATCHES = 3

Gradients = Callable[[Tensor, Tensor | int], Tensor]
"""Takes places_B5 and the number of targets that the loss is a mean over; adds the gradient to the
model's, and returns the sum of losses."""


def worth_recording(shape: GptShape, plan: GptPlan, on: Hardware) -> bool:
    """Return whether batches are to be recorded where they are computed whole.

    What processes tell each other on the way cannot be recorded, nor can gradient checkpointing,
    which asks the host for the random state.
    """
    alone = on.device.type == "cuda" and on.n_processes == 1
    return alone and shape.d_model <= _WIDEST and not plan.gradient_checkpointing


class Replays:
    """Computes batches of one size; after a few, by replaying a recording.

    The model must come without gradients. Draws of dropout follow from the device's seed as they
    do without a recording. Where recording fails it goes on without one, and says so.
    """

    def __init__(self, model: nn.Module, capture: Capture, note: Callable[[str], None]) -> None:
        self._learned = [one for one in model.parameters() if one.requires_grad]
        self._capture = capture
        self._note = note
        self._warm_batches = 0
        self._recording: _Recording | None = None

    def __call__(self, compute: Gradients, places_B5: Tensor, n_targets: int) -> Tensor:
        """Return what `compute` returns; it must be the same function at every call."""
        if self._recording is None:
            self._warm_batches += 1
            if self._warm_batches == _WARM_BATCHES + 1:
                self._record(compute, places_B5)
        if self._recording is None:
            return compute(places_B5, n_targets)
        return self._recording.replay(places_B5, n_targets)

    def _record(self, compute: Gradients, places_B5: Tensor) -> None:
        failed = ""
        try:
            self._recording = _Recording(compute, self._learned, places_B5, self._capture)
        except RuntimeError as error:
            failed = f"{error}".partition("\n")[0] or type(error).__name__
        if failed:  # the error is gone by now, and with it what it held
            self._clear_up(places_B5.device)
            self._note(f"warning: no CUDA graph of a batch ({failed}); going on without, slower")
        else:
            self._note("from here on a batch is one CUDA graph, as the model is small")

    def _clear_up(self, device: torch.device) -> None:
        """Leave nothing behind of a recording that failed."""
        for one in self._learned:
            one.grad = None
        if device.type == "cuda":
            # One that broke off leaves the generator's state in the belief that it goes on.
            generator = torch.cuda.default_generators[device.index]
            generator.graphsafe_set_state(generator.clone_state())


class _Recording:
    """One batch: memory that it reads, and memory that every replay writes."""

    def __init__(
        self, compute: Gradients, learned: list[nn.Parameter], places_B5: Tensor, capture: Capture
    ) -> None:
        self._learned = learned
        self._places_B5 = places_B5.clone()
        self._n_targets = torch.ones((), device=places_B5.device)
        self._loss_sum = torch.zeros((), device=places_B5.device)
        self._gradients: list[Tensor | None] = []
        self._replay = capture(lambda: self._compute(compute))

    def replay(self, places_B5: Tensor, n_targets: int) -> Tensor:
        """Leave the gradients in the model and return the sum of losses, until the next replay."""
        self._places_B5.copy_(places_B5)
        self._n_targets.fill_(n_targets)
        self._replay()
        for one, gradient in zip(self._learned, self._gradients, strict=True):
            one.grad = gradient
        return self._loss_sum

    def _compute(self, compute: Gradients) -> None:
        self._loss_sum = compute(self._places_B5, self._n_targets)
        self._gradients = [one.grad for one in self._learned]
