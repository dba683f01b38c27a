"""Trains all members of a study together: one step of the pack is one step of every member.

    trained = train_pack(architecture, table_NF, members, plan, ...)

Members are kept in the order of their steps per epoch, longest first, so that the members still
busy in a late step are the first rows of every tensor. A member's numbers follow from its own
data and its own seed: alone or in a pack it trains the same, within float tolerance.

Shapes: M members, S steps in an epoch, B rows in a batch, R rows, C classes
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from walkforge.base import FloatArray, Precision, TrainingError
from walkforge.models import Architecture, PackedForward, with_fast_walks

from ._batches import Batches, steps_of
from ._body import Body
from ._checkpoint import Checkpoints
from ._cores import Result, cut_for_cores, side_by_side
from ._device import own_stream, products_in
from ._heap import freed_memory_kept
from ._objectives import Objective, make_objective
from ._pack import Pack
from ._plan import Member, TrainingPlan
from ._progress import Progress
from ._room import in_groups, is_out_of_memory, let_go
from ._room import members_at_once as room_for_members
from ._standing import Standing
from ._steps import choose_steps, steps_per_replay
from ._telemetry import Telemetry
from ._validation import Validation
from ._watcher import Unwatched, Watcher

Prune = Callable[[dict[str, Any]], Collection[str]]
"""Takes an epoch's report, and returns the names of members that stop there."""


@dataclass(frozen=True, slots=True)
class TrainedMember:
    """The best state of one member, on the CPU, and how it came about."""

    member: Member
    state: dict[str, Tensor]
    best_epoch: int
    """Counted from 1; 0 means that no epoch had a finite validation loss."""
    best_validation_loss: float
    train_loss_at_best: float


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
    if len({member.name for member in members}) < len(members):
        raise TrainingError(
            "two members have the same symbol, fold and seed in one trial; expected each once"
        )
    in_order = sorted(members, key=lambda member: -steps_of(member, plan.batch_size))
    watcher = watcher or Unwatched()
    architecture, reasons = with_fast_walks(
        architecture,
        n_members=len(members),
        rows=plan.batch_size,
        dtype=getattr(torch, precision.name),
        device=table_NF.device,
    )
    for reason in reasons:
        watcher.note(reason)
    with _room_for(members, table_NF.device):
        forward = PackedForward.build(
            architecture,
            table_NF,
            window_bars=window_bars,
            centers=[member.center for member in in_order],
            scales=[member.scale for member in in_order],
            clip=clip,
            precision=precision,
        )
        trainer = _Trainer(
            forward,
            in_order,
            plan,
            objective=make_objective(
                architecture,
                in_order,
                plan,
                n_classes=n_classes,
                targets_NT=targets_NT,
                device=table_NF.device,
            ),
            compiled=compiled,
            members_at_once=members_at_once
            or room_for_members(architecture, plan.batch_size, len(members), table_NF.device),
            watcher=watcher,
            prune=prune or _nobody,
        )
    trainer.train(None if checkpoints is None else Checkpoints(checkpoints))
    return [trainer.finished[member.name] for member in members]


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


@dataclass(frozen=True, slots=True)
class _Stopped:
    """A group that could not take a step."""

    own: slice
    step: int
    error: Exception


