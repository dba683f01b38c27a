"""One writer at a time for a file, or a series, that is read, changed and written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._errors import WalkforgeError


@contextmanager
def taking_turns(
    path: Path, refusal: type[WalkforgeError], *, patience_s: float = 120.0
) -> Iterator[None]:
    """Hold a path for changing; other writers wait, readers do not.

    The lock `.NAME.lock` stays beside it, and is free once the process that held it is gone.
    Raises `refusal` where another writer keeps it for more than `patience_s`, OSError where the
    folder cannot be written.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=patience_s)
    except Timeout:
        raise refusal(
            f"{path}: another process has been writing it for {patience_s:g} seconds; wait for "
            "it, or end it"
        ) from None
    try:
        yield
    finally:
        lock.release()
