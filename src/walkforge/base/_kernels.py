"""Python functions compiled to machine code by Numba, which is imported on use."""

from collections.abc import Callable
from typing import Any


def compile_kernel(*arguments: Any) -> Callable[[Callable], Any]:
    """Return a decorator that compiles a kernel for these Numba types, or loads it from the cache.

    Without types it is compiled when it is first called. The cache is beside the kernel's file, or
    in the user's own folder where that cannot be written. Where neither can, or an entry is
    damaged, the kernel is compiled anew: seconds a process.
    """
    from numba import njit

    def compile_or_load(kernel: Callable) -> Any:
        wanted = (arguments,) if arguments else ()
        try:
            return njit(*wanted, cache=True)(kernel)
        except Exception:  # a damaged entry fails in as many ways as there are to damage it
            return njit(*wanted)(kernel)

    return compile_or_load