class _Trainer:
    def __init__(
        self,
        forward: PackedForward,
        members: list[Member],
        plan: TrainingPlan,
        *,
        objective: Objective,
        compiled: bool,
        members_at_once: int,
        watcher: Watcher,
        prune: Prune,
    ) -> None:
        self.forward = forward
        self.plan = plan
        self.device = forward.table_NF.device
        self.everyone = members
        self.running = list(members)
        self.watcher = watcher
        self.prune = prune
        self.epoch = 0
        self.cut_off = Event()
        self.standings = {member.name: Standing(plan) for member in members}
        self.finished: dict[str, TrainedMember] = {}
        self.telemetry = Telemetry(self.device, note=watcher.note)
        longest = steps_of(members[0], plan.batch_size)
        spare_steps = steps_per_replay(forward.architecture, longest)
        self.batches = Batches(members, plan.batch_size, self.device, spare_steps=spare_steps)
        self.pack = Pack.fresh(forward.architecture, members, self.device)
        self.body = Body.of(
            members,
            plan,
            forward=forward,
            pack=self.pack,
            batches=self.batches,
            objective=objective,
        )
        self.steps, reason = choose_steps(self.body, compiled=compiled)
        self.steps.most_members = members_at_once
        self.validation = Validation(self.body)
        watcher.note(reason)

    def train(self, checkpoints: Checkpoints | None) -> None:
        """Train until every member is finished."""
        if checkpoints is not None:
            self._restore(checkpoints)
        precision = self.forward.precision
        with freed_memory_kept(), products_in(precision), own_stream(self.device):
            while self.running:
                report = self.run_epoch()
                # First the report, then the checkpoint: cut off between the two, the epoch is
                # trained and reported again, and the log misses nothing.
                self.watcher.epoch(report)
                self._stop(self.prune(report))
                if checkpoints is not None:
                    self.watcher.doing("writing the checkpoint")
                    checkpoints.write(self.epoch, *self._snapshot())

    def run_epoch(self) -> dict[str, Any]:
        """Train one epoch, validate, let finished members go; return the epoch's report."""
        started = perf_counter()
        self.epoch += 1
        n_rows = sum(len(member.train_rows) for member in self.running)
        train_loss_M = self._train()
        self.watcher.doing("validating")
        with products_in(self.validation.forward.precision):
            validation_loss_M = self._validate()
        self.watcher.doing("waiting for the device")  # the one time in an epoch
        losses = torch.stack([train_loss_M, validation_loss_M], dim=1).tolist()
        report = self._report(losses)
        self._release({line["name"] for line in report["members"] if line["done"]})
        seconds = perf_counter() - started
        return report | {
            "seconds": seconds,
            "rows_per_s": n_rows / seconds,
            **self.telemetry.read(),
        }

    def _train(self) -> Tensor:
        """Take every member's steps of this epoch; return its mean training loss [M]."""
        self.watcher.doing("drawing the order of rows")
        self.batches.draw(self.epoch)
        steps = self.batches.steps
        n_steps_M = torch.tensor(steps, device=self.device)
        self.steps.begin(self._rates())
        self.body.total_M.zero_()
        apart, others = self._groups()
        self.progress = Progress(self.epoch, self.watcher)
        self.progress.expect(((own, 0) for own in (*apart, *others)), steps)
        groups = deque((own, 0) for own in others)
        together = [one for one in self._side_by_side(self._take_steps, apart) if one is not None]
        # What failed beside another may find room alone, so that only the first asks for less.
        groups.extendleft((one.own, one.step) for one in together[1:])
        for first in together[:1]:
            groups = self._smaller(groups, first)
        while groups:
            stopped = self._take_steps(*groups.popleft(), tells=True)
            if stopped is not None:
                groups = self._smaller(groups, stopped)
        return self.body.total_M[: len(self.running)] / n_steps_M

    def _smaller(
        self, groups: deque[tuple[slice, int]], stopped: _Stopped
    ) -> deque[tuple[slice, int]]:
        """Return the groups that are left, cut anew, the one that found no memory first."""
        self._step_in_less_room(stopped.own, stopped.error)
        left = [(stopped.own, stopped.step), *groups]
        most = self.steps.most_members
        smaller = deque((part, step) for own, step in left for part in in_groups(own, most))
        self.progress.expect(smaller, self.batches.steps)
        return smaller

    def _groups(self) -> tuple[list[slice], list[slice]]:
        """Return the groups of members that go side by side, and those that come after."""
        most = self.steps.most_members
        if not self.steps.side_by_side:
            return [], in_groups(self._everyone_left(), most)
        return cut_for_cores(self.batches.steps, most=most, n_cores=torch.get_num_threads())

    def _side_by_side(self, work: Callable[[slice], Result], groups: list[slice]) -> list[Result]:
        """Return what each group's work gives, done on a core of its own."""
        if not groups:
            return []
        self.cut_off.clear()
        return side_by_side(
            work,
            groups,
            n_cores=torch.get_num_threads(),
            look=self.progress.tell,
            stop=self.cut_off,
        )

    def _take_steps(self, own: slice, step: int = 0, *, tells: bool = False) -> _Stopped | None:
        """Take all steps of a group, or return where it stopped for want of memory."""
        n_steps = self.batches.steps[own.start]
        while step < n_steps and not self.cut_off.is_set():
            try:
                taken = self.steps.advance(own, step)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                return _Stopped(own, step, error)
            step = min(step + taken, n_steps)
            self.progress.note(own, step)
            if tells:
                self.progress.tell()
        return None

    def _step_in_less_room(self, own: slice, error: Exception) -> None:
        """Make steps smaller after one ran out of memory; raise what is no lack of memory."""
        if not is_out_of_memory(error):
            raise error
        # Recordings hold memory of their own: without them the same step may fit.
        had_recordings = self.steps.forget()
        let_go(error, self.device)
        n_members = own.stop - own.start
        if had_recordings:
            self._warn("with recorded steps; recording again")
        elif n_members > 1:
            self.steps.most_members = -(-n_members // 2)
            self.validation.forget()
            going_on = self.steps.most_members
            self._warn(f"with {n_members} members a step; going on with {going_on}")
        elif self.pack.buffers(own).numel() or self.body.pieces * 2 > self.plan.batch_size:
            raise self._no_room(own)
        else:
            self.body.pieces *= 2
            self._warn(f"with one member a step; going on with batches in {self.body.pieces} parts")

    def _no_room(self, own: slice) -> TrainingError:
        return TrainingError(
            f"{self.running[own.start].name}: not enough memory for one member and a batch of "
            f"{self.plan.batch_size} rows; set a smaller training.batch_size or model"
        )

    def _warn(self, what: str) -> None:
        self.watcher.note(f"warning: out of memory {what}, which changes numbers by rounding only")

    def _everyone_left(self) -> slice:
        return slice(0, len(self.running))

    def _validate(self) -> Tensor:
        """Return each member's mean loss [M] over its validation rows."""
        apart, others = self._groups()
        losses = self._side_by_side(self._validate_group, apart)
        return torch.cat([*losses, *(self._validate_group(own) for own in others)])

    def _validate_group(self, own: slice) -> Tensor:
        members = self.running[own]
        while True:
            try:
                return self.validation.losses(own, members)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.steps.forget()
                let_go(error, self.device)
            if not self.validation.can_be_smaller(own, members):
                raise self._no_room(own)
            self.validation.pieces *= 4
            self._warn("while validating; going on with smaller parts")

    def _rates(self) -> FloatArray:
        """Return the learning rate of every step and member in this epoch [S, M]."""
        plan, steps = self.plan, np.array(self.batches.steps)
        rate_M = np.array(
            [
                (plan.learning_rate if m.learning_rate is None else m.learning_rate)
                * self.standings[m.name].slowed
                for m in self.running
            ]
        )
        if plan.schedule != "cosine":
            return np.broadcast_to(rate_M, (steps[0], len(steps))).copy()
        step_S1 = np.arange(steps[0])[:, None]
        done_SM = (self.epoch - 1 + np.minimum(step_S1 / steps, 1.0)) / plan.epochs
        return rate_M * 0.5 * (1.0 + np.cos(np.pi * done_SM))

    def _report(self, losses: list[list[float]]) -> dict[str, Any]:
        lines, better = [], []
        for m, (member, (train_loss, validation_loss)) in enumerate(
            zip(self.running, losses, strict=True)
        ):
            standing = self.standings[member.name]
            best = standing.note(train_loss, validation_loss)
            better += [m] if best else []
            place = {"symbol": member.symbol, "fold": member.fold, "seed": member.seed}
            values = {"train_loss": train_loss, "validation_loss": validation_loss}
            how = {"best": best, "done": standing.done}
            lines.append({"name": member.name, **place, **values, **how})
        self.pack.note_best(better)
        return {"epoch": self.epoch, "epochs": self.plan.epochs, "members": lines}

    def _stop(self, names: Collection[str]) -> None:
        """Let members go that are not done; those that are have gone already."""
        unknown = sorted(set(names) - self.standings.keys())
        if unknown:
            raise TrainingError(f"prune names {unknown[0]}, which is no member of this pack")
        self._release(names)

    def _release(self, names: Collection[str]) -> None:
        """Take the best states of these members, and go on with the others."""
        stays = []
        for m, member in enumerate(self.running):
            if member.name in names:
                self.finished[member.name] = self._best_of(m, member)
            else:
                stays.append(m)
        if len(stays) < len(self.running):
            self._keep(stays)

    def _keep(self, members: list[int]) -> None:
        self.running = [self.running[m] for m in members]
        self.steps.keep(members)
        self.validation.forget()

    def _best_of(self, m: int, member: Member) -> TrainedMember:
        standing = self.standings[member.name]
        # A member that never had a finite loss keeps what it has; `best_epoch` 0 tells the caller.
        source = self.pack.best_MP if standing.best_epoch else self.pack.weights_MP
        return self._trained(member, self.pack.layout.member(source, m))

    def _trained(self, member: Member, state: dict[str, Tensor]) -> TrainedMember:
        standing = self.standings[member.name]
        return TrainedMember(
            member=member,
            state=state,
            best_epoch=standing.best_epoch,
            best_validation_loss=standing.best["validation_loss"],
            train_loss_at_best=standing.best["train_loss"],
        )

    def _snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain data from which training goes on exactly."""
        tensors = {f"pack.{name}": tensor for name, tensor in self.pack.tensors().items()}
        for name, trained in self.finished.items():
            tensors |= {f"finished.{name}.{key}": value for key, value in trained.state.items()}
        plain = {
            "epoch": self.epoch,
            "running": [member.name for member in self.running],
            "history": {name: standing.history for name, standing in self.standings.items()},
        }
        return tensors, plain

    def _restore(self, checkpoints: Checkpoints) -> None:
        by_name = {member.name: member for member in self.everyone}
        found = checkpoints.read_newest(list(by_name), self.watcher.note)
        if found is None:
            return
        tensors, plain = found
        self.epoch = plain["epoch"]
        for name, history in plain["history"].items():
            for losses in history:
                self.standings[name].note(**losses)
        for name in by_name.keys() - set(plain["running"]):
            start = f"finished.{name}."
            state = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            self.finished[name] = self._trained(by_name[name], state)
        self._keep([self.everyone.index(by_name[name]) for name in plain["running"]])
        self.pack.restore(
            {k.removeprefix("pack."): v for k, v in tensors.items() if k.startswith("pack.")}
        )
        self.watcher.note(f"going on after epoch {self.epoch}")


def _nobody(report: dict[str, Any]) -> Collection[str]:
    return ()
