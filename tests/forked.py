"""Processes of their own for tests, forked from one that has imported what they need.

To import torch and its like takes longer than most of these processes live; and a kill that counts
moments meets the work, not the imports.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from typing import Any

LONGEST_S = 300
"""So long a test waits for a process that hangs."""
_IMPORTED = [
    "arch.bootstrap", "lightgbm", "numba", "optuna", "plotly.offline", "pytest",
    "safetensors.torch", "sklearn.isotonic", "sklearn.linear_model", "talib", "walkforge.sources",
    "walkforge.study",
]  # fmt: skip

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(_IMPORTED)


def begin(job: Callable[..., Any], *words: Any) -> BaseProcess:
    """Start a process that calls a function of a module of tests."""
    process = _CONTEXT.Process(target=_as_here, args=(dict(os.environ), job, words))
    process.start()
    return process


def _as_here(environment: dict[str, str], job: Callable[..., Any], words: Sequence[Any]) -> None:
    """Call the job with the variables of the test: a fork has those of the first one of all."""
    os.environ.clear()
    os.environ.update(environment)
    job(*words)


def exit_code(job: Callable[..., Any], *words: Any) -> int:
    """Return how such a process ended: 0, 1 where the job raised, -9 where it was killed."""
    process = begin(job, *words)
    process.join(LONGEST_S)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{job.__name__} does not end")
    return process.exitcode
