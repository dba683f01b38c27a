"""One step of a MarketGPT: gather, forward, loss, backward in parts, clip, AdamW.

The loss of a step is the mean over all targets of its global batch, however many parts and
processes compute it.

Shapes: B windows, T inputs of a window, V vocabulary
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from walkforge.base import TrainingError, derive_seed
from walkforge.models import GptShape

from ._cuda_capture import CudaCapture
from ._device import own_stream
from ._gpt_hardware import Hardware
from ._gpt_plan import GptPlan
from ._gpt_replays import Replays, worth_recording
from ._room import is_out_of_memory, let_go
from ._token_table import UNCOUNTED, ResidentTokens, piece_number
from ._watcher import Watcher

_TRAIN = piece_number("train")


class GptSteps:
    """Takes steps; `micro_windows` windows at most are computed at once."""

    def __init__(
        self,
        model: nn.Module,
        optimiser: Optimizer,
        tokens: ResidentTokens,
        plan: GptPlan,
        *,
        shape: GptShape,
        on: Hardware,
        seed: int,
        watcher: Watcher,
    ) -> None:
        self.model = model
        self.micro_windows = plan.micro_windows or plan.batch_windows
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=on.device)
        """Of all targets of the steps taken since somebody last set it to 0."""
        self._optimiser = optimiser
        self._tokens = tokens
        self._plan = plan
        self._shape = shape
        self._on = on
        self._seed = seed
        self._watcher = watcher
        self._compute_loss: Callable[..., Tensor] = _loss_sum
        self._replays: Replays | None = None
        if worth_recording(shape, plan, on):
            self._replays = Replays(model, CudaCapture(), watcher.note)

    def compile(self) -> str:
        """Fuse what lies between the products from now on; return what was done, in words."""
        self._compute_loss = torch.compile(_loss_sum, dynamic=False)
        return "steps are compiled"

    def stream(self) -> AbstractContextManager:
        """Hold all steps of an epoch: recording is not possible on CUDA's default stream."""
        return nullcontext() if self._replays is None else own_stream(self._on.device)

    def take(self, places_B5: Tensor, *, n_targets: int, step: int, rate: float) -> None:
        """Take the step `step`, counted from 0, over this process's windows of the global batch.

        `n_targets` are those of the global batch. Where memory does not suffice it is taken in
        smaller parts; raises TrainingError where one window does not fit.
        """
        loss_sum = self._gradients(places_B5, n_targets, step)
        self.loss_sum += loss_sum
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._on.update(self.model, self._optimiser, self._plan.clip_norm)
        self._forget_gradients()

    def _gradients(self, places_B5: Tensor, n_targets: int, step: int) -> Tensor:
        """Leave the gradients of the windows in the model; return the sum of their losses."""
        while True:
            loss_sum = self._gradients_if_they_fit(places_B5, n_targets, step)
            if not self._on.agree(self.model, failed=loss_sum is None):
                assert loss_sum is not None
                return loss_sum
            self._forget_gradients()
            self._make_smaller()

    def _gradients_if_they_fit(self, places_B5: Tensor, n_targets: int, step: int) -> Tensor | None:
        try:
            return self._gradients_in_parts(places_B5, n_targets, step)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._forget_gradients()
            let_go(error, self._on.device)
            return None

    def _gradients_in_parts(self, places_B5: Tensor, n_targets: int, step: int) -> Tensor:
        loss_sum = torch.zeros_like(self.loss_sum)
        for slot, part_B5, more in self._parts(places_B5):
            # The draws of dropout follow from the step and the place in the global batch, so that
            # a resume needs no random state, and a part tried again draws the same.
            torch.manual_seed(derive_seed(self._seed, "dropout", step, slot))
            with self._on.accumulating(self.model, more=more):
                if self._replays is not None and len(part_B5) == self._plan.batch_windows:
                    loss_sum += self._replays(self._part_gradients, part_B5, n_targets)
                else:
                    loss_sum += self._part_gradients(part_B5, n_targets)
        return loss_sum

    def _part_gradients(self, part_B5: Tensor, n_targets: Tensor | int) -> Tensor:
        inputs_BT, targets_BT = self._tokens.gather(part_B5, self._shape.context, _TRAIN)
        with self._on.computing():
            loss_sum = self._compute_loss(
                self.model, inputs_BT, part_B5[:, 3], part_B5[:, 4], targets_BT
            )
        self._on.backward(loss_sum / n_targets)
        return loss_sum.detach()

    def _parts(self, places_B5: Tensor) -> Iterator[tuple[int, Tensor, bool]]:
        """Return parts of about one size, where each begins in the global batch, and if not last.

        Parts of one size need one compiled program.
        """
        n_parts = -(-len(places_B5) // self.micro_windows)
        slot = self._on.share(self._plan.batch_windows).start
        for number, part_B5 in enumerate(places_B5.tensor_split(n_parts)):
            yield slot, part_B5, number + 1 < n_parts
            slot += len(part_B5)

    def _make_smaller(self) -> None:
        """Compute fewer of a step's windows at once from now on: all processes as many."""
        plan = self._plan
        tried = min(self.micro_windows, -(-plan.batch_windows // self._on.n_processes))
        if tried == 1:
            first = "" if plan.gradient_checkpointing else "training.gradient_checkpointing=true, "
            raise TrainingError(
                f"not enough memory for one window of {self._shape.context} tokens; set "
                f"{first}a smaller model.context or a smaller model"
            )
        self.micro_windows = -(-tried // 2)
        self._replays = None  # they are of whole batches, and hold memory
        self._watcher.note(
            f"warning: out of memory with {tried} windows at once; going on with "
            f"{self.micro_windows} and more accumulation: still {plan.batch_windows} a step, which "
            "changes numbers by rounding and the draws of dropout only"
        )

    def _forget_gradients(self) -> None:
        self._optimiser.zero_grad(set_to_none=True)


def _loss_sum(
    model: nn.Module,
    inputs_BT: Tensor,
    assets_B: Tensor,
    categories_B: Tensor,
    targets_BT: Tensor,
) -> Tensor:
    logits_BTV = model(inputs_BT, assets_B, categories_B)
    return cross_entropy(
        logits_BTV.flatten(0, 1).float(),
        targets_BT.flatten(),
        ignore_index=UNCOUNTED,
        reduction="sum",
    )
