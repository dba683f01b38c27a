"""Where in time the series have bars: a row per series, or of many series how many have some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from walkforge.base import TIMEFRAMES_MS, IntArray

from ._blocks import Key, picture, source
from ._figure import date_axis, layout, plain, y_axis
from ._html import Html
from ._run import at
from ._words import count, day, is_number, moment, moment_ms, number

_MOST_ROWS = 40
"""More rows than these are too thin to see; then the series are counted."""
_BINS = 240
"""Steps of time in which series are counted; a phone has little more dots in a row."""
_UNSEEN_FRAC = 1 / 200
"""A hole shorter than this share of the time is a dot or less on a phone: it gets a mark."""
_ROW, _MARK = "--train", "--bad"


@dataclass(frozen=True, slots=True)
class _Series:
    name: str
    spans: list[tuple[int, int]]
    """From the opening of the first bar to the close of the last one, ms UTC."""
    n_holes: int
    n_closed: int
    """Holes, the shortest, that the spans leave out."""


def coverage_picture(by_symbol: dict[str, Any]) -> Html | None:
    """Return when each series has bars; None where nothing tells it."""
    series = [one for name, facts in by_symbol.items() if (one := _series(name, facts))]
    if not series:
        return None
    if len(series) > _MOST_ROWS:
        return _sums_picture(series)
    return _rows_picture(series)


def _series(name: str, facts: dict[str, Any]) -> _Series | None:
    """Return the stretches of a series; None where they are not told or not readable."""
    told = facts.get("spans")
    step_ms = TIMEFRAMES_MS.get(str(facts.get("timeframe")), 0)
    spans = []
    for ends in told if isinstance(told, list) else []:
        start, last = map(moment_ms, ends) if _is_pair(ends) else (None, None)
        if start is not None and last is not None and last >= start:
            spans.append((start, last + step_ms))
    if not spans:
        return None
    n_closed = _whole(facts.get("spans_joined"), 0)
    n_holes = _whole(at(facts, "holes", "count"), len(spans) - 1 + n_closed)
    return _Series(name, sorted(spans), n_holes, n_closed)


def _whole(value: Any, otherwise: int) -> int:
    return int(value) if is_number(value) else otherwise


def _is_pair(ends: Any) -> bool:
    return isinstance(ends, list) and len(ends) == 2


def _axis(series: Sequence[_Series]) -> tuple[int, int]:
    return (
        min(one.spans[0][0] for one in series),
        max(end for one in series for _, end in one.spans),
    )


def _holes_told(series: Sequence[_Series]) -> str:
    """Return in words how many holes there are, as no picture shows all of them."""
    n_holes = sum(one.n_holes for one in series)
    if not n_holes:
        return "No series has a hole."
    some = sum(1 for one in series if one.n_holes)
    closed = sum(one.n_closed for one in series)
    told = f"{count(n_holes, 'hole')} in {number(some)} of {number(len(series))} series"
    return f"{told}; the {number(closed)} shortest are not drawn." if closed else f"{told}."


def _rows_picture(series: Sequence[_Series]) -> Html:
    first, last = (day(end) for end in _axis(series))
    marked = [hole for one in series for hole in _unseen(one, _axis(series))]
    keys = [Key(_ROW, "bar", "bars")]
    keys += [Key(_MARK, "tick", "a hole too short to be seen")] if marked else []
    return picture(
        _rows_figure(series),
        name="coverage",
        title="Which bars there are",
        reading=(
            "Each row is a series; time runs to the right, in UTC. Gaps are holes; the hours in "
            f"which a market is closed are none. {_holes_told(series)}"
        ),
        keys=keys,
        alt=f"{count(len(series), 'series', 'series')}, {first} to {last}. {_holes_told(series)}",
        origin=source("data_info.json", "*.spans"),
    )


def _rows_figure(series: Sequence[_Series]) -> dict[str, Any]:
    row_px = 30 if len(series) <= _MOST_ROWS // 2 else 20
    height = 70 + row_px * len(series)
    return {
        "data": [_rows(series), _marks(series, 0.6 * row_px)],
        "layout": layout(
            height=height,
            margin={"l": 8, "r": 12, "t": 4, "b": 40},
            barmode="overlay",
            bargap=0.35,
            xaxis=date_axis(range=list(_axis(series))),
            # Of its own accord the axis would leave room for marks above and below.
            yaxis=y_axis(range=[len(series) - 0.5, -0.5], showgrid=False, type="category"),
        ),
    }


def _rows(series: Sequence[_Series]) -> dict[str, Any]:
    spans = [(one.name, start, end) for one in series for start, end in one.spans]
    return {
        "type": "bar",
        "orientation": "h",
        "y": [plain(name) for name, _, _ in spans],
        "base": [start for _, start, _ in spans],
        "x": [end - start for _, start, end in spans],
        "marker": {"color": _ROW, "line": {"width": 0}},
        "customdata": [f"{moment(start)} to {moment(end)}" for _, start, end in spans],
        "hovertemplate": "bars: %{customdata}<extra>%{y}</extra>",
    }


def _marks(series: Sequence[_Series], size_px: float) -> dict[str, Any]:
    axis = _axis(series)
    holes = [(one.name, *hole) for one in series for hole in _unseen(one, axis)]
    return {
        "type": "scatter",
        "mode": "markers",
        "y": [plain(name) for name, _, _ in holes],
        "x": [(start + end) // 2 for _, start, end in holes],
        "marker": {
            "symbol": "line-ns",
            "size": size_px / 2,
            "color": _MARK,
            "line": {"width": 1.5, "color": _MARK},
        },
        "customdata": [f"{moment(start)} to {moment(end)}" for _, start, end in holes],
        "hovertemplate": "hole: %{customdata}<extra>%{y}</extra>",
    }


def _unseen(one: _Series, axis: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the holes of a series that are too short for a gap, from close to opening."""
    least_ms = (axis[1] - axis[0]) * _UNSEEN_FRAC
    holes = [(before[1], after[0]) for before, after in pairwise(one.spans)]
    return [(start, end) for start, end in holes if end - start < least_ms]


