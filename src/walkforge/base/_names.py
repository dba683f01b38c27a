"""Names that a user may misspell."""

import difflib
from collections.abc import Iterable, Sequence

from ._errors import UsageError


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the closest valid name, or an empty string."""
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def one_of(what: str, name: str, valid: Iterable[str]) -> str:
    """Return `name` if it is valid; raise UsageError naming the choices if not."""
    choices = list(valid)
    if name not in choices:
        raise UsageError(
            f"unknown {what} {name!r}{nearest(name, choices)}; choose one of {', '.join(choices)}"
        )
    return name


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return names with commas; those beyond `most` are only counted."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def counted(count: int, what: str) -> str:
    """Return `1 hole` or `2,000 holes`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
