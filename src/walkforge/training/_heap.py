"""Freed memory stays with the process while it trains.

Every step frees and asks again for the same few megabytes. glibc gives them back to the system
in between, and each page must then be cleared and mapped anew: a third of the time of an MLP's
step on two cores, measured with benchmarks/training.py.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from walkforge.base import give_back_freed

# From malloc.h of glibc, with the largest threshold that it takes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
_DEFAULT_THRESHOLD = 128 * 2**10
_NEVER = 2**31 - 1


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory within the block; afterwards give back what is free.

    Does nothing where the C library is not glibc.
    """
    if sys.platform != "linux" or not hasattr(glibc := ctypes.CDLL(None), "mallopt"):
        yield
        return
    glibc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    glibc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        glibc.mallopt(_M_TRIM_THRESHOLD, _DEFAULT_THRESHOLD)
        glibc.mallopt(_M_MMAP_THRESHOLD, _DEFAULT_THRESHOLD)
        give_back_freed()
