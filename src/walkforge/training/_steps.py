"""Ways to take a pack's steps.

`EagerSteps` takes them one by one, for members that still have a batch: no arithmetic is wasted,
which is what counts on a CPU. `ReplayedSteps` asks the host for nothing within an epoch: the step's
number lies on the device, members without a batch are masked, and several steps are recorded once
as a CUDA graph and replayed, which is what counts where launching costs more than computing.

Shapes: M members, S steps
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from walkforge.base import FloatArray
from walkforge.models import Architecture

from ._adamw import adamw_at_once, adamw_by_rows
from ._body import Body
from ._cuda_capture import Capture, CudaCapture

# Graphs are recorded for at most so many widths of the pack; between them members are masked.
_WIDTHS = 16
# More than these are not recorded: each costs memory of the driver, and so many groups come only
# from splitting a pack that memory could not hold.
_MOST_RECORDINGS = 64
# Steps run before recording, so that libraries have set themselves up.
_WARM_STEPS = 3
# Kernels in one graph grow with the bars that a model walks through; so many fit well.
_BARS_PER_REPLAY = 64
_MOST_STEPS_PER_REPLAY = 8


class Steps(Protocol):
    """A way to take a pack's steps."""

    side_by_side: bool
    """Whether several groups may be advanced at the same time, each on a thread of its own."""
    most_members: int
    """So many take their steps together."""

    def begin(self, rates_SM: FloatArray) -> None:
        """Begin an epoch with the learning rate of every step and member."""
        ...

    def advance(self, own: slice, step: int) -> int:
        """Take the step `step` of the members `own`, or more; return how many were taken."""
        ...

    def keep(self, members: list[int]) -> None:
        """Go on with the members named by number."""
        ...

    def forget(self) -> bool:
        """Drop what was recorded, and its memory; return whether that may be enough."""
        ...


class EagerSteps:
    """One step at a time, of the members that still have a batch."""

    side_by_side = True

    def __init__(self, body: Body) -> None:
        self.body = body
        self.most_members = len(body.total_M)
        self.decays = body.decay_M.tolist()
        self.rates_SM = np.zeros((0, 0))

    def begin(self, rates_SM: FloatArray) -> None:
        """Begin an epoch."""
        self.rates_SM = rates_SM

    def advance(self, own: slice, step: int) -> int:
        """Take one step; where it fails, as if it had not been tried."""
        body = self.body
        own = slice(own.start, own.start + body.batches.active(own, step))
        with _undone_on_failure(body.pack.buffers(own)):
            loss_M = body.gradients(own, *body.batches.batch(own, step))
        active_M = body.pack.unscale(own) if body.scales else None
        adamw_by_rows(
            body.pack.moments(own),
            rates=self.rates_SM[step, own].tolist(),
            decays=self.decays[own],
            active_M=active_M,
            clip_norm=body.plan.clip_norm,
        )
        body.total_M[own] += loss_M
        return 1

    def keep(self, members: list[int]) -> None:
        """Go on with the members named by number."""
        self.body.keep(members)
        self.decays = [self.decays[m] for m in members]

    def forget(self) -> bool:
        """Return False: nothing is recorded."""
        return False


