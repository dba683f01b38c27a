"""An epoch's steps and its validation, in groups of members that cores and memory allow.

Where memory does not suffice for a step, it is taken in smaller parts with the same numbers.

Shapes: M members, S steps in an epoch
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event

import torch
from torch import Tensor

from walkforge.base import FloatArray, TrainingError

from ._body import Body
from ._cores import Result, cut_for_cores, side_by_side
from ._plan import Member
from ._progress import Progress
from ._room import in_groups, is_out_of_memory, let_go
from ._steps import Steps
from ._validation import Validation
from ._watcher import Watcher


@dataclass(frozen=True, slots=True)
class _Stopped:
    """A group that could not take a step."""

    own: slice
    step: int
    error: Exception


class GroupWork:
    """What all running members do in an epoch; `members[m]` has row m of everything."""

    def __init__(
        self, body: Body, steps: Steps, members: Sequence[Member], watcher: Watcher
    ) -> None:
        self.body = body
        self.steps = steps
        self.members = list(members)
        self.watcher = watcher
        self.validation = Validation(body)
        self.cut_off = Event()
        self.progress = Progress(0, watcher)
        apart, _ = self._groups()
        if apart:
            n_cores = torch.get_num_threads()
            watcher.note(f"{len(apart)} groups of members side by side on {n_cores} cores")

    def train(self, epoch: int, rates_SM: FloatArray) -> Tensor:
        """Take every member's steps of this epoch; return its mean training loss [M]."""
        batches = self.body.batches
        batches.draw(epoch)
        n_steps_M = torch.tensor(batches.steps, device=self.body.device)
        self.steps.begin(rates_SM)
        self.body.total_M.zero_()
        apart, others = self._groups()
        self.progress = Progress(epoch, self.watcher)
        self.progress.expect(((own, 0) for own in (*apart, *others)), batches.steps)
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
        return self.body.total_M[: len(self.members)] / n_steps_M

    def validate(self) -> Tensor:
        """Return each member's mean loss [M] over its validation rows."""
        apart, others = self._groups()
        losses = self._side_by_side(self._validate_group, apart)
        return torch.cat([*losses, *(self._validate_group(own) for own in others)])

    def keep(self, members: list[int]) -> None:
        """Go on with the members named by number."""
        self.members = [self.members[m] for m in members]
        self.steps.keep(members)
        self.validation.forget()

    def _groups(self) -> tuple[list[slice], list[slice]]:
        """Return the groups of members that go side by side, and those that come after."""
        most = self.steps.most_members
        if not self.steps.side_by_side:
            return [], in_groups(slice(0, len(self.members)), most)
        return cut_for_cores(
            self.body.batches.steps,
            most=most,
            n_cores=torch.get_num_threads(),
            work_each=self.body.pack.layout.n_parameters * self.body.plan.batch_size,
        )

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
        n_steps = self.body.batches.steps[own.start]
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

    def _smaller(
        self, groups: deque[tuple[slice, int]], stopped: _Stopped
    ) -> deque[tuple[slice, int]]:
        """Return the groups that are left, cut anew, the one that found no memory first."""
        self._step_in_less_room(stopped)
        left = [(stopped.own, stopped.step), *groups]
        most = self.steps.most_members
        smaller = deque((part, step) for own, step in left for part in in_groups(own, most))
        self.progress.expect(smaller, self.body.batches.steps)
        return smaller

    def _step_in_less_room(self, stopped: _Stopped) -> None:
        """Make steps smaller after one ran out of memory; TrainingError where none is smaller."""
        own, body = stopped.own, self.body
        # Recordings hold memory of their own: without them the same step may fit.
        had_recordings = self.steps.forget()
        let_go(stopped.error, body.device)
        n_members = own.stop - own.start
        if had_recordings:
            self._warn("with recorded steps; recording again")
        elif n_members > 1:
            self.steps.most_members = -(-n_members // 2)
            self.validation.forget()
            going_on = self.steps.most_members
            self._warn(f"with {n_members} members a step; going on with {going_on}")
        elif body.pack.buffers(own).numel() or body.pieces * 2 > body.plan.batch_size:
            raise self._no_room(own)
        else:
            body.pieces *= 2
            self._warn(f"with one member a step; going on with batches in {body.pieces} parts")

    def _validate_group(self, own: slice) -> Tensor:
        members = self.members[own]
        while True:
            try:
                return self.validation.losses(own, members)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.steps.forget()
                let_go(error, self.body.device)
            if not self.validation.can_be_smaller(own, members):
                raise self._no_room(own)
            self.validation.pieces *= 4
            self._warn("while validating; going on with smaller parts")

    def _no_room(self, own: slice) -> TrainingError:
        return TrainingError(
            f"{self.members[own.start].name}: not enough memory for one member and a batch of "
            f"{self.body.plan.batch_size} rows; set a smaller training.batch_size or model"
        )

    def _warn(self, what: str) -> None:
        self.watcher.note(f"warning: out of memory {what}, which changes numbers by rounding only")
