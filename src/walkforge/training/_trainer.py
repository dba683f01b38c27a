"""Trains all members of a study together: one step of the pack is one step of every member.

    trained = train_pack(architecture, table_NF, members, plan, ...)

Members are kept in the order of their steps per epoch, longest first, so that the members still
busy in a late step are the first rows of every tensor. A member's numbers follow from its own
data and its own seed: alone or in a pack it trains the same, within float tolerance.

Shapes: M members, S steps in an epoch, B rows in a batch, R rows, C classes
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from walkforge.base import Precision, TrainingError
from walkforge.models import Architecture, PackedForward, resident_walks, with_fast_walks

from ._batches import Batches, steps_of
from ._body import Body
from ._checkpoint import Checkpoints
from ._cohort import Cohort, TrainedMember
from ._device import own_stream, products_in
from ._group_work import GroupWork
from ._heap import freed_memory_kept
from ._objectives import Objective, make_objective
from ._pack import Pack
from ._plan import Member, TrainingPlan
from ._room import is_out_of_memory, let_go
from ._room import members_at_once as room_for_members
from ._steps import Steps, choose_steps, steps_per_replay
from ._telemetry import Telemetry
from ._watcher import Unwatched, Watcher

Prune = Callable[[dict[str, Any]], Collection[str]]
"""Takes an epoch's report, and returns the names of members that stop there."""


def train_pack(
    architecture: Architecture,
    table_NF: Tensor,
    members: Sequence[Member],
    plan: TrainingPlan,
    *,
    window_bars: int,
    clip: float,
    precision: Precision,
    n_classes: int | None = None,
    targets_NT: Tensor | None = None,
    compiled: bool = False,
    members_at_once: int | None = None,
    watcher: Watcher | None = None,
    checkpoints: Path | None = None,
    prune: Prune | None = None,
) -> list[TrainedMember]:
    """Train `members` on the device that holds `table_NF` and return their best states, in order.

    Every row of a member must have its whole window of `window_bars` rows above it in the table.
    A classifier learns the members' labels, of `n_classes`; a forecaster learns `targets_NT`, rows
    of which belong to the table's.
    `compiled` fuses what lies between the matrix products, after a minute of compiling.
    `members_at_once` take their steps together; left out, as many as the device does best with.
    `prune` is told each epoch's report after the watcher, and returns the names of members that
    stop there: their best state so far counts, and they cost nothing from then on.
    With the folder `checkpoints` the state is written there after each epoch, and taken up from
    there; an epoch that was cut off before that is reported again. Where memory does not suffice
    for a step, it is taken in smaller parts with the same numbers; TrainingError where the
    smallest part does not fit, or the members themselves do not.
    """
    _refuse_twins(members)
    watcher = watcher or Unwatched()
    saved = None if checkpoints is None else Checkpoints(checkpoints)
    earlier = None if saved is None else saved.read_newest([m.name for m in members], watcher.note)
    device = table_NF.device
    architecture, reasons = with_fast_walks(
        architecture,
        n_members=len(members),
        rows=plan.batch_size,
        dtype=getattr(torch, precision.name),
        device=device,
        earlier=None if earlier is None else earlier[1].get("walks"),
    )
    for reason in reasons:
        watcher.note(reason)
    in_order = sorted(members, key=lambda member: -steps_of(member, plan.batch_size))
    with _room_for(members, device):
        forward = PackedForward.build(
            architecture,
            table_NF,
            window_bars=window_bars,
            centers=[member.center for member in in_order],
            scales=[member.scale for member in in_order],
            clip=clip,
            precision=precision,
        )
        objective = make_objective(
            architecture, in_order, plan, n_classes=n_classes, targets_NT=targets_NT, device=device
        )
        body = _fresh_body(forward, objective, in_order, plan)
        steps, reason = choose_steps(body, compiled=compiled)
    steps.most_members = members_at_once or room_for_members(
        architecture, plan.batch_size, len(members), device
    )
    watcher.note(reason)
    trainer = _Trainer(body, steps, in_order, watcher=watcher, prune=prune or _nobody)
    if earlier is not None:
        trainer.restore(*earlier)
    finished = trainer.train(saved)
    return [finished[member.name] for member in members]


