"""How many processes train together, and whether this one is already one of them."""

import os
from dataclasses import dataclass

import torch

from walkforge.base import TrainingError

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
    def first(self) -> bool:
        """Return whether this process is the one of all that writes files and reports."""
        names = ("RANK", "LOCAL_RANK", "NODE_RANK") if self.n_processes > 1 else ()
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


def _started() -> Ranks | None:
    if "LOCAL_RANK" not in os.environ or "LOCAL_WORLD_SIZE" not in os.environ:
        return None
    world, local = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    return Ranks(local, world // local, started=True)


def _require_devices(devices: int, kind: str) -> None:
    there = {"cuda": torch.cuda.device_count(), "cpu": devices}.get(kind, 1)
    if devices > there:
        raise TrainingError(f"devices {devices}, but there are {there} here; ask for {there}")
