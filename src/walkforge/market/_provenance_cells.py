"""The column `provenance` of a file of bars: what is simulated says so in every row, for ever."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from walkforge.base import BarsError, listed

from ._bars import PROVENANCES

_NAME = "provenance"


def find_provenance_column(there: Sequence[str]) -> str | None:
    """Return the file's own name of the column that says what its bars are, None without one."""
    return next((own for own in there if own.strip().lower() == _NAME), None)


def provenance_in_cells(tables: Iterable[tuple[str, pl.DataFrame]]) -> dict[str, Any]:
    """Return `provenance` where tables, each with its name, have such a column, else nothing.

    Raises BarsError for several values in a table, for one that is unknown, and for tables of
    one file that say different things.
    """
    told = {name: _provenance_of(name, frame) for name, frame in tables}
    kinds = sorted({kind or "file" for kind in told.values()})
    if len(kinds) > 1:
        raise BarsError(
            f"{next(iter(told))}: its tables are {' and '.join(kinds)}; these are never mixed"
        )
    return {_NAME: kinds[0]} if any(told.values()) else {}


def _provenance_of(name: str, frame: pl.DataFrame) -> str | None:
    own = find_provenance_column(frame.columns)
    if own is None or not len(frame):
        return None
    found = frame[own].cast(pl.String).fill_null("").str.strip_chars()
    kinds = found.unique(maintain_order=True).to_list()
    if len(kinds) == 1 and kinds[0] in PROVENANCES:
        return str(kinds[0])
    shown = [kind[:20] or "''" for kind in kinds]
    holds = f"{len(kinds)} of them: {listed(shown, most=3)}" if len(kinds) > 1 else repr(kinds[0])
    raise BarsError(
        f"{name}: column {own!r} holds {holds}, expected one of {', '.join(PROVENANCES)} for the "
        "whole file"
    )
