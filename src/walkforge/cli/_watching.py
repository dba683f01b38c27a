"""Long work at the terminal: progress on standard error, and how to go on where it is cut off."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from ._console import make_watcher
from ._interrupt import Interruptible


def watched(folder: Path, work: Callable[[Interruptible], object], *, go_on: str) -> None:
    """Do the work that writes `folder`; interrupted, say that `go_on FOLDER` continues it."""
    try:
        with make_watcher() as shown, Interruptible(shown) as watcher:
            work(watcher)
    except KeyboardInterrupt:
        if (folder / "study.yaml").exists():
            command = f"{go_on} {shlex.quote(str(folder))}"
            print(f"interrupted; continue with: {command}", file=sys.stderr)
        raise
