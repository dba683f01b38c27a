"""Two processes that torchrun has started and that do one job after the other for tests.

To start them takes longer than all that they do.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any

import torch

from training.packs import Log
from training.token_markets import FLOAT32, PLAN, SHAPE, small_table
from walkforge.base import WalkforgeError
from walkforge.models import MarketGpt
from walkforge.training import TrainedGpt, train_gpt

TESTS = Path(__file__).resolve().parents[1]
LONGEST_S = 120
"""So long a test waits for a process that hangs."""


class Pair:
    """Starts both processes when they are first needed, or have ended."""

    def __init__(self, folder: Path) -> None:
        self._said = folder / "torchrun.txt"
        self._torchrun: subprocess.Popen | None = None
        self._pipes = []

    def run(self, job: Callable[..., Any], *each: dict[str, Any]) -> list[Any]:
        """Return what `job` returns in both processes; `each` are settings of one, or of both."""
        self.begin(job, *each)
        try:
            return [answer(pipe) for pipe in self._pipes]
        except (EOFError, TimeoutError) as error:
            self.close()
            raise RuntimeError(self._said.read_text()[-4000:]) from error

    def begin(self, job: Callable[..., Any], *each: dict[str, Any]) -> None:
        if self._torchrun is None or self._torchrun.poll() is not None:
            self._start()
        each = each or ({},)
        for rank, pipe in enumerate(self._pipes):
            tell(pipe, (job, each[rank % len(each)]))

    def exit_code(self) -> int:
        """Wait until torchrun has ended of itself."""
        return self._torchrun.wait(LONGEST_S)

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        if self._torchrun is not None:
            self._torchrun.terminate()  # it ends the processes that it started
            self._torchrun.wait(LONGEST_S)

    def _start(self) -> None:
        self.close()
        self._pipes = [None, None]
        with Listener(("127.0.0.1", 0)) as listener, self._said.open("w") as said:
            listener._listener._socket.settimeout(LONGEST_S)  # it has no other door to that
            self._torchrun = subprocess.Popen(
                [
                    *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                    *("--nproc-per-node", "2", "-m", __name__, str(listener.address[1])),
                ],
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
                stderr=said,
            )
            for _ in range(2):
                pipe = listener.accept()
                self._pipes[answer(pipe)] = pipe


def answer(pipe: Any) -> Any:
    if not pipe.poll(LONGEST_S):
        raise TimeoutError("a process of the pair does not answer")
    return pickle.loads(pipe.recv_bytes())


def tell(pipe: Any, what: Any) -> None:
    # As plain bytes: a connection's own way would lend tensors instead of sending them.
    pipe.send_bytes(pickle.dumps(what))


@dataclass
class Done:
    """What a training came to in one process."""

    trained: TrainedGpt | None = None
    error: str = ""
    log: Log = field(default_factory=Log)
    tried: list[int] = field(default_factory=list)
    direction: Any = None


def trains(
    *, shape=SHAPE, plan=PLAN, checkpoints=None, room=None, compiled=False, others=None
) -> Done:
    """Train the small table in this process; `room`: most windows that fit, by rank."""
    torch.manual_seed(3)
    done, model = Done(), CrampedGpt(shape)
    model.room, model.tried = (room or {}).get(rank()), done.tried
    try:
        done.trained = train_gpt(
            model,
            small_table(),
            plan,
            seed=0,
            precision=FLOAT32,
            watcher=done.log,
            checkpoints=checkpoints,
            compiled=compiled,
            **(others or {}),
        )
    except WalkforgeError as error:
        done.error = str(error)
    done.direction = model.direction and model.direction.weight.detach()
    return done


def fails_on_one() -> None:
    """Fail in the second process, where the first waits for it."""
    torch.manual_seed(3)
    model = BreakingGpt(SHAPE)
    train_gpt(model, small_table(), PLAN, seed=0, precision=FLOAT32)


def rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


class CrampedGpt(MarketGpt):
    """Finds no memory for more windows than `room`, and notes what was tried in training."""

    room: int | None = None

    def forward(self, tokens_BT, assets_B, categories_B):
        if self.training:
            self.tried.append(len(tokens_BT))
            if self.room is not None and len(tokens_BT) > self.room:
                raise torch.OutOfMemoryError("no memory")
        return super().forward(tokens_BT, assets_B, categories_B)


class BreakingGpt(MarketGpt):
    """Fails in the second process, in the middle of training."""

    words, kind, steps = "broken", ValueError, 7

    def forward(self, tokens_BT, assets_B, categories_B):
        if self.training and rank() == 1:
            self.steps -= 1
            if self.steps == 0:
                raise self.kind(self.words)
        return super().forward(tokens_BT, assets_B, categories_B)


class LateCrampedGpt(BreakingGpt):
    """Finds no memory in the second process, after steps that had enough."""

    words, kind = "no memory", torch.OutOfMemoryError


def kills_itself(model, *, watcher) -> None:
    watcher.note("about to go")
    os.kill(os.getpid(), 9)


def breaks(model, *, watcher) -> None:
    watcher.note("about to go")
    raise ValueError("broken")


def main(port: int) -> None:
    with Client(("127.0.0.1", port)) as pipe:
        tell(pipe, rank())
        while True:
            try:
                job, settings = pickle.loads(pipe.recv_bytes())
            except EOFError:
                return
            tell(pipe, job(**settings))


if __name__ == "__main__":
    main(int(sys.argv[1]))
