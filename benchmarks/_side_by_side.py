"""What the benchmarks share: taking turns, medians, the hardware in a line, and the table."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def in_turns(rivals: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each rival; they run one after the other, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def hardware() -> str:
    """Return processor, cores of this process, system and Python in a line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores; {platform.system()}, Python {platform.python_version()}"


def table(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """Return rows of what, ours, alternative and ratio as a Markdown table."""
    head = [("what", "ours", "alternative", "ratio"), ("---",) * 4]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows])


def in_words(seconds: float) -> str:
    """Return a time with three digits: 1.23 s, 45.6 ms."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    if known.exists():
        for line in known.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
