"""What run folders remember of the trial ledger, which shows when it was deleted or cut short."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from walkforge.base import RunError, read_json

from ._trial_ledger import Ledger, read_ledger

MEMORY = "ledger"
"""Key of `run.json` and `tune.json`."""

BEGIN = "begin"
"""`kind` of a ledger's first line."""

_FILES = ("run.json", "tune.json")


@dataclass(frozen=True, slots=True)
class Memory:
    """What one folder remembers: that the ledger's line `n_lines` had the digest `head`."""

    folder: Path
    path: str
    n_lines: int
    head: str


def trouble_of(ledger: Ledger, folder: Path | None = None) -> str | None:
    """Return what is wrong with a ledger in one sentence, None where nothing is.

    Asked are its own chain and the folders that lie in the workspace, at most two levels deep, and
    `folder` where that was entered in this very ledger.
    """
    known = [*_memories_in(ledger.path.parent), *_memory_beside(ledger, folder)]
    lost = {one.folder: one for one in known if not ledger.holds(one.n_lines, one.head)}
    if lost:
        return _lost_words(ledger, list(lost.values()))
    if ledger.broken_at is not None:
        return (
            f"{ledger.path}: line {ledger.broken_at} does not follow from the line before it, so "
            "lines of the trial ledger were edited or taken away; trials are counted from what is "
            "left. Bring it back from a copy."
        )
    if begun_anew(ledger) is not None:
        return (
            f"{ledger.path}: this trial ledger began anew on {begun_anew(ledger)} UTC in place of "
            "one that was gone; trials before that are not counted. Bring the old one back."
        )
    return None


def ledger_trouble(folder: Path | None = None) -> str | None:
    """Return what is wrong with the workspace's ledger; see `trouble_of`."""
    return trouble_of(read_ledger(), folder)


def begun_anew(ledger: Ledger) -> str | None:
    """Return when the ledger began in place of one that was gone; None where it did not."""
    first = ledger.lines[0] if len(ledger) else None
    return None if first is None or not first.get("in_place_of") else str(first.get("when"))


def _lost_words(ledger: Ledger, lost: list[Memory]) -> str:
    longest = max(lost, key=lambda one: one.n_lines)
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    lines = "line" if longest.n_lines == 1 else "lines"
    remembered = f"the {longest.n_lines} {lines} that {longest.folder}{more} remembers"
    if not len(ledger):
        what = f"the trial ledger is gone, and with it {remembered}"
    elif begun_anew(ledger) is not None:
        what = f"this trial ledger began anew on {begun_anew(ledger)} UTC, without {remembered}"
    else:
        what = f"the trial ledger was cut short or edited: it does not hold {remembered}"
    return (
        f"{ledger.path}: {what}; trials are counted from what is left. Bring it back from a copy."
    )


def _memories_in(place: Path) -> Iterator[Memory]:
    for pattern in ("*", "*/*"):
        for name in _FILES:
            for path in sorted(place.glob(f"{pattern}/{name}")):
                if not path.parent.name.startswith("."):  # half-written
                    yield from _read(path)


def _memory_beside(ledger: Ledger, folder: Path | None) -> Iterator[Memory]:
    """Yield what a folder anywhere remembers of this ledger."""
    for name in _FILES if folder is not None else ():
        assert folder is not None
        found = _read(folder / name)
        yield from (one for one in found if one.path == str(ledger.path))


def _read(path: Path) -> Iterator[Memory]:
    try:
        told = read_json(path).get(MEMORY) if path.is_file() else None
        if told is not None:
            where = path.parent
            yield Memory(where, str(told["path"]), int(told["lines"]), str(told["head"]))
    except (RunError, AttributeError, KeyError, TypeError, ValueError):
        return  # a damaged file is told by whoever needs it