def _refuse_twins(members: Sequence[Member]) -> None:
    if len({member.name for member in members}) < len(members):
        raise TrainingError(
            "two members have the same symbol, fold and seed in one trial; expected each once"
        )


@contextmanager
def _room_for(members: Sequence[Member], device: torch.device) -> Iterator[None]:
    """Say in words that memory does not suffice to begin."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        let_go(error, device)
        raise TrainingError(
            f"not enough memory to begin: {len(members)} members do not fit together; use a "
            "smaller model, or fewer symbols, folds or seeds"
        ) from None


def _fresh_body(
    forward: PackedForward, objective: Objective, members: list[Member], plan: TrainingPlan
) -> Body:
    device = forward.table_NF.device
    longest = steps_of(members[0], plan.batch_size)
    spare_steps = steps_per_replay(forward.architecture, longest)
    return Body.of(
        members,
        plan,
        forward=forward,
        pack=Pack.fresh(forward.architecture, members, device),
        batches=Batches(members, plan.batch_size, device, spare_steps=spare_steps),
        objective=objective,
    )


class _Trainer:
    def __init__(
        self, body: Body, steps: Steps, members: list[Member], *, watcher: Watcher, prune: Prune
    ) -> None:
        self.body = body
        self.watcher = watcher
        self.prune = prune
        self.work = GroupWork(body, steps, members, watcher)
        self.cohort = Cohort(members, body.plan, body.pack, compact=self.work.keep)
        self.telemetry = Telemetry(body.device, note=watcher.note)

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.cohort.restore(tensors, plain)
        self.watcher.note(f"going on after epoch {self.cohort.epoch}")

    def train(self, checkpoints: Checkpoints | None) -> dict[str, TrainedMember]:
        """Train until every member is finished; return them by name."""
        with freed_memory_kept(), products_in(self._precision), own_stream(self.body.device):
            while self.cohort.running:
                report = self._run_epoch()
                # First the report, then the checkpoint: cut off between the two, the epoch is
                # trained and reported again, and the log misses nothing.
                self.watcher.epoch(report)
                self._prune(report)
                if checkpoints is not None:
                    self.watcher.doing("writing the checkpoint")
                    tensors, plain = self.cohort.snapshot()
                    checkpoints.write(self.cohort.epoch, tensors, plain | {"walks": self._walks})
        return self.cohort.finished

    @property
    def _precision(self) -> Precision:
        return self.body.forward.precision

    @property
    def _walks(self) -> list[str]:
        return resident_walks(self.body.forward.architecture)

    def _run_epoch(self) -> dict[str, Any]:
        """Train one epoch, validate, let finished members go; return the epoch's report."""
        started = perf_counter()
        cohort, work = self.cohort, self.work
        n_rows = sum(len(member.train_rows) for member in cohort.running)
        self.watcher.doing("drawing the order of rows")
        rates_SM = cohort.rates(self.body.batches.steps)
        train_loss_M = work.train(cohort.epoch + 1, rates_SM)
        self.watcher.doing("validating")
        with products_in(work.validation.forward.precision):
            validation_loss_M = work.validate()
        self.watcher.doing("waiting for the device")  # the one time in an epoch
        losses = torch.stack([train_loss_M, validation_loss_M], dim=1).tolist()
        lines = cohort.note(losses)
        cohort.release({line["name"] for line in lines if line["done"]})
        seconds = perf_counter() - started
        return {
            "epoch": cohort.epoch,
            "epochs": self.body.plan.epochs,
            "members": lines,
            "seconds": seconds,
            "rows_per_s": n_rows / seconds,
            **self.telemetry.read(),
        }

    def _prune(self, report: dict[str, Any]) -> None:
        """Let members go that are not done; those that are have gone already."""
        names = set(self.prune(report))
        unknown = sorted(names - self.cohort.standings.keys())
        if unknown:
            raise TrainingError(f"prune names {unknown[0]}, which is no member of this pack")
        self.cohort.release(names)


def _nobody(report: dict[str, Any]) -> Collection[str]:
    return ()
