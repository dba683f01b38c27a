"""The shared look of every picture: plain Plotly data with the style sheet's roles as colours."""

from __future__ import annotations

import html
from itertools import pairwise
from typing import Any

import numpy as np

from walkforge.base import FloatArray, IntArray

MOST_POINTS = 1200
"""A line on a screen shows no more; the file that the picture names has every bar."""
_FEW_EPOCHS = 10


def layout(*, height: int, **more: Any) -> dict[str, Any]:
    """Return a layout without paper of its own: the page's colours and fonts show through."""
    return {
        "height": height,
        "margin": {"l": 48, "r": 12, "t": 12, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "--sans", "size": 12, "color": "--ink-soft"},
        "hoverlabel": {
            "bgcolor": "--panel",
            "bordercolor": "--line-strong",
            "font": {"family": "--sans", "size": 12, "color": "--ink"},
        },
        "showlegend": False,
        "dragmode": False,
        "bargap": 0.08,
        **more,
    }


def x_axis(title: str = "", **more: Any) -> dict[str, Any]:
    """Return an axis with a hair-thin grid, its labels always level.

    Labels that turn with the width would move the margin, which moves the width.
    """
    return {**_axis(title), "tickangle": 0, **more}


def epoch_axis(last: int, **more: Any) -> dict[str, Any]:
    """Return an axis of epochs from 0 to the last one; no whole number stands there twice."""
    few = {"dtick": 1} if last <= _FEW_EPOCHS else {}
    room = [0, 1.04 * last]  # a mark at the end is seen whole
    return {**x_axis("epoch", showgrid=False, tickformat="d"), "range": room, **few, **more}


def date_axis(**more: Any) -> dict[str, Any]:
    """Return an axis of UTC times whose months stand above their year, to fit a phone."""
    by_month = {"dtickrange": ["M1", "M11"], "value": "%b\n%Y"}
    return {**x_axis(), "type": "date", "tickformatstops": [by_month], **more}


def y_axis(title: str = "", **more: Any) -> dict[str, Any]:
    """Return an axis with a hair-thin grid and as much margin as its labels need."""
    return {**_axis(title), "automargin": True, **more}


def _axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title, "standoff": 10, "font": {"size": 12}},
        "gridcolor": "--line",
        "linecolor": "--line-strong",
        "zeroline": False,
        "showline": False,
        "fixedrange": True,
        "ticklabelstandoff": 4,
    }


def note(text: str, **more: Any) -> dict[str, Any]:
    """Return words inside a picture, without an arrow."""
    return {"text": text, "showarrow": False, "font": {"size": 11, "color": "--ink-soft"}, **more}


def rule(role: str, *, dash: str = "solid", width: float = 1, **ends: Any) -> dict[str, Any]:
    """Return a straight line across a picture; ends are x0, x1, y0, y1 and their references."""
    line = {"color": role, "width": width, "dash": dash}
    return {"type": "line", "line": line, "layer": "above", **ends}


def plain(text: str) -> str:
    """Return a name that Plotly shows letter by letter; it reads some tags otherwise."""
    return html.escape(text, quote=False)


def rounded(values: Any, digits: int = 6) -> list[float | None]:
    """Return numbers with about `digits` significant digits; None for what is not finite."""
    return [
        float(f"{value:.{digits}g}") if np.isfinite(value) else None
        for value in np.asarray(values, dtype=np.float64)
    ]


def thinned(values: FloatArray, most: int = MOST_POINTS) -> IntArray:
    """Return the positions (k,), k <= most, to draw of a series (n,): extremes survive.

    The first and the last point stay, and the lowest and highest of every stretch between, in
    the order in which they come. NaN counts as neither.
    """
    n = len(values)
    if n <= most:
        return np.arange(n)
    edges = np.linspace(0, n, (most - 2) // 2 + 1).astype(np.int64)
    kept = {0, n - 1}
    for start, end in pairwise(edges):
        stretch = values[start:end]
        if not np.isnan(stretch).all():
            kept |= {start + int(np.nanargmin(stretch)), start + int(np.nanargmax(stretch))}
    return np.array(sorted(kept), dtype=np.int64)
