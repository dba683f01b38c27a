"""One writer at a time for a file, or a series, that is read, changed and replaced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from walkforge.base import BarsError

# A change takes a second or so; only an import of a large folder takes longer.
_PATIENCE_S = 120.0


@contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Hold a path for changing; other writers wait, readers do not.

    The lock `.NAME.lock` stays beside it. Raises BarsError where another writer keeps it for more
    than two minutes, OSError where the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=_PATIENCE_S)
    except Timeout:
        raise BarsError(
            f"{path}: another process has been writing it for {_PATIENCE_S:g} seconds; wait for "
            "it, or end it"
        ) from None
    try:
        yield
    finally:
        lock.release()
