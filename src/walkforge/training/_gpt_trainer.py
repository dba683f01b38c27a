"""Trains a MarketGPT on a table of tokens, and goes on exactly where it was cut off.

trained = train_gpt(MarketGpt(shape).to(device), table, plan, seed=0, precision=precision)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from walkforge.base import Precision, TrainingError, digest_of_json
from walkforge.models import MarketGpt

from ._device import products_in
from ._gpt_checkpoint import GptCheckpoints
from ._gpt_devices import SeveralDevices, others_reached
from ._gpt_epoch import GptEpochs
from ._gpt_hardware import Hardware
from ._gpt_one_device import OneDevice
from ._gpt_optimiser import moments_of, restore_moments
from ._gpt_plan import GptPlan, warmup_of
from ._gpt_processes import in_processes
from ._gpt_ranks import find_ranks, require_shares
from ._gpt_speed import Roof
from ._gpt_whole import load_whole, whole
from ._heap import freed_memory_kept
from ._plan import TrainingPlan
from ._room import is_out_of_memory, let_go
from ._standing import Standing
from ._telemetry import Telemetry
from ._token_baselines import best_constant
from ._token_table import TokenTable
from ._watcher import Unwatched, Watcher

# May differ when a training goes on: they move no number but by rounding.
_FREE_TO_CHANGE = ("micro_windows", "gradient_checkpointing", "checkpoint_epochs")


@dataclass(frozen=True, slots=True, eq=False)
class TrainedGpt:
    """The weights of the best epoch, on the CPU, and how they came about."""

    state: dict[str, Tensor]
    best_epoch: int
    """Counted from 1; 0 means that no epoch had a finite validation loss, and first weights."""
    best_validation_loss: float
    train_loss_at_best: float
    history: list[dict[str, float]]
    """`train_loss` and `validation_loss` of every epoch, in nats a token."""


def train_gpt(
    model: MarketGpt,
    table: TokenTable,
    plan: GptPlan,
    *,
    seed: int,
    precision: Precision,
    name: str = "market",
    compiled: bool = False,
    watcher: Watcher | None = None,
    checkpoints: Path | None = None,
    devices: int = 1,
    nodes: int = 1,
    sharded: bool = False,
) -> TrainedGpt:
    """Train `model` from its present weights, on the device that it lies on.

    It learns the table's training targets and stops by its validation targets; tokens of later
    slices are never read. What does not require a gradient stays as it is. In the end the model
    holds the best weights, in evaluation mode. `name` stands in the reports.
    With the folder `checkpoints` the state is written there, and taken up from there; epochs after
    the last checkpoint are trained and reported again. Where memory does not suffice, fewer
    windows are computed at once; TrainingError where one does not fit, or where table and model do
    not belong together.
    With `devices` on each of so many `nodes` as many processes train together, each on its own
    device of the model's kind, whether they are started here or torchrun has started this one
    too. The first process alone writes and reports. With `sharded` each of them holds a part of
    the weights, gradients and moments.
    """
    _require_fit(model, table)
    watcher, device = watcher or Unwatched(), next(model.parameters()).device
    settings: dict[str, Any] = {
        "table": table,
        "plan": plan,
        "seed": seed,
        "name": name,
        "compiled": compiled,
    }
    kept = None if checkpoints is None else GptCheckpoints(checkpoints)
    ranks = find_ranks(devices, nodes, device.type)
    require_shares(plan, ranks, precision, sharded=sharded)
    if ranks.n_processes == 1:
        return _train(model, **settings, watcher=watcher, on=OneDevice(device, precision), to=kept)
    if ranks.started:
        with others_reached():
            on = SeveralDevices(device.type, precision, ranks, sharded=sharded)
            told = watcher if on.first else Unwatched()
            return _train(model, **settings, watcher=told, on=on, to=kept)
    trained = in_processes(
        train_gpt, model, ranks, watcher, **settings,
        precision=precision, checkpoints=checkpoints, sharded=sharded,
    )  # fmt: skip
    model.load_state_dict(trained.state)
    model.eval()
    return trained


def _train(
    model: MarketGpt,
    *,
    compiled: bool,
    watcher: Watcher,
    on: Hardware,
    to: GptCheckpoints | None,
    **settings: Any,
) -> TrainedGpt:
    """Train as this process of those that `on` knows."""
    apart = torch.random.fork_rng([on.device] if on.device.type == "cuda" else [])
    with _room_for(model, on.device), apart, freed_memory_kept(), products_in(on.precision):
        training = _Training(model, watcher=watcher, on=on, **settings)
        if compiled:
            watcher.note(training.epochs.steps.compile())
        return training.run(to)


class _Training:
    def __init__(
        self,
        model: MarketGpt,
        table: TokenTable,
        plan: GptPlan,
        *,
        seed: int,
        name: str,
        watcher: Watcher,
        on: Hardware,
    ) -> None:
        model.gradient_checkpointing = plan.gradient_checkpointing
        self.model, self.plan, self.watcher, self.on = model, plan, watcher, on
        self.who = {"name": name, "seed": seed}
        self.epochs = GptEpochs(model, table, plan, on=on, seed=seed, watcher=watcher)
        self.identity = _identity(model, table, plan, seed)
        self.constant_accuracy = _constant_accuracy(table)
        self.standing = Standing(TrainingPlan(epochs=plan.epochs, patience=plan.patience))
        self.best = _copied(self.epochs.learning)
        self.telemetry = Telemetry(on.device, note=watcher.note)
        self.roof = Roof(model.shape, on.device, on.precision, on.n_processes)

    @property
    def epoch(self) -> int:
        """Return how many epochs are over."""
        return len(self.standing.history)

    @property
    def done(self) -> bool:
        """Return whether training is over; weights that are not finite stay so."""
        history = self.standing.history
        return self.standing.done or bool(history and not isfinite(history[-1]["train_loss"]))

    def run(self, checkpoints: GptCheckpoints | None) -> TrainedGpt:
        """Train to the end, and leave the best weights in the model."""
        self._tell_plan()
        if checkpoints is not None:
            self._restore(checkpoints)
        self._require_one_start(checkpoints)
        while not self.done:
            report = self._run_epoch()
            # First the report, then the checkpoint: cut off between the two, the epoch is trained
            # and reported again, and the log misses nothing.
            self.watcher.epoch(report)
            if checkpoints is not None:
                self._save(checkpoints)
        self.model.to(self.on.device).load_state_dict(self.best)
        self.model.eval()
        return TrainedGpt(
            state=self.best,
            best_epoch=self.standing.best_epoch,
            best_validation_loss=self.standing.best["validation_loss"],
            train_loss_at_best=self.standing.best["train_loss"],
            history=self.standing.history,
        )

    def _tell_plan(self) -> None:
        plan, epochs = self.plan, self.epochs
        self.watcher.note(
            f"{epochs.windows.n_targets:,} training tokens, {epochs.n_steps:,} steps an epoch of "
            f"{plan.batch_windows} windows of {self.model.shape.context} tokens"
        )
        warmup = warmup_of(plan, epochs.n_steps_in_all)
        if warmup < plan.warmup_steps:
            self.watcher.note(
                f"the learning rate warms up over {warmup} steps, half of all, and not over "
                f"training.warmup_steps={plan.warmup_steps}"
            )

    def _run_epoch(self) -> dict[str, Any]:
        """Train one epoch and validate; return the report."""
        started = perf_counter()
        trained = self.epochs.train(self.epoch)
        trained_s = perf_counter() - started
        validation_loss, accuracy = self.epochs.validate()
        best = self.standing.note(trained.train_loss, validation_loss)
        if best:
            self.best = _copied(self.epochs.learning)
        if not isfinite(trained.train_loss):
            self.watcher.note(
                "warning: the training loss is not finite, so training ends here; set a lower "
                "training.learning_rate"
            )
        losses = {"train_loss": trained.train_loss, "validation_loss": validation_loss}
        seconds = perf_counter() - started
        return {
            "epoch": self.epoch,
            "epochs": self.plan.epochs,
            "members": [{**self.who, **losses, "best": best, "done": self.done}],
            "seconds": seconds,
            "rows_per_s": trained.n_targets / seconds,
            "loss": trained.train_loss,
            "accuracy": accuracy,
            "constant_accuracy": self.constant_accuracy,
            "learning_rate": trained.rate,
            "steps": self.epoch * self.epochs.n_steps,
            "micro_windows": self.epochs.steps.micro_windows,
            **self.roof.shares(trained.n_targets / trained_s),
            **self.telemetry.read(),
        }

    def _save(self, checkpoints: GptCheckpoints) -> None:
        is_best = self.standing.best_epoch == self.epoch
        if is_best and self.on.first:
            facts = {"epoch": self.epoch, **self.standing.best, "shape": asdict(self.model.shape)}
            checkpoints.write_best(self.best, facts)
        if self.epoch % self.plan.checkpoint_epochs and not self.done:
            return
        self.watcher.doing("writing the checkpoint")
        tensors = _under("model.", _whole_state(self.epochs.learning))
        tensors |= _under("moments.", moments_of(self.epochs.optimiser))
        tensors |= {} if is_best else _under("best.", self.best)
        plain = {
            "identity": self.identity,
            "history": self.standing.history,
            "micro_windows": self.epochs.steps.micro_windows,
            "device": self.on.state(),
        }
        if self.on.first:
            checkpoints.write(self.epoch, tensors, plain)

    def _restore(self, checkpoints: GptCheckpoints) -> None:
        """Go on from the newest checkpoint, if there is one."""
        saved = checkpoints.read_newest(self.identity, self.watcher.note)
        if saved is None:
            return
        tensors, plain = saved
        for losses in plain["history"]:
            self.standing.note(**losses)
        load_whole(self.epochs.learning, _from("model.", tensors))
        restore_moments(self.epochs.optimiser, _from("moments.", tensors))
        self.best = _from("best.", tensors) or _copied(self.epochs.learning)
        steps = self.epochs.steps
        steps.micro_windows = min(steps.micro_windows, plain["micro_windows"])
        self.on.restore(plain["device"])
        self.watcher.note(f"going on after epoch {self.epoch}")

    def _require_one_start(self, checkpoints: GptCheckpoints | None) -> None:
        """Raise TrainingError where other processes learn something else, or from another epoch.

        One that had later bars would teach what the first one is judged by.
        """
        own = torch.tensor([int(self.identity[:8], 16), self.epoch], dtype=torch.float64)
        every = self.on.total(own.to(self.on.device)).cpu()
        same = every == own * self.on.n_processes
        if not same[0]:
            raise TrainingError(
                "not all processes have the same study and bars; give every machine the same "
                "files, and start anew"
            )
        if not same[1]:
            where = "" if checkpoints is None else f"{checkpoints.folder}: "
            raise TrainingError(
                f"{where}not all processes find the same checkpoint there; it must be a folder "
                "that all machines share"
            )


@contextmanager
def _room_for(model: MarketGpt, device: torch.device) -> Iterator[None]:
    """Say in words that memory does not suffice for what no smaller part would help."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        let_go(error, device)
        millions = sum(one.numel() for one in model.parameters()) / 1e6
        raise TrainingError(
            f"not enough memory for the gradient and moments of {millions:.1f} million parameters "
            "and the table of tokens; use a smaller model"
        ) from None


