"""Helper processes that compute tables in memory which they share with this one.

Processes, because a table is thousands of short NumPy calls, after each of which a thread waits
for the interpreter: two threads took as long as one. They are started afresh and not forked, as
other libraries may hold locks in this process. Bars and features lie in memory without a name
(`memfd`), which only Linux has; elsewhere there are no helpers.
"""

import json
import mmap
import os
import subprocess
import sys
from collections.abc import Sequence
from queue import SimpleQueue
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from walkforge.market import Bars

from ._build import compute
from ._sets import feature_set

# Helpers need half a second to start, in which this process computes a million rows: two of them
# are ahead from two million rows on, and well ahead from here.
LEAST_SHARED_ROWS = 4_000_000

_COLUMNS = ("open", "high", "low", "close", "volume")
_DONE = "table complete"


def n_helpers(lengths: Sequence[int]) -> int:
    """Return how many helpers should compute tables of so many rows; 1 means none."""
    can = hasattr(os, "memfd_create") and sys.executable and not getattr(sys, "frozen", False)
    if not can or sum(lengths) < LEAST_SHARED_ROWS:
        return 1
    return min(len(os.sched_getaffinity(0)), len(lengths))


class Helpers:
    """Some processes that compute one feature set, to be called from as many threads."""

    def __init__(self, n_processes: int, set_name: str, most_bars: int) -> None:
        self._all = [_Helper(set_name, most_bars) for _ in range(n_processes)]
        self._idle: SimpleQueue[_Helper] = SimpleQueue()
        for helper in self._all:
            self._idle.put(helper)

    def __enter__(self) -> "Helpers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for helper in self._all:
            helper.close()

    def compute(self, values: NDArray[np.float32], bars: Bars) -> bool:
        """Write the features of `bars` into `values` (n, F); False where the helper failed."""
        helper = self._idle.get()
        try:
            return helper.compute(values, bars)
        finally:
            self._idle.put(helper)


class _Helper:
    """One process, and the memory that it shares with this one."""

    def __init__(self, set_name: str, most_bars: int) -> None:
        memory = os.memfd_create("walkforge-features")
        try:
            os.ftruncate(memory, _n_bytes(most_bars, set_name))
            self._memory = mmap.mmap(memory, 0)
            program = (
                f"from walkforge.features._helpers import serve; serve({set_name!r}, {memory})"
            )
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Its troubles come back when this process computes the same table once more.
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                pass_fds=[memory],
                text=True,
            )
        finally:
            os.close(memory)

    def compute(self, values: NDArray[np.float32], bars: Bars) -> bool:
        shared = _Shared(self._memory, len(bars), values.shape[1])
        shared.timestamp[:] = bars.timestamp
        for name, prices in zip(_COLUMNS, shared.prices, strict=True):
            prices[:] = getattr(bars, name)
        about = {"n_bars": len(bars), "timeframe": bars.timeframe, "calendar": bars.calendar}
        if self._answer(json.dumps(about)) != _DONE:
            return False
        np.copyto(values, shared.values)
        return True

    def _answer(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(line, file=self._process.stdin, flush=True)
            return self._process.stdout.readline().strip()
        except OSError:  # it is gone
            return ""

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class _Shared:
    """Views into the shared memory: `values` (n, F), `timestamp` (n,) and `prices` (5, n)."""

    def __init__(self, memory: mmap.mmap, n_bars: int, n_columns: int) -> None:
        wide = np.frombuffer(memory, np.float64, count=(1 + len(_COLUMNS)) * n_bars)
        self.timestamp = wide[:n_bars].view(np.int64)
        self.prices = wide[n_bars:].reshape(len(_COLUMNS), n_bars)
        narrow = np.frombuffer(memory, np.float32, n_bars * n_columns, offset=wide.nbytes)
        self.values = narrow.reshape(n_bars, n_columns)


def _n_bytes(n_bars: int, set_name: str) -> int:
    n_columns = len(feature_set(set_name).columns)
    return n_bars * (8 * (1 + len(_COLUMNS)) + 4 * n_columns)


def serve(set_name: str, file: int) -> None:
    """Compute what lies in the shared memory whenever a line on standard input tells of bars."""
    # TA-Lib would load pandas to know its series: half of the time that a helper needs to start.
    sys.modules["pandas"] = None  # type: ignore[assignment]
    wanted, memory = feature_set(set_name), mmap.mmap(file, 0)
    for line in sys.stdin:
        about = json.loads(line)
        shared = _Shared(memory, about["n_bars"], len(wanted.columns))
        shared.values[:] = 0.0
        compute(shared.values, _bars(shared, about), wanted)
        sys.stdout.write(_DONE + "\n")
        sys.stdout.flush()


def _bars(shared: _Shared, about: dict[str, str]) -> Bars:
    open_, high, low, close, volume = shared.prices
    return Bars(
        venue="",
        symbol="",
        timeframe=about["timeframe"],
        calendar=about["calendar"],  # known, where stamps alone might be read otherwise
        timestamp=shared.timestamp,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
    )