class ReplayedSteps:
    """Several steps at a time, recorded once per width of the pack."""

    side_by_side = False

    def __init__(
        self, body: Body, *, steps_per_replay: int, capture: Capture, update: Callable[..., None]
    ) -> None:
        self.body = body
        self.steps_per_replay = steps_per_replay
        self.capture = capture
        self.update = update
        device = body.device
        n_members = len(body.total_M)
        self.most_members = n_members
        self.cursor = torch.zeros(1, dtype=torch.int64, device=device)
        self.steps_M = torch.zeros(n_members, dtype=torch.int64, device=device)
        n_steps = body.batches.rows_MR.shape[1] // body.batches.batch_size
        self.rates_SM = torch.zeros(n_steps, n_members, device=device)
        self.replays: dict[tuple[int, int], Callable[[], None]] = {}
        self.warm: dict[tuple[int, int], int] = {}
        self.most_recordings = _MOST_RECORDINGS
        self._width_step = -(-n_members // _WIDTHS)
        self._place = (-1, -1)

    def begin(self, rates_SM: FloatArray) -> None:
        """Begin an epoch."""
        n_steps, n_members = rates_SM.shape
        self.rates_SM[:n_steps, :n_members].copy_(torch.from_numpy(rates_SM))
        self.steps_M.zero_()
        self.steps_M[:n_members].copy_(torch.tensor(self.body.batches.steps))

    def advance(self, own: slice, step: int) -> int:
        """Take one step while warming up, and all steps of a recording afterwards."""
        own = self._wide(own, step)
        if self._place != (own.start, step):
            self.cursor.fill_(step)
        taken = self._take(own)
        self._place = (own.start, step + taken)
        return taken

    def _take(self, own: slice) -> int:
        key = (own.start, own.stop)
        if key not in self.replays:
            self.warm[key] = self.warm.get(key, 0) + 1
            if self.warm[key] <= _WARM_STEPS or len(self.replays) >= self.most_recordings:
                with _undone_on_failure(self.body.pack.buffers(own)):
                    self._step(own)
                return 1
            self.replays[key] = self.capture(lambda: self._steps(own))
        self.replays[key]()
        return self.steps_per_replay

    def keep(self, members: list[int]) -> None:
        """Go on with the members named by number; recordings stay right."""
        self.body.keep(members)

    def forget(self) -> bool:
        """Drop all recordings; where there were several, fewer from now on may be enough."""
        n_recordings = len(self.replays)
        self.replays.clear()
        self.warm.clear()
        self._place = (-1, -1)
        if n_recordings > 1:
            self.most_recordings = n_recordings // 2
        return n_recordings > 1

    def _wide(self, own: slice, step: int) -> slice:
        """Return the busy members, rounded up to a width that is recorded."""
        active = self.body.batches.active(own, step)
        width = -(-active // self._width_step) * self._width_step
        # Rows after the last group are free; rows of another group are not ours to touch.
        is_last = own.stop == len(self.body.batches.steps)
        end = len(self.steps_M) if is_last else own.stop
        return slice(own.start, min(own.start + min(width, self.most_members), end))

    def _steps(self, own: slice) -> None:
        for _ in range(self.steps_per_replay):
            self._step(own)

    def _step(self, own: slice) -> None:
        body = self.body
        active_M = self.cursor < self.steps_M[own]
        buffers = body.pack.buffers(own)
        before = buffers.clone()
        loss_M = body.gradients(own, *body.batches.batch_at(own, self.cursor))
        updated_M = active_M & body.pack.unscale(own, active_M) if body.scales else active_M
        self.update(
            body.pack.moments(own),
            rate_M=self.rates_SM.index_select(0, self.cursor)[0, own],
            decay_M=body.decay_M[own],
            active_M=updated_M,
            clip_norm=body.plan.clip_norm,
        )
        if buffers.numel():
            buffers.copy_(torch.where(active_M[:, None], buffers, before))
        body.total_M[own] += torch.where(active_M, loss_M, 0.0)
        self.cursor.add_(1)


def choose_steps(body: Body, *, compiled: bool) -> tuple[Steps, str]:
    """Return the way that suits the device, and why; `compiled` fuses what is not a product."""
    on_cuda = body.device.type == "cuda"
    if not on_cuda and not compiled:
        return EagerSteps(body), "steps one by one: on the CPU arithmetic counts, not launches"
    update: Callable[..., None] = adamw_at_once
    if compiled:
        body.compute_loss = torch.compile(body.loss)
        update = torch.compile(adamw_at_once)
    n_steps = steps_per_replay(body.forward.architecture, max(body.batches.steps)) if on_cuda else 1
    capture = CudaCapture() if on_cuda else _as_it_is
    words = f"{n_steps} steps a CUDA graph" if on_cuda else "steps one by one"
    steps = ReplayedSteps(body, steps_per_replay=n_steps, capture=capture, update=update)
    return steps, f"{words}{', compiled' if compiled else ''}"


def steps_per_replay(architecture: Architecture, n_steps: int) -> int:
    """Return how many steps one CUDA graph holds, of an epoch with at most `n_steps`."""
    most = _BARS_PER_REPLAY // architecture.bars_in_a_row()
    n_replays = -(-n_steps // max(1, min(_MOST_STEPS_PER_REPLAY, most)))
    return -(-n_steps // n_replays)  # so that the last replay overshoots as little as possible


@contextmanager
def _undone_on_failure(buffers: Tensor) -> Iterator[None]:
    """Put running statistics back where a step runs out of memory, before it is taken again."""
    before = buffers.clone()
    try:
        yield
    except BaseException:
        buffers.copy_(before)
        raise


def _as_it_is(work: Callable[[], None]) -> Callable[[], None]:
    return work
