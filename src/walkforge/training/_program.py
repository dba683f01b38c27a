"""One step of a pack: gather, forward, loss, backward, clip, update.

`EagerSteps` takes it one step at a time, for the members that still have a batch: no arithmetic is
wasted, which is what counts on a CPU. `ReplayedSteps` never asks the host: the step's number lies
on the device, members without a batch are masked, and several steps are recorded once as a CUDA
graph and replayed, which is what counts where launching costs more than computing.

Shapes: M members, S steps, B rows in a batch, C classes
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from walkforge.base import FloatArray
from walkforge.models import MemberDropout, PackedForward, compact_, step_keys

from ._adamw import adamw_at_once, adamw_by_rows
from ._batches import Batches
from ._losses import classification_loss
from ._pack import Pack
from ._plan import Member, TrainingPlan

# Graphs are recorded for at most so many widths of the pack; between them members are masked.
_WIDTHS = 16
# Steps run before recording, so that libraries have set themselves up.
_WARM_STEPS = 3
# Kernels in one graph grow with the bars of a window; so many steps of one bar fit well.
_BARS_PER_REPLAY = 64
_MOST_STEPS_PER_REPLAY = 8

Capture = Callable[[Callable[[], None]], Callable[[], None]]


class Steps(Protocol):
    """A way to take a pack's steps."""

    def begin(self, rates_SM: FloatArray) -> None:
        """Begin an epoch with the learning rate of every step and member."""
        ...

    def advance(self, own: slice, step: int) -> int:
        """Take the step `step` of the members `own`, or more; return how many were taken."""
        ...

    def keep(self, kept: Tensor) -> None:
        """Go on with the members named by number."""
        ...


@dataclass(slots=True, eq=False)
class Body:
    """What all ways have in common: the numbers of members, and their gradients."""

    plan: TrainingPlan
    forward: PackedForward
    pack: Pack
    batches: Batches
    seeds_M: Tensor
    decay_M: Tensor
    class_weights_MC: Tensor
    total_M: Tensor
    """Sum of the losses of the epoch's steps."""
    pieces: int = 1
    """A batch is computed in so many pieces; more than one only when memory is short."""
    compute_loss: Callable[..., Tensor] | None = None
    """`loss`, compiled where that was asked for."""

    @classmethod
    def of(
        cls,
        members: Sequence[Member],
        plan: TrainingPlan,
        forward: PackedForward,
        pack: Pack,
        batches: Batches,
        n_classes: int,
    ) -> "Body":
        """Put what belongs to each member on the device."""
        device = forward.table_NF.device
        decays = [_own(m.weight_decay, plan.weight_decay) for m in members]
        weights = [class_weights(m, n_classes, plan.class_weights) for m in members]
        return cls(
            plan=plan,
            forward=forward,
            pack=pack,
            batches=batches,
            seeds_M=torch.tensor([m.random_seed for m in members], device=device),
            decay_M=torch.tensor(decays, device=device),
            class_weights_MC=torch.stack(weights).to(device),
            total_M=torch.zeros(len(members), device=device),
        )

    def gradients(self, own: slice, rows_MB: Tensor, labels_MB: Tensor) -> Tensor:
        """Leave the gradients of some members in the pack; return their losses [M]."""
        buffers = self.pack.buffers(own)
        before = buffers.clone()
        try:
            return self._in_pieces(own, rows_MB, labels_MB)
        except BaseException:
            # Out of memory half-way: statistics must not run twice when the step is taken again.
            buffers.copy_(before)
            raise

    def _in_pieces(self, own: slice, rows_MB: Tensor, labels_MB: Tensor) -> Tensor:
        n_rows = rows_MB.shape[1]
        compute_loss = self.compute_loss or self.loss
        keys_M = step_keys(self.seeds_M[own], self.pack.steps_M[own].long())
        losses: list[Tensor] = []
        for rows, labels in zip(
            rows_MB.tensor_split(self.pieces, dim=1),
            labels_MB.tensor_split(self.pieces, dim=1),
            strict=True,
        ):
            first_row = sum(part.shape[1] for part in losses)
            loss_MB = compute_loss(
                self.pack.leaves(own), rows, labels, keys_M, own.start, first_row, n_rows
            )
            # Members share no number, so the gradient of the sum is each member's own gradient.
            self.pack.collect_gradients(loss_MB.sum() / n_rows, own, add=first_row > 0)
            losses.append(loss_MB.detach())
        return torch.cat(losses, dim=1).mean(dim=1) if self.pieces > 1 else losses[0].mean(dim=1)

    def loss(
        self,
        state: dict[str, Tensor],
        rows_MB: Tensor,
        labels_MB: Tensor,
        keys_M: Tensor,
        first: int,
        first_row: int,
        n_rows: int,
    ) -> Tensor:
        """Return the training loss of every row [M, B]."""
        rate = getattr(self.forward.architecture, "dropout", 0.0)
        dropout = MemberDropout(rate, keys_M, first_row, n_rows)
        logits_MBC = self.forward.logits(state, rows_MB, first=first, dropout=dropout)
        return self.row_losses(logits_MBC, labels_MB, first)

    def row_losses(self, logits_MBC: Tensor, labels_MB: Tensor, first: int) -> Tensor:
        """Return the loss of every row [M, B] from its logits."""
        return classification_loss(
            logits_MBC,
            labels_MB,
            self.class_weights_MC[first : first + len(labels_MB)],
            focal_gamma=self.plan.focal_gamma if self.plan.loss == "focal" else None,
            label_smoothing=self.plan.label_smoothing,
        )

    def keep(self, kept: Tensor) -> None:
        """Go on with the members named by number."""
        for rows in (self.seeds_M, self.decay_M, self.class_weights_MC):
            compact_(rows, kept)
        self.forward.keep(kept)
        self.pack.keep(kept)
        self.batches.keep(kept.tolist())


