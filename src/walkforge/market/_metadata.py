"""What a Parquet file of ours tells of itself, in its metadata or a column `provenance`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from walkforge.base import BarsError

from ._bars import PROVENANCES
from ._calendar import CALENDARS
from ._provenance_cells import find_provenance_column, provenance_in_cells

METADATA_KEY = "walkforge"
_WAY_OUT = "bring its bars in again from where they came"


def is_text(value: Any) -> bool:
    """Return whether a value is text."""
    return isinstance(value, str)


def is_spans(value: Any) -> bool:
    """Return whether a value is a list of pairs of whole numbers."""
    return isinstance(value, list) and all(
        isinstance(span, list) and len(span) == 2 and all(type(edge) is int for edge in span)
        for span in value
    )


_Fits = Callable[[Any], bool]
_KNOWN: dict[str, tuple[_Fits, str]] = {
    "provenance": (lambda told: told in PROVENANCES, f"one of {', '.join(PROVENANCES)}"),
    "calendar": (lambda told: told in ("auto", *CALENDARS), f"one of {', '.join(CALENDARS)}"),
    "calendar_named": (
        lambda told: told is None or told in CALENDARS,
        f"one of {', '.join(CALENDARS)}, or null",
    ),
    "history": (
        lambda told: isinstance(told, list) and all(map(is_text, told)),
        "a list of lines",
    ),
    "sources": (
        lambda told: isinstance(told, list) and all(isinstance(one, dict) for one in told),
        "a list of tables",
    ),
    "asked": (
        lambda told: isinstance(told, dict) and all(map(is_spans, told.values())),
        "lists of [start, end] by source",
    ),
}
# What a manifest knows a file by, and whether a file is nothing without it.
_OF_A_SOURCE = {"source": False, "file": True, "sha256": True, "imported_at": False}


def read_metadata(path: Path) -> dict[str, Any]:
    """Return what we wrote into a Parquet file's metadata, and the `provenance` of its column.

    Empty for files of others without such a column. Raises BarsError where the file is damaged,
    an entry is nothing that we write, or metadata and column contradict each other.
    """
    from pyarrow import ArrowException, parquet

    try:
        whole = parquet.read_metadata(path)
        metadata = json.loads((whole.metadata or {}).get(METADATA_KEY.encode(), b"{}"))
    except (ArrowException, OSError) as error:
        raise BarsError(f"{path}: not a readable Parquet file: {one_line(error)}") from None
    except (ValueError, RecursionError):
        metadata = None
    _refuse_nonsense(path, metadata)
    own = find_provenance_column(whole.schema.names)
    return metadata if own is None else _with_provenance_in(own, path, metadata)


def sources_told(path: Path, metadata: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the sources that a single file's metadata tells, as entries of a manifest.

    Raises BarsError where one of them lacks what an entry needs.
    """
    for number, told in enumerate(metadata.get("sources", ()), start=1):
        for name, needed in _OF_A_SOURCE.items():
            if not is_text(told.get(name, None if needed else "")):
                raise BarsError(
                    f"{path}: its metadata entry {METADATA_KEY!r} has {name} "
                    f"{shown(told.get(name))} in source {number}, expected text; {_WAY_OUT}"
                )
    return tuple(_as_entry(told) for told in metadata.get("sources", ()))


def one_line(error: Exception) -> str:
    """Return the beginning of what an error of another library says."""
    return str(error).strip().split("\n")[0][:200] or type(error).__name__


def _refuse_nonsense(path: Path, metadata: Any) -> None:
    where = f"{path}: its metadata entry {METADATA_KEY!r}"
    if not isinstance(metadata, dict):
        raise BarsError(f"{where} is damaged, expected a table in JSON; {_WAY_OUT}")
    for name, (fits, expected) in _KNOWN.items():
        if name in metadata and not fits(metadata[name]):
            raise BarsError(
                f"{where} has {name} {shown(metadata[name])}, expected {expected}; {_WAY_OUT}"
            )


def shown(value: Any) -> str:
    """Return the beginning of a value as JSON has it."""
    return json.dumps(value)[:60]


def _as_entry(told: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: told[name] for name in ("source", "file", "sha256") if name in told}
    agreed = told.get("checksum_agreed") is True
    return {
        "source": "file",
        **kept,
        "checksum_agreed": agreed,
        "fetched_at": told.get("imported_at"),
    }


def _with_provenance_in(own: str, path: Path, metadata: dict[str, Any]) -> dict[str, Any]:
    # Metadata is lost where somebody else writes the file again; a column is not.
    try:
        column = pl.read_parquet(path, columns=[own], glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BarsError(f"{path}: not a readable Parquet file: {one_line(error)}") from None
    told = {**metadata, **provenance_in_cells([(str(path), column)])}
    if metadata.get("provenance", told.get("provenance")) != told.get("provenance"):
        raise BarsError(
            f"{path}: column {own!r} says that its bars are {told['provenance']}, its metadata "
            f"says {metadata['provenance']}; find out which is true, and write the file again"
        )
    return told
