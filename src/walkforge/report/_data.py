"""Which bars the run saw, and where they came from."""

from __future__ import annotations

from typing import Any

from ._blocks import Section, absent, join, prose, source, table
from ._html import Child, tag
from ._run import Run, entries
from ._words import NOTHING, exact, is_number, moment, number

_COLUMNS = (
    (("venue",), "Venue", "words"),
    (("timeframe",), "Timeframe", "words"),
    (("rows", "n_rows", "n_bars", "bars"), "Bars", "count"),
    (("first", "first_bar", "from", "start"), "First bar", "time"),
    (("last", "last_bar", "to", "end"), "Last bar", "time"),
    (("gaps", "n_gaps"), "Gaps", "count"),
    (("repairs", "repaired"), "Repairs", "count"),
    (("dropped", "dropped_rows"), "Dropped rows", "count"),
    (("provenance",), "Provenance", "words"),
    (("digest",), "Digest (SHA-256)", "digest"),
)
"""Keys that may hold a column, its heading, and how it is shown."""


def data(run: Run) -> Section:
    """Return one row per symbol of what data_info.json tells."""
    by_symbol = symbols_of(run)
    if not by_symbol:
        sentence = "No account of the bars: data_info.json is not there."
        return Section("data", "Data", absent(sentence))
    columns = [
        (keys, name, kind)
        for keys, name, kind in _COLUMNS
        if any(_first(info, keys) is not None for info in by_symbol.values())
    ]
    body = join(
        prose(
            "Gaps cut a series into segments: no feature window, label or trade runs across one. "
            "Bars are never invented. The digest tells whether two runs saw the same bars."
        ),
        table(
            label="Bars of every symbol",
            head=("Symbol", *(name for _, name, _ in columns)),
            rows=[
                [symbol, *(_cell(_first(info, keys), kind) for keys, _, kind in columns)]
                for symbol, info in by_symbol.items()
            ],
            words=[
                place
                for place, (_, _, kind) in enumerate(columns, start=1)
                if kind in ("words", "time", "digest")
            ],
            origin=source("data_info.json"),
        ),
    )
    return Section("data", "Data", body)


def symbols_of(run: Run) -> dict[str, Any]:
    """Return what data_info.json tells of each symbol, under `symbols` or at its top."""
    whole = entries(run.data_info, "symbols") or entries({"top": run.data_info}, "top")
    return {name: info for name, info in whole.items() if isinstance(info, dict)}


def span_of(run: Run) -> tuple[str, str]:
    """Return the first and the last moment of any symbol's bars, empty where not known."""
    firsts, lasts = (
        [moment(at) for info in symbols_of(run).values() if (at := _first(info, keys)) is not None]
        for keys, name, _ in _COLUMNS
        if name in ("First bar", "Last bar")
    )
    return (min(firsts, default=""), max(lasts, default=""))


def _first(info: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((info[key] for key in keys if info.get(key) is not None), None)


def _cell(value: Any, kind: str) -> Child:
    if value is None:
        return NOTHING
    if kind == "time":
        return moment(value)
    if kind == "digest":
        return tag("code", str(value)[:12], title=str(value))
    if kind == "count":
        return _tally(value)
    return str(value)


def _tally(value: Any) -> Child:
    """Return a count, the length of a list, or the sum of a mapping of counts."""
    if isinstance(value, list):
        value = len(value)
    if isinstance(value, dict):
        value = sum(n for n in value.values() if is_number(n))
    return exact(value, number(value)) if is_number(value) else str(value)