def _sums_picture(series: Sequence[_Series]) -> Html:
    axis = _axis(series)
    edges = np.linspace(*axis, _BINS + 1).astype(np.int64)
    some, all_through = _counts(series, edges)
    return picture(
        _sums_figure(edges, some, all_through),
        name="coverage",
        title="How many series have bars",
        reading=(
            "Time runs to the right, in UTC. A dip is a hole that many series share; what is pale "
            "has a hole, a beginning or an end there. The hours in which a market is closed are "
            f"no holes. {_holes_told(series)}"
        ),
        keys=(
            Key("--model", "bar", "bars all through"),
            Key(_ROW, "bar", "bars for a part of the time"),
        ),
        alt=(
            f"At most {number(int(some.max()))} of {number(len(series))} series have bars at a "
            f"time, {day(axis[0])} to {day(axis[1])}. {_holes_told(series)}"
        ),
        origin=source("data_info.json", "*.spans"),
    )


def _counts(series: Sequence[_Series], edges: IntArray) -> tuple[IntArray, IntArray]:
    """Return how many series have any bars in each bin (n,), and how many lack none there (n,)."""
    some, all_through = np.zeros((2, len(edges) - 1), dtype=np.int64)
    for one in series:
        touched, whole = np.zeros((2, len(edges) - 1), dtype=np.bool_)
        start, end = np.array(one.spans).T
        # A hole that the spans leave out has no place here; the words count it.
        for first, stop in zip(
            np.searchsorted(edges, start, side="right") - 1,
            np.searchsorted(edges, end, side="left"),
            strict=True,
        ):
            touched[first:stop] = True
        for first, stop in zip(
            np.searchsorted(edges, start, side="left"),
            np.searchsorted(edges, end, side="right") - 1,
            strict=True,
        ):
            whole[first:stop] = True
        some += touched
        all_through += whole
    return some, all_through


def _sums_figure(edges: IntArray, some: IntArray, all_through: IntArray) -> dict[str, Any]:
    def area(counts: IntArray, role: str, what: str) -> dict[str, Any]:
        return {
            "type": "scatter",
            "mode": "lines",
            "x": edges.tolist(),
            # The last step reaches to the end of the axis.
            "y": [*counts.tolist(), int(counts[-1])],
            "line": {"width": 0, "shape": "hv", "color": role},
            "fill": "tozeroy",
            "fillcolor": role,
            "hovertemplate": f"%{{x|%Y-%m-%d}}: %{{y}} series with {what}<extra></extra>",
        }

    return {
        "data": [
            area(some, _ROW, "bars"),
            area(all_through, "--model", "bars all through"),
        ],
        "layout": layout(
            height=280,
            xaxis=date_axis(showgrid=False, range=[int(edges[0]), int(edges[-1])]),
            yaxis=y_axis("series", nticks=6, rangemode="tozero"),
        ),
    }
