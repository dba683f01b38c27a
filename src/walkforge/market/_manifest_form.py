"""What may stand in a manifest: somebody may have edited it, or a disk changed it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from walkforge.base import TIMEFRAMES_MS

from ._bars import PROVENANCES
from ._calendar import CALENDARS
from ._columns import VALUES, is_plain
from ._metadata import is_spans, is_text, shown

Fits = Callable[[Any], bool]
PART_NAME = re.compile(r"[0-9]{4}(-[0-9]{2})?\.[0-9a-f]{12}\.parquet")
# The years 1 to 9999, which are all that a date can be.
_FIRST_MS, _END_MS = -62_135_596_800_000, 253_402_300_800_000


def refuse_nonsense(plain: Any) -> None:
    """Raise ValueError for the first thing in a manifest, as JSON has it, that none can hold."""
    _refuse("it", plain, _is_table, "a table")
    for name, (fits, expected) in _MANIFEST.items():
        _refuse(name, plain.get(name), fits, expected)
    for number, part in enumerate(plain["parts"], start=1):
        for name, (fits, expected) in _PART.items():
            _refuse(f"{name} of part {number}", part.get(name), fits, expected)
        if part.keys() != _PART.keys() or part["first_ms"] > part["last_ms"]:
            raise ValueError(f"part {number} is none: {shown(part)}")
    for number, entry in enumerate(plain["sources"], start=1):
        for name, (fits, expected) in _needed(entry).items():
            _refuse(f"{name} of source {number}", entry.get(name), fits, expected)


def _refuse(what: str, value: Any, fits: Fits, expected: str) -> None:
    if not fits(value):
        raise ValueError(f"{what} is {shown(value)}, expected {expected}")


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_moment(value: Any) -> bool:
    return type(value) is int and _FIRST_MS <= value < _END_MS


def _list_of(fits: Fits) -> Fits:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _table_of(fits: Fits) -> Fits:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _or_nothing(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


def _among(values: tuple[str, ...]) -> Fits:
    return lambda value: is_text(value) and value in values


def _are_columns(value: Any) -> bool:
    usual = len(VALUES)
    return (
        _list_of(is_text)(value)
        and tuple(value[:usual]) == VALUES
        and all(map(is_plain, value[usual:]))
        and len({"timestamp", *value}) == 1 + len(value)
    )


def _are_spans(value: Any) -> bool:
    return is_spans(value) and all(abs(edge) < 2**63 for span in value for edge in span)


_TEXT = (is_text, "text")
_COUNT = (_is_count, "a whole number of at least 0")
_MOMENT = (_is_moment, "milliseconds since 1970")
_MANIFEST: Mapping[str, tuple[Fits, str]] = {
    "venue": _TEXT,
    "symbol": _TEXT,
    "timeframe": (_among(tuple(TIMEFRAMES_MS)), "a timeframe"),
    "provenance": (_among(PROVENANCES), f"one of {', '.join(PROVENANCES)}"),
    "calendar": (_among(CALENDARS), f"one of {', '.join(CALENDARS)}"),
    "calendar_named": (_or_nothing(_among(CALENDARS)), f"one of {', '.join(CALENDARS)}, or null"),
    "history": (_list_of(is_text), "a list of lines"),
    "columns": (_are_columns, f"{', '.join(VALUES)}, and further ones of plain names"),
    "asked": (_table_of(_are_spans), "lists of [start, end] by source"),
    "took_sha256": (_or_nothing(is_text), "text or null"),
    "parts": (lambda value: bool(value) and _list_of(_is_table)(value), "a list of parts"),
    "sources": (_list_of(_is_table), "a list of tables"),
}
_PART: Mapping[str, tuple[Fits, str]] = {
    "file": (lambda value: is_text(value) and bool(PART_NAME.fullmatch(value)), "a part's name"),
    "rows": _COUNT,
    "first_ms": _MOMENT,
    "last_ms": _MOMENT,
    "size_bytes": _COUNT,
    "sha256": _TEXT,
    "sources": (_list_of(is_text), "a list of names"),
    "written_at": _TEXT,
}
_MAY_LACK: Mapping[str, tuple[Fits, str]] = {
    "file": _TEXT,
    "version": _TEXT,
    "sha256": (_or_nothing(is_text), "text or null"),
    "days": (_table_of(is_text), "versions by day"),
    "from": _TEXT,
    "to": _TEXT,
    "rows": _COUNT,
    "pieces": _COUNT,
}


def _needed(entry: Mapping[str, Any]) -> dict[str, tuple[Fits, str]]:
    """Return what an entry of `sources` must hold: of what may lack only what it has."""
    keyed = entry.get("version") or entry.get("sha256")
    needed = {"source", "file"} if keyed else {"source", "from", "to", "rows"}
    return {
        name: form
        for name, form in {"source": _TEXT, **_MAY_LACK}.items()
        if name in entry or name in needed
    }