def _require_fit(model: MarketGpt, table: TokenTable) -> None:
    """Raise TrainingError where the table names what the model has no row for."""
    shape, inside = model.shape, table.run_first >= 0
    for what, column, limit in (
        ("token", table.tokens, shape.vocabulary),
        ("asset", table.asset, shape.n_assets),
        ("category", table.category, shape.n_categories),
    ):
        found = column[inside]
        if len(found) and not (found.min() >= 0 and found.max() < limit):
            raise TrainingError(
                f"the table has {what} {int(found.max())} as its highest and {int(found.min())} as "
                f"its lowest; the model knows 0 to {limit - 1}"
            )


def _identity(model: MarketGpt, table: TokenTable, plan: GptPlan, seed: int) -> str:
    settings = {k: v for k, v in asdict(plan).items() if k not in _FREE_TO_CHANGE}
    learned = [[name, *one.shape] for name, one in model.named_parameters() if one.requires_grad]
    return digest_of_json([asdict(model.shape), settings, seed, learned, table.digest])


def _constant_accuracy(table: TokenTable) -> float:
    """Return how often the most frequent training token stands among the validation targets."""
    guess = best_constant(table.tokens, table.run_first, table.piece)
    return float((table.tokens[table.target_rows("validation")] == guess).mean())


def _copied(model: MarketGpt) -> dict[str, Tensor]:
    """Return the weights as they are now, on the CPU."""
    return {k: v.to("cpu", copy=True) for k, v in _whole_state(model).items()}


def _whole_state(model: MarketGpt) -> dict[str, Tensor]:
    return {k: whole(v.detach()) for k, v in model.state_dict().items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in tensors.items()}


def _from(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
