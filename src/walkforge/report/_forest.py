"""A picture of gains: a dot with its interval for each rival, around the line of no difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ._figure import layout, note, plain, rounded, rule, x_axis, y_axis
from ._run import at
from ._words import decimals, is_number, span

# A rival whose distance is this many times that of the next nearer one would press all others
# into a dot; it is drawn as an arrow at the edge instead.
_FAR = 8.0


@dataclass(frozen=True, slots=True)
class Gain:
    """One row of the picture; a measure without an interval has None at its ends."""

    value: float
    low: float | None = None
    high: float | None = None
    parts: tuple[float, ...] = ()
    """The same gain in single folds or symbols."""

    @property
    def role(self) -> str:
        """Return the colour: whether the interval leaves zero, and on which side."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "--unsure"
        return "--good" if self.low > 0 else "--bad"

    @property
    def told(self) -> str:
        """Return the value and its interval in words."""
        interval = span({"low": self.low, "high": self.high}, 4, signed=True)
        value = decimals(self.value, 4, signed=True)
        return f"{value} ({interval})" if interval else value


def gain_of(measure: Any, *, parts: str) -> Gain | None:
    """Return the gain of a measure from a file, None where it has no value.

    `parts` names the key that holds the single folds or symbols.
    """
    value = at(measure, "value")
    if not is_number(value):
        return None
    low, high = at(measure, "low"), at(measure, "high")
    whole = is_number(low) and is_number(high)
    by_part = at(measure, parts)
    found = [at(part, "value") for part in by_part.values()] if isinstance(by_part, dict) else []
    return Gain(
        value,
        low if whole else None,
        high if whole else None,
        tuple(single for single in found if is_number(single)),
    )


def forest(
    gains: Mapping[str, Gain], *, unit: str, worse: str, better: str, part: str
) -> dict[str, Any]:
    """Return the figure; `worse` and `better` stand on both sides of zero, `part` at a tick."""
    names = [plain(name) for name in gains]
    edges = _edges(list(gains.values()))
    traces, annotations = [], []
    for name, gain in zip(names, gains.values(), strict=True):
        if edges[0] <= gain.value <= edges[1]:
            traces += [_ticks(name, gain, edges, part), _dot(name, gain)]
        else:
            traces.append(_arrow(name, gain, edges))
            annotations.append(_arrow_words(name, gain, edges))
    sides = {"x": 0, "y": 1, "yref": "paper", "yanchor": "bottom"}
    return {
        "data": traces,
        "layout": layout(
            height=100 + 44 * len(names),
            margin={"l": 8, "r": 16, "t": 26, "b": 48},
            xaxis=x_axis(unit, tickformat=".3~f", nticks=5, range=edges),
            yaxis=y_axis(
                type="category",
                categoryorder="array",
                categoryarray=names[::-1],
                range=[-0.6, len(names) - 0.4],
                showgrid=False,
            ),
            shapes=[rule("--line-strong", width=1.5, x0=0, x1=0, y0=0, y1=1, yref="paper")],
            annotations=[
                *annotations,
                note(f"{plain(worse)} ←  ", xanchor="right", **sides),
                note(f"  → {plain(better)}", xanchor="left", **sides),
            ],
        ),
    }


def _edges(gains: Sequence[Gain]) -> list[float]:
    """Return where the axis begins and ends: it holds zero and every rival not too far."""
    near = sorted((_ends(gain) for gain in gains), key=_reach)
    jumps = [
        place
        for place, (one, other) in enumerate(pairwise(near), start=1)
        if _reach(other) > _FAR * max(_reach(one), 1e-6)
    ]
    kept = near[: jumps[0]] if jumps else near
    low = min(0.0, *(ends[0] for ends in kept))
    high = max(0.0, *(ends[1] for ends in kept))
    margin = 0.08 * (high - low) or 1e-3
    # Both sides of zero have room for their word.
    return [min(low - margin, -0.45 * high), max(high + margin, -0.45 * low)]


def _ends(gain: Gain) -> tuple[float, float]:
    known = [end for end in (gain.value, gain.low, gain.high, *gain.parts) if end is not None]
    return min(known), max(known)


def _reach(ends: tuple[float, float]) -> float:
    return max(abs(ends[0]), abs(ends[1]))


def _dot(name: str, gain: Gain) -> dict[str, Any]:
    arms = {
        side: rounded([0.0 if end is None else abs(end - gain.value)])
        for side, end in (("array", gain.high), ("arrayminus", gain.low))
    }
    return {
        "type": "scatter",
        "mode": "markers",
        "x": rounded([gain.value]),
        "y": [name],
        "error_x": {
            "type": "data",
            "symmetric": False,
            **arms,
            "color": gain.role,
            "thickness": 2.5,
            "width": 0,
        },
        "marker": {
            "symbol": "circle-open" if gain.role == "--unsure" else "circle",
            "size": 11,
            "color": gain.role,
            "line": {"width": 2.5, "color": gain.role},
        },
        "hovertemplate": f"{gain.told}<extra>%{{y}}</extra>",
    }


def _arrow(name: str, gain: Gain, edges: list[float]) -> dict[str, Any]:
    right = gain.value > 0
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [edges[1] if right else edges[0]],
        "y": [name],
        "cliponaxis": False,
        "marker": {
            "symbol": "triangle-right" if right else "triangle-left",
            "size": 13,
            "color": gain.role,
        },
        "hovertemplate": f"{gain.told}<extra>%{{y}}</extra>",
    }


def _arrow_words(name: str, gain: Gain, edges: list[float]) -> dict[str, Any]:
    right = gain.value > 0
    return note(
        decimals(gain.value, 4, signed=True),
        x=edges[1] if right else edges[0],
        y=name,
        xanchor="right" if right else "left",
        xshift=-12 if right else 12,
    )


def _ticks(name: str, gain: Gain, edges: list[float], part: str) -> dict[str, Any]:
    values = [value for value in gain.parts if edges[0] <= value <= edges[1]]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(values),
        "y": [name] * len(values),
        "marker": {"symbol": "line-ns", "size": 10, "line": {"width": 1, "color": "--ink-faint"}},
        "hovertemplate": f"{part}: %{{x:+.4f}}<extra>%{{y}}</extra>",
    }
