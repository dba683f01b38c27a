"""What this computer has: processor, memory, disk, as the system tells it.

Linux tells everything; macOS what POSIX knows. A container's own limits count where they are lower
than the machine's, because they are what kills a process.
"""

import ctypes
import os
import platform
import re
import shutil
import sys
from pathlib import Path

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")


def resident_bytes() -> int:
    """Return how much memory this process holds; where the system does not tell, its highest."""
    try:
        pages = int((_PROC / "self" / "statm").read_text().split()[1])
    except OSError:
        return peak_resident_bytes()
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_resident_bytes() -> int:
    """Return the most memory that this process has held so far.

    Linux adds to `getrusage` what the process held before it became this program, so that a small
    child of a large parent would seem large; VmHWM begins anew.
    """
    import resource

    try:
        status = (_PROC / "self" / "status").read_text()
    except OSError:
        status = ""
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, flags=re.MULTILINE)
    if found:
        return int(found[1]) * 1024
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024


def give_back_freed() -> None:
    """Give memory that was freed back to the system; nothing where the C library is not glibc.

    What is freed piece by piece stays with glibc: after the baselines of six folds of half a
    million rows 80 MiB, half a table of features, that no later stage would use.
    """
    glibc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if glibc is not None and hasattr(glibc, "malloc_trim"):
        glibc.malloc_trim(0)


def processor_name() -> str:
    """Return the processor's name, or its architecture where nothing more is told."""
    try:
        text = (_PROC / "cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the processor cores that this process may use, by affinity and container quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota, _, period = _cgroup("cpu.max").partition(" ")
    if quota.isdigit():
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


def memory_bytes() -> tuple[int, int | None]:
    """Return the memory of this machine or container, and how much is free; None: not told."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    available = _available_bytes()
    limit = _cgroup("memory.max")
    if limit.isdigit() and int(limit) < total:
        total = int(limit)
        left = total - int(_cgroup("memory.current") or 0)
        available = left if available is None else min(available, left)
    return total, available


def disk_bytes(path: Path) -> tuple[int, int]:
    """Return the size of the disk where `path` lies, or would lie, and what is free on it."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    usage = shutil.disk_usage(there)
    return usage.total, usage.free


def _available_bytes() -> int | None:
    try:
        text = (_PROC / "meminfo").read_text()
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s*(\d+) kB", text, flags=re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _cgroup(name: str) -> str:
    """Return a limit of the container that this process lives in; empty where there is none."""
    try:
        return (_CGROUP / name).read_text().strip()
    except OSError:
        return ""
