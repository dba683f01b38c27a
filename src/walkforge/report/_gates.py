"""The table of gates: every yes and no, with its number, limit and reason."""

from __future__ import annotations

from typing import Any

from ._blocks import Section, absent, join, prose, source, table
from ._html import Child, Html, tag
from ._run import Run, at, records
from ._words import NOTHING, exact, is_number, number, titled

_PASSED = Html('<span class="passed"><span aria-hidden="true">✓</span> passed</span>')
_FAILED = Html('<span class="failed"><span aria-hidden="true">✕</span> failed</span>')
_UNJUDGED = Html('<span class="unjudged"><span aria-hidden="true">○</span> not judged</span>')


def gates(run: Run) -> Section:
    """Return the table of gates, and what the profile has to say about its own limits."""
    rows = records(run.verdict, "gates")
    if not rows:
        return Section("gates", "Gates", absent("No gates in this run: nothing was judged."))
    profile = at(run.verdict, "profile")
    every = f"every gate of the profile “{profile}”" if profile else "every gate"
    body = join(
        prose(
            f"A gate turns a measured number into yes or no. The model is fit only if {every} "
            "passes. Where a number has an interval, the gate asks its cautious end; what was not "
            "measured never passes."
        ),
        _notes(run),
        table(
            label="Gates",
            head=("Gate", "Result", "Value", "Limit", "Reason"),
            rows=[_row(gate) for gate in rows],
            words=(1, 4),
            stacked=True,
            origin=source("verdict.json", "gates"),
        ),
    )
    return Section("gates", "Gates", body)


def _notes(run: Run) -> Html | None:
    notes = at(run.verdict, "notes")
    if not isinstance(notes, list) or not notes:
        return None
    return tag("div", [prose(str(note)) for note in notes], source("verdict.json", "notes"),
               class_="aside")  # fmt: skip


def _row(gate: dict[str, Any]) -> list[Child]:
    passed = gate.get("passed")
    result = _PASSED if passed is True else _FAILED if passed is False else _UNJUDGED
    return [
        titled(gate.get("name")),
        result,
        [_amount(gate.get("value")), _interval(gate)],
        _amount(gate.get("limit")),
        str(gate.get("reason") or ""),
    ]


def _amount(value: Any) -> Child:
    """Return a gate's value or limit: a number, a range, a mapping of numbers, or words."""
    if is_number(value):
        return exact(value, number(value))
    if isinstance(value, dict):
        return [
            tag("span", tag("small", name), " ", _amount(item), class_="part")
            for name, item in value.items()
        ]
    if isinstance(value, list):
        return [[" to " if place else None, _amount(item)] for place, item in enumerate(value)]
    return NOTHING if value is None else str(value)


def _interval(gate: dict[str, Any]) -> Child:
    low, high = gate.get("low"), gate.get("high")
    if not (is_number(low) and is_number(high)):
        return None
    return tag("small", exact(low, number(low)), " … ", exact(high, number(high)))
