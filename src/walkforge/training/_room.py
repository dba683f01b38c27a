"""How much is computed at once, and what happens when memory does not suffice."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

from walkforge.base import TrainingError
from walkforge.models import Architecture, Layout

Found = TypeVar("Found")

# What one step of a group of members may touch on a CPU: more falls out of its cache, less does
# not fill its cores. Measured with benchmarks/training.py.
_CPU_STEP_BYTES = 48 * 2**20
# An update reads and writes weights, gradient and two moments.
_BYTES_PER_PARAMETER = 16
# What PyTorch's plain RuntimeErrors say when the host, a CUDA graph or cuBLAS finds no memory.
_OUT_OF_MEMORY_WORDS = ("can't allocate memory", "CUDA error: out of memory", "ALLOC_FAILED")


def members_at_once(
    architecture: Architecture, batch_size: int, n_members: int, device: torch.device
) -> int:
    """Return how many members take their steps together: all on a GPU, few on a CPU."""
    if device.type == "cuda":
        return n_members
    per_member = 4 * batch_size * architecture.numbers_per_row()
    per_member += _BYTES_PER_PARAMETER * Layout.of(architecture).n_parameters
    return max(1, min(n_members, _CPU_STEP_BYTES // per_member))


def in_groups(own: slice, size: int) -> list[slice]:
    """Return slices of at most `size` members."""
    starts = range(own.start, own.stop, size)
    return [slice(start, min(start + size, own.stop)) for start in starts]


@dataclass(slots=True)
class FittingParts:
    """Goes through rows in parts, in smaller ones from then on where memory does not suffice."""

    at_once: int
    """Rows of a part at most."""
    device: torch.device
    too_little: str
    """What a TrainingError says where one row does not fit."""
    alone: bool = True
    """Whether a part can be tried again; others may compute it too, and would not know."""

    def each(self, n_rows: int, compute: Callable[[slice], Found]) -> Iterator[tuple[slice, Found]]:
        """Yield each part of so many rows and what `compute` made of it, in order."""
        start = 0
        while start < n_rows:
            part = slice(start, min(start + self.at_once, n_rows))
            try:
                found = compute(part)
            except Exception as error:
                if not (self.alone and is_out_of_memory(error)):
                    raise
                let_go(error, self.device)
                self._make_smaller(part.stop - part.start)
                continue
            yield part, found
            start = part.stop

    def _make_smaller(self, tried: int) -> None:
        if tried == 1:
            raise TrainingError(self.too_little)
        self.at_once = -(-tried // 2)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out, on a GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = str(error)
    return isinstance(error, RuntimeError) and any(w in words for w in _OUT_OF_MEMORY_WORDS)


def let_go(error: Exception, device: torch.device) -> None:
    """Let go of what a failed step holds, so that a smaller one finds room."""
    error.__traceback__ = None
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
