"""The trial ledger's file: lines of JSON that are only ever added, each with the digest of the one
before it, so that a line that was edited or taken away shows.

What the lines say is `_trial_entries`' business.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walkforge.base import RunError, json_text, taking_turns

from ._folder import workspace

LEDGER = "trials.jsonl"

# Whoever adds a line needs milliseconds.
_PATIENCE_S = 60.0

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger as it was read."""

    path: Path
    digests: tuple[str, ...] = ()
    """SHA-256 of every line."""
    lines: tuple[Line | None, ...] = ()
    """What every line says; None for one that a killed process left unfinished."""
    is_ended: bool = True
    """Whether the last line has its line break."""

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def head(self) -> str:
        """Return the digest of the last line, nothing where there is none."""
        return self.digests[-1] if self.digests else ""

    @property
    def n_unfinished(self) -> int:
        """Return how many lines a killed process left unfinished."""
        return sum(line is None for line in self.lines)

    @property
    def broken_at(self) -> int | None:
        """Return the number, from 1, of the first line that does not follow the one before it."""
        before = ("", *self.digests)
        for index, line in enumerate(self.lines):
            if line is not None and line.get("before") != before[index]:
                return index + 1
        return None

    def holds(self, n_lines: int, head: str) -> bool:
        """Return whether line `n_lines` is the one with the digest `head`."""
        return 1 <= n_lines <= len(self) and self.digests[n_lines - 1] == head


def ledger_path() -> Path:
    """Return where the workspace's ledger lies."""
    return (workspace() / LEDGER).resolve()


def read_ledger() -> Ledger:
    """Return the workspace's ledger, an empty one where there is none.

    Raises RunError where it cannot be read.
    """
    path = ledger_path()
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Ledger(path)
    except OSError as error:
        raise _not_usable(path, error) from None
    *ended, rest = raw.split(b"\n")
    lines = [*ended, rest] if rest else ended
    return Ledger(
        path,
        digests=tuple(_digest(line) for line in lines),
        lines=tuple(_plain(line) for line in lines),
        is_ended=not rest,
    )


def add_lines(wanted: Callable[[Ledger], Sequence[Line]]) -> Ledger:
    """Add the lines that `wanted` asks for once it has seen the ledger; return the new ledger.

    Other writers wait meanwhile. What a killed process left unfinished stays as a line of its own.
    Raises RunError where the ledger cannot be written.
    """
    path = ledger_path()
    try:
        with taking_turns(path, RunError, patience_s=_PATIENCE_S):
            ledger = read_ledger()
            return _added(ledger, wanted(ledger))
    except OSError as error:
        raise _not_usable(path, error) from None


def _not_usable(path: Path, error: OSError) -> RunError:
    return RunError(
        f"{path}: the trial ledger cannot be read and written ({error.strerror}), and what is not "
        "in it is not run; set WALKFORGE_WORKSPACE to a folder where it can"
    )


def _added(ledger: Ledger, lines: Sequence[Line]) -> Ledger:
    if not lines:
        return ledger
    digests, texts = list(ledger.digests), []
    for line in lines:
        before = digests[-1] if digests else ""
        texts.append(json_text({"before": before, **line}).encode())
        digests.append(_digest(texts[-1]))
    cut = b"" if ledger.is_ended else b"\n"
    with ledger.path.open("ab") as file:
        file.write(cut + b"".join(text + b"\n" for text in texts))
        file.flush()
        os.fsync(file.fileno())
    said = (*ledger.lines, *(_plain(text) for text in texts))
    return Ledger(ledger.path, digests=tuple(digests), lines=said)


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _plain(line: bytes) -> Line | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
