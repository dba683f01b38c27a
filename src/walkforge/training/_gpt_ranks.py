"""How many processes train together, and whether this one is already one of them."""

import os
from dataclasses import dataclass

import torch

from walkforge.base import Precision, TrainingError

from ._gpt_plan import GptPlan

_OF_A_NODE = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


@dataclass(frozen=True, slots=True)
class Ranks:
    """So many devices on each of so many machines, one process for each device."""

    devices: int
    nodes: int
    started: bool
    """Whether this process is one of them: by torchrun, or by `in_processes`."""

    @property
    def n_processes(self) -> int:
        """Return how many there are on all nodes together."""
        return self.devices * self.nodes

    @property
    def started_elsewhere(self) -> bool:
        """Return whether not all of them are this process's own children."""
        return self.started or self.nodes > 1

    @property
    def first(self) -> bool:
        """Return whether this process is the one of all that writes files and reports."""
        return self.n_processes == 1 or launched_first()


def launched_first() -> bool:
    """Return whether whoever started this process calls it the first of all, or the only one."""
    names = ("RANK", "LOCAL_RANK", "NODE_RANK")
    return all(int(os.environ.get(name, "0")) == 0 for name in names)


def find_ranks(devices: int, nodes: int, kind: str) -> Ranks:
    """Return who trains together; torchrun's variables say so where it has started this process.

    `kind` is of a device, as in `torch.device.type`. Raises TrainingError where what was asked for
    cannot be: other numbers than torchrun's, more devices than there are, a machine that does not
    know its number or where the first one is.
    """
    for name, value in (("devices", devices), ("nodes", nodes)):
        if value < 1:
            raise TrainingError(f"{name} is {value}; it must be at least 1")
    found = _started()
    if found is not None:
        if (devices, nodes) not in ((1, 1), (found.devices, found.nodes)):
            raise TrainingError(
                f"devices {devices}, nodes {nodes}, but torchrun started {found.devices} "
                f"processes on each of {found.nodes} nodes; leave both out under torchrun"
            )
        return found
    _require_devices(devices, kind)
    missing = [name for name in _OF_A_NODE if name not in os.environ]
    if nodes > 1 and missing:
        raise TrainingError(
            f"nodes {nodes}, but {', '.join(missing)} not set; start the same command on every "
            "node with all three, or use torchrun"
        )
    return Ranks(devices, nodes, started=False)


def require_shares(plan: GptPlan, ranks: Ranks, precision: Precision, *, sharded: bool) -> None:
    """Raise TrainingError where a batch cannot be shared out, or a model in this precision."""
    n_processes = ranks.n_processes
    if sharded and n_processes == 1:
        raise TrainingError("a model is sharded over several devices; ask for at least 2")
    if sharded and plan.batch_windows % n_processes:
        raise TrainingError(
            f"training.batch_windows is {plan.batch_windows}; a sharded model needs shares of one "
            f"size, hence a multiple of {n_processes}"
        )
    if sharded and precision.scales_losses:
        raise TrainingError("a sharded model trains in bfloat16 or float32, not in float16")
    if plan.batch_windows < n_processes:
        raise TrainingError(
            f"training.batch_windows is {plan.batch_windows}, too few for {n_processes} devices; "
            "it must be at least one for each"
        )


def _started() -> Ranks | None:
    if "LOCAL_RANK" not in os.environ or "LOCAL_WORLD_SIZE" not in os.environ:
        return None
    world, local = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    return Ranks(local, world // local, started=True)


def _require_devices(devices: int, kind: str) -> None:
    there = {"cuda": torch.cuda.device_count(), "cpu": devices}.get(kind, 1)
    if devices > there:
        raise TrainingError(f"devices {devices}, but there are {there} here; ask for {there}")
