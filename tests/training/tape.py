"""Records work as a CUDA graph does, on the CPU: operations with their very tensors, no Python.

What would be re-allocated, re-read or decided by Python between recording and replay shows here as
it would on a GPU: the tape goes on with the old memory.
"""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Tape(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        for operation, args, kwargs, result in self.operations:
            again = operation(*args, **kwargs)
            for old, new in zip(_leaves(result), _leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def _leaves(result):
    # Nearly all operations return one tensor, and to ask a tree for its leaves takes long.
    return (result,) if isinstance(result, Tensor) else tree_leaves(result)


def record(work):
    """Return a tape of what `work` does; it is done once."""
    tape = _Tape()
    with tape:
        work()
    return tape


def tape_capture(steps_of, recordings):
    """Return what records for `ReplayedSteps`; `recordings` collects the tapes.

    Recording on a GPU computes nothing, so what it changed here is put back.
    """

    def capture(work):
        steps = steps_of()
        body, pack = steps.body, steps.body.pack
        kept = [
            pack.weights_MP, pack.first_MQ, pack.second_MQ, pack.steps_M, body.total_M,
            steps.cursor,
        ]  # fmt: skip
        before = [tensor.clone() for tensor in kept]
        tape = record(work)
        with torch.no_grad():
            for tensor, old in zip(kept, before, strict=True):
                tensor.copy_(old)
        recordings.append(tape)
        return tape.replay

    return capture
