"""Lines of the model and of baselines in one picture, by step ahead or by level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ._blocks import Key
from ._figure import plain, rounded
from ._run import at
from ._words import is_number, spoken

_DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")
"""One for each of the strongest baselines, whose colours are `--run-1` to `--run-5`."""


class Curve(NamedTuple):
    """A line of the model or of a baseline by step or level; ends are None without interval."""

    name: str
    place: int
    """Rank among the baselines, the strongest 0: its colour is the same in every picture."""
    x: list[float]
    y: list[float]
    low: list[float | None]
    high: list[float | None]


def curve_of(name: str, place: int, points: Sequence[tuple[float, Any]]) -> Curve | None:
    """Return the points that have a value; None where there is none."""
    known = [(x, entry) for x, entry in points if is_number(at(entry, "value"))]
    if not known:
        return None
    ends = [
        [end if is_number(end := at(entry, key)) else None for _, entry in known]
        for key in ("low", "high")
    ]
    return Curve(name, place, [x for x, _ in known], [e["value"] for _, e in known], *ends)


def strongest(curves: Iterable[Curve | None]) -> list[Curve]:
    """Return the curves of the baselines that have a colour."""
    return [curve for curve in curves if curve is not None and curve.place < len(_DASHES)]


def keys_of(others: Sequence[Curve]) -> list[Key]:
    """Return what the baselines' lines mean."""
    return [Key(_role(curve.place), "dash", spoken(curve.name)) for curve in others]


def dashed(curve: Curve, hover: str) -> dict[str, Any]:
    """Return the line of a baseline; a single point is a diamond."""
    return {
        "type": "scatter",
        "mode": "lines" if len(curve.x) > 1 else "markers",
        "name": plain(spoken(curve.name)),
        "x": curve.x,
        "y": rounded(curve.y),
        "line": {"color": _role(curve.place), "width": 1.75, "dash": _DASHES[curve.place]},
        "marker": {"color": _role(curve.place), "size": 7, "symbol": "diamond-open"},
        "hovertemplate": hover,
    }


def _role(place: int) -> str:
    return f"--run-{place + 1}"