class EagerSteps:
    """One step at a time, of the members that still have a batch."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.decays = body.decay_M.tolist()

    def begin(self, rates_SM: FloatArray) -> None:
        """Begin an epoch."""
        self.rates_SM = rates_SM

    def advance(self, own: slice, step: int) -> int:
        """Take one step."""
        body = self.body
        own = slice(own.start, own.start + body.batches.active(own, step))
        loss_M = body.gradients(own, *body.batches.batch(own, step))
        adamw_by_rows(
            body.pack.moments(own),
            self.rates_SM[step, own].tolist(),
            self.decays[own],
            body.plan.clip_norm,
        )
        body.total_M[own] += loss_M
        return 1

    def keep(self, kept: Tensor) -> None:
        """Go on with the members named by number."""
        self.body.keep(kept)
        self.decays = [self.decays[m] for m in kept.tolist()]


class ReplayedSteps:
    """Several steps at a time, recorded once per width of the pack."""

    def __init__(
        self, body: Body, *, steps_per_replay: int, capture: Capture, update: Callable[..., None]
    ) -> None:
        self.body = body
        self.steps_per_replay = steps_per_replay
        self.capture = capture
        self.update = update
        device = body.total_M.device
        n_members = len(body.total_M)
        self.cursor = torch.zeros(1, dtype=torch.int64, device=device)
        self.steps_M = torch.zeros(n_members, dtype=torch.int64, device=device)
        n_steps = body.batches.rows_MR.shape[1] // body.batches.batch_size
        self.rates_SM = torch.zeros(n_steps, n_members, device=device)
        self.replays: dict[tuple[int, int], Any] = {}
        self.warm: dict[tuple[int, int], int] = {}
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
            if self.warm[key] <= _WARM_STEPS:
                self._step(own)
                return 1
            self.replays[key] = self.capture(lambda: self._steps(own))
        self.replays[key]()
        return self.steps_per_replay

    def keep(self, kept: Tensor) -> None:
        """Go on with the members named by number; recordings stay right."""
        self.body.keep(kept)

    def _wide(self, own: slice, step: int) -> slice:
        """Return the busy members, rounded up to a width that is recorded."""
        active = self.body.batches.active(own, step)
        width = -(-active // self._width_step) * self._width_step
        # Rows after the last group are free; rows of another group are not ours to touch.
        is_last = own.stop == len(self.body.batches.steps)
        end = len(self.steps_M) if is_last else own.stop
        room = len(self.body.pack.scratch_MQ)
        return slice(own.start, min(own.start + min(width, room), end))

    def _steps(self, own: slice) -> None:
        for _ in range(self.steps_per_replay):
            self._step(own)

    def _step(self, own: slice) -> None:
        body = self.body
        active_M = self.cursor < self.steps_M[own]
        buffers = body.pack.buffers(own)
        before = buffers.clone()
        loss_M = body.gradients(own, *body.batches.batch_at(own, self.cursor))
        rate_M = self.rates_SM.index_select(0, self.cursor)[0, own]
        self.update(
            body.pack.moments(own), rate_M, body.decay_M[own], active_M.float(), body.plan.clip_norm
        )
        if buffers.numel():
            buffers.copy_(torch.where(active_M[:, None], buffers, before))
        body.total_M[own] += torch.where(active_M, loss_M, 0.0)
        self.cursor.add_(1)


def choose_steps(body: Body, *, compiled: bool) -> tuple[Steps, str]:
    """Return the way that suits the device, and why; `compiled` fuses what is not a product."""
    on_cuda = body.total_M.device.type == "cuda"
    if not on_cuda and not compiled:
        return EagerSteps(body), "steps one by one: on the CPU arithmetic counts, not launches"
    update: Callable[..., None] = adamw_at_once
    if compiled:
        body.compute_loss = torch.compile(body.loss)
        update = torch.compile(adamw_at_once)
    n_steps = steps_per_replay(body.forward.window_bars) if on_cuda else 1
    capture = _CudaCapture() if on_cuda else _as_it_is
    words = f"{n_steps} steps a CUDA graph" if on_cuda else "steps one by one"
    steps = ReplayedSteps(body, steps_per_replay=n_steps, capture=capture, update=update)
    return steps, f"{words}{', compiled' if compiled else ''}"


def steps_per_replay(window_bars: int) -> int:
    """Return how many steps one CUDA graph holds."""
    return max(1, min(_MOST_STEPS_PER_REPLAY, _BARS_PER_REPLAY // window_bars))


class _CudaCapture:
    """Records work as a CUDA graph; all graphs share one pool, as they never run at once."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, pool=self.pool, stream=torch.cuda.current_stream()):
            work()
        return graph.replay


def _as_it_is(work: Callable[[], None]) -> Callable[[], None]:
    return work


def _own(own: float | None, shared: float) -> float:
    return shared if own is None else own


def class_weights(member: Member, n_classes: int, kind: str) -> Tensor:
    """Return weights [C] whose mean over the member's training rows is one."""
    if kind == "none":
        return torch.ones(n_classes)
    counts = np.bincount(member.train_labels, minlength=n_classes)
    present = counts > 0
    weights = np.zeros(n_classes)
    weights[present] = len(member.train_labels) / (present.sum() * counts[present])
    return torch.as_tensor(weights, dtype=torch.float32)
