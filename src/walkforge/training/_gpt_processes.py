"""Starts one process for each device, passes on what the first reports, and ends all as one.

The process that calls computes nothing: whatever one of them waits for, it can end them at once,
which a process that waits itself could not. A failure of one ends all of its machine.
"""

import copy
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import connection, get_context, parent_process
from time import monotonic
from typing import Any

import torch
from torch import nn

from walkforge.base import TrainingError, WalkforgeError

from ._gpt_ranks import Ranks
from ._watcher import Watcher

_LOOPBACK = "127.0.0.1"
# What a failed process has said by then lies in its pipe.
_LAST_WORDS_S = 0.2


def in_processes(
    train: Callable[..., Any], model: nn.Module, ranks: Ranks, watcher: Watcher, **settings: Any
) -> Any:
    """Return what `train(model, **settings, watcher=...)` returns in the first process here.

    It is called in every process, on its own device of the kind that `model` lies on, and returns
    a dataclass whose `state` are tensors on the CPU. `train` and `settings` are pickled.
    Raises TrainingError for what one of them raised as an error for users, or where one was ended
    from outside; RuntimeError with its traceback for any other error.
    """
    kind = next(model.parameters()).device.type
    skeleton = copy.deepcopy(model).to("meta")
    weights = {name: one.cpu().numpy() for name, one in model.state_dict().items()}
    work = partial(_work, train, skeleton, weights, kind, settings)
    address = _address(ranks)
    children: list[_Child] = []
    try:
        for number in range(ranks.devices):
            children.append(_Child(number, work, ranks, address))
        found = _first_result(children, watcher)
    finally:
        for child in children:
            child.end()
    return replace(found, state={k: torch.from_numpy(v) for k, v in found.state.items()})


@dataclass(frozen=True, slots=True)
class _Failure:
    at_s: float
    words: str
    for_users: bool

    def raised(self) -> Exception:
        return TrainingError(self.words) if self.for_users else RuntimeError(self.words)


class _Child:
    """One process, seen from the one that started it."""

    def __init__(
        self, number: int, work: Callable[..., None], ranks: Ranks, address: dict[str, str]
    ) -> None:
        # Started afresh and not forked: CUDA does not survive a fork.
        context = get_context("spawn")
        self._number, self.done = number, False
        self.pipe, theirs = context.Pipe()
        variables = {
            **address,
            "LOCAL_RANK": str(number),
            "LOCAL_WORLD_SIZE": str(ranks.devices),
            "WORLD_SIZE": str(ranks.n_processes),
        }
        self._process = context.Process(target=_begin, args=(work, theirs, variables))
        self._process.start()
        theirs.close()  # so that this end sees when the process is gone

    def hear(self) -> tuple[str, Any]:
        """Return the next that it tells: a method of a watcher, `done` or `failed`."""
        try:
            kind, what = self.pipe.recv()
        except EOFError:
            kind, what = "failed", self._death()
        self.done = kind in ("done", "failed")
        return kind, what

    def last_words(self) -> _Failure | None:
        """Return how it has failed, if it has; what it told before that is lost."""
        while not self.done and self.pipe.poll(_LAST_WORDS_S):
            kind, what = self.hear()
            if kind == "failed":
                return what
        return None

    def end(self) -> None:
        if self._process.exitcode is None:
            self._process.kill()
        self._process.join()
        self._process.close()
        self.pipe.close()

    def _death(self) -> _Failure:
        self._process.join()
        code = self._process.exitcode or 0
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return _Failure(
            0.0,  # before all others, who fail because of it
            f"process {self._number} on this machine ended with {how}; where the machine ran out "
            "of memory, use fewer devices or a smaller model",
            for_users=True,
        )


def _first_result(children: Sequence[_Child], watcher: Watcher) -> Any:
    """Pass on reports until all are done; return the first one's result."""
    result: Any = None
    while waiting := [child for child in children if not child.done]:
        ready = connection.wait([child.pipe for child in waiting])
        for child in waiting:
            if child.pipe not in ready:
                continue
            kind, what = child.hear()
            if kind == "failed":
                raise _earliest([what, *(one.last_words() for one in children)])
            if kind == "done":
                result = what or result
            else:
                getattr(watcher, kind)(*what)
    return result


def _earliest(failures: Sequence[_Failure | None]) -> Exception:
    """Return the failure that all others follow from."""
    found = [one for one in failures if one is not None]
    return min(found, key=lambda one: one.at_s).raised()


def _begin(
    work: Callable[..., Any], pipe: connection.Connection, variables: dict[str, str]
) -> None:
    """Run in a new process: do the work, and send what comes of it."""
    # Ctrl-C reaches all processes of a terminal; the one that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(variables)
    first = variables["LOCAL_RANK"] == "0"
    try:
        found = work(_Told(pipe))
        pipe.send(("done", found if first else None))
        torch.distributed.destroy_process_group()
    except WalkforgeError as error:
        pipe.send(("failed", _Failure(monotonic(), str(error), for_users=True)))
    except BaseException:
        pipe.send(("failed", _Failure(monotonic(), traceback.format_exc(), for_users=False)))


def _work(
    train: Callable[..., Any],
    skeleton: nn.Module,
    weights: dict[str, Any],
    kind: str,
    settings: dict[str, Any],
    watcher: Watcher,
) -> Any:
    own = torch.device(kind, int(os.environ["LOCAL_RANK"])) if kind == "cuda" else kind
    model = skeleton.to_empty(device=own)
    model.load_state_dict({name: torch.from_numpy(one) for name, one in weights.items()})
    found = train(model, **settings, watcher=watcher)
    return replace(found, state={name: one.numpy() for name, one in found.state.items()})


class _Told:
    """A watcher whose reports come out at the other end of a pipe."""

    def __init__(self, pipe: connection.Connection) -> None:
        self._pipe = pipe

    def note(self, text: str) -> None:
        self._pipe.send(("note", (text,)))

    def doing(self, what: str) -> None:
        self._pipe.send(("doing", (what,)))

    def step(self, epoch: int, step: int, n_steps: int) -> None:
        self._pipe.send(("step", (epoch, step, n_steps)))

    def epoch(self, report: dict[str, Any]) -> None:
        self._pipe.send(("epoch", (report,)))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _address(ranks: Ranks) -> dict[str, str]:
    """Return where the processes find each other: a free port here, where nobody said one."""
    if ranks.nodes > 1:
        return {}  # it stands in the environment
    with socket.socket() as free:
        free.bind((_LOOPBACK, 0))
        port = free.getsockname()[1]
    return {"MASTER_ADDR": _LOOPBACK, "MASTER_PORT": str(port), "NODE_RANK": "0"}
