"""Several processes, each with a device of its own, through lightning-fabric (DDP or FSDP2).

Every process computes its share of a batch's windows. It holds the whole model, and gradients are
added up while the backward pass of a step's last part still runs (DDP); or it holds a part of
every weight, gradient and moment, and gets a block's weights together when it computes the block
(FSDP2).
"""

import copy
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from walkforge.base import Precision, TrainingError
from walkforge.models import MarketGpt

from ._gpt_one_device import OneDevice
from ._gpt_ranks import Ranks

# The first step allocates gradients; only the second runs beside the optimiser's moments.
_STEPS_TO_TRUST = 2
# More than the first process needs to draw windows and to write a checkpoint.
_LONGEST_WAIT = timedelta(minutes=10)


class SeveralDevices:
    """This process's part of all processes, which have been started by somebody.

    Its methods are those of `Hardware`. A process that finds no memory while others wait for its
    gradients could not tell them. Hence the first steps of a training, and those after a batch was
    cut into smaller parts, compute gradients apart, ask everybody, and add up last. Later steps
    allocate what those did. A sharded model cannot be computed apart.
    """

    def __init__(self, kind: str, precision: Precision, ranks: Ranks, *, sharded: bool) -> None:
        self._fabric = _joined(kind, ranks, sharded=sharded)
        self.together = sharded
        self.device: torch.device = self._fabric.device
        self.precision = precision
        self.n_processes: int = self._fabric.world_size
        self.first: bool = self._fabric.is_global_zero
        self._one = OneDevice(self.device, precision)
        self._apart = 0 if sharded else _STEPS_TO_TRUST
        # Allocated now: there may be no memory for it when it is needed.
        self._failed = torch.zeros((), device=self.device)

    def share(self, n_windows: int) -> slice:
        each, more = divmod(n_windows, self.n_processes)
        rank = self._fabric.global_rank
        start = rank * each + min(rank, more)
        return slice(start, start + each + (rank < more))

    def wrapped(self, model: MarketGpt) -> tuple[nn.Module, MarketGpt]:
        if not self.together:
            with _unreached_left_out(model):
                return self._fabric.setup_module(model), model
        # What is sharded never becomes whole again. The whole model waits for its best weights
        # where it takes no memory of the device.
        learning = copy.deepcopy(model.cpu())
        self._make_alike(learning)
        return self._fabric.setup_module(learning), learning

    @torch.no_grad()
    def _make_alike(self, model: nn.Module) -> None:
        """Give all processes the first one's weights, as DDP does of itself."""
        for parameter in model.parameters():
            value = parameter.to(self.device, copy=True)
            torch.distributed.broadcast(value, src=0)
            parameter.copy_(value)

    def computing(self) -> AbstractContextManager:
        return self._one.computing()

    def accumulating(self, model: nn.Module, *, more: bool) -> AbstractContextManager:
        return self._fabric.no_backward_sync(model, enabled=more or self._apart > 0)

    def backward(self, loss: Tensor) -> None:
        # DDP averages over processes; a step's loss is a sum over them.
        self._one.backward(loss * self.n_processes)

    def agree(self, model: nn.Module, *, failed: bool) -> bool:
        if self._apart == 0:
            if failed:
                raise TrainingError(
                    f"out of memory on process {self._fabric.global_rank} while others wait for "
                    "it; go on from the last checkpoint with a smaller training.micro_windows"
                )
            return False
        self._failed.fill_(failed)
        if self.total(self._failed).item() > 0:
            self._apart = _STEPS_TO_TRUST
            return True
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.copy_(self.total(parameter.grad) / self.n_processes)
        self._apart -= 1
        return False

    def update(self, model: nn.Module, optimiser: Optimizer, clip_norm: float) -> None:
        self._one.update(model, optimiser, clip_norm)

    def total(self, values: Tensor) -> Tensor:
        return self._fabric.all_reduce(values.clone(), reduce_op="sum")

    def state(self) -> dict[str, Any]:
        return self._one.state()

    def restore(self, state: dict[str, Any]) -> None:
        self._one.restore(state)


@contextmanager
def others_reached() -> Iterator[None]:
    """Say in a line that a process has ended, or cannot be reached, on which others wait."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        raise TrainingError(
            "another process of this training has ended or cannot be reached; mend what it says "
            "and start all of them again, or go on with `walkforge resume`"
        ) from error


def _joined(kind: str, ranks: Ranks, *, sharded: bool) -> Any:
    """Return Fabric after this process has found the others; `kind` as in `torch.device.type`."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces each rank
    # Named, as Fabric would otherwise take a SLURM job's variables for those of its processes.
    external = TorchElasticEnvironment.detect()
    strategy: Any = DDPStrategy(gradient_as_bucket_view=True, timeout=_LONGEST_WAIT)
    if sharded:
        strategy = ModelParallelStrategy(
            _shard,
            data_parallel_size=ranks.n_processes,
            tensor_parallel_size=1,
            timeout=_LONGEST_WAIT,
        )
    fabric = Fabric(
        accelerator=kind,
        devices=ranks.devices,
        num_nodes=ranks.nodes,
        strategy=strategy,
        plugins=[TorchElasticEnvironment() if external else LightningEnvironment()],
    )
    fabric.launch()
    return fabric


def _shard(model: MarketGpt, mesh: Any) -> MarketGpt:
    """Share out each block, and what lies outside of the blocks, over all processes."""
    from torch.distributed.fsdp import fully_shard

    for part in (*model.blocks, model):
        fully_shard(part, mesh=mesh["data_parallel"])
    return model


@contextmanager
def _unreached_left_out(model: MarketGpt) -> Iterator[None]:
    """Wrap within: DDP would wait for gradients of what the loss of tokens does not reach.

    That is the direction head. It looks at this when it wraps, and never again.
    """
    unreached = [] if model.direction is None else list(model.direction.parameters())
    learned = [one for one in unreached if one.requires_grad]
    for one in learned:
        one.requires_grad_(False)
    try:
        yield
    finally:
        for one in learned:
            one.requires_grad_(True)
