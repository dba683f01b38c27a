"""An epoch of a MarketGPT's training, and its validation.

Shapes: W windows, B windows of one process
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from walkforge.models import MarketGpt

from ._gpt_evaluate import Measuring
from ._gpt_hardware import Hardware
from ._gpt_optimiser import make_optimiser
from ._gpt_plan import GptPlan, rate_at
from ._gpt_step import GptSteps
from ._token_table import ResidentTokens, TokenTable, piece_number
from ._token_windows import TrainingWindows, covering_windows
from ._watcher import Watcher


@dataclass(frozen=True, slots=True)
class EpochDone:
    """What the steps of an epoch came to."""

    train_loss: float
    n_targets: int
    rate: float
    """Of the last step."""


class GptEpochs:
    """Takes the steps of any epoch, and measures the weights that there are."""

    def __init__(
        self,
        model: MarketGpt,
        table: TokenTable,
        plan: GptPlan,
        *,
        on: Hardware,
        seed: int,
        watcher: Watcher,
    ) -> None:
        context = model.shape.context
        self.windows = TrainingWindows(table, context=context, weights=plan.weights, seed=seed)
        per_step = plan.batch_windows * context
        self.n_steps = plan.steps_per_epoch or -(-self.windows.n_targets // per_step)
        """Of one epoch."""
        tokens = ResidentTokens.of(table, on.device)
        running, self.learning = on.wrapped(model)
        self.optimiser = make_optimiser(running, plan)
        self.steps = GptSteps(
            running,
            self.optimiser,
            tokens,
            plan,
            shape=model.shape,
            on=on,
            seed=seed,
            watcher=watcher,
        )
        self._validation = covering_windows(table, "validation", context)
        self._measuring = Measuring(self.learning, tokens, on, self.steps.micro_windows)
        self._plan, self._on, self._watcher = plan, on, watcher

    @property
    def n_steps_in_all(self) -> int:
        """Return the steps of all epochs together."""
        return self._plan.epochs * self.n_steps

    def train(self, epoch: int) -> EpochDone:
        """Take the steps of an epoch, counted from 0, and wait for the device."""
        plan, on = self._plan, self._on
        self._watcher.doing("drawing windows")
        drawn = self.windows.draw(epoch, self.n_steps * plan.batch_windows)
        places_W5 = torch.from_numpy(drawn.places_W5).to(on.device)
        own, rate = on.share(plan.batch_windows), 0.0
        self.learning.train()
        with self.steps.stream():
            self.steps.loss_sum.zero_()
            for number in range(self.n_steps):
                batch = slice(number * plan.batch_windows, (number + 1) * plan.batch_windows)
                step = epoch * self.n_steps + number
                rate = rate_at(plan, step, self.n_steps_in_all)
                n_targets = int(drawn.n_targets_W[batch].sum())
                self.steps.take(places_W5[batch][own], n_targets=n_targets, step=step, rate=rate)
                self._watcher.step(epoch + 1, number + 1, self.n_steps)
        self._watcher.doing("waiting for the device")
        n_targets = int(drawn.n_targets_W.sum())
        return EpochDone(on.total(self.steps.loss_sum).item() / n_targets, n_targets, rate)

    def validate(self) -> tuple[float, float]:
        """Return the mean loss and the share of hits over all validation targets."""
        self._watcher.doing("validating")
        sums = self._measuring.sums(self._own_validation(), piece_number("validation"))
        sums = self._on.total(sums)
        loss, hits = (sums / int(self._validation.n_targets_W.sum())).tolist()
        return loss, hits

    def _own_validation(self) -> Tensor:
        """Return places_B5 of this process's windows: as many as any other process has.

        Where there is one less, it is filled up with one that counts nothing.
        """
        n_windows = len(self._validation)
        places_W5 = torch.from_numpy(self._validation.places_W5)
        own_B5 = places_W5[self._on.share(n_windows)]
        if len(own_B5) * self._on.n_processes >= n_windows:
            return own_B5
        nothing_15 = places_W5[:1].clone()
        nothing_15[:, 1] = nothing_15[:, 2] + 1
        return torch.cat([own_B5, nothing_15])
