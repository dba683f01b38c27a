"""The picture of the log loss that the model saves against each baseline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ._blocks import Key, absent, picture, source
from ._figure import layout, note, plain, rounded, rule, x_axis, y_axis
from ._html import Html
from ._run import Run, at
from ._scores import baselines_by_log_loss
from ._words import count, decimals, is_number, number, span, titled

# A baseline whose distance is this many times that of the next nearer one would press all others
# into a dot; it is drawn as an arrow at the edge instead.
_FAR = 8.0


def saving_picture(run: Run) -> Html:
    """Return a dot and an interval for every baseline, the strongest at the top."""
    savings = {
        name: at(run.metrics, "improvement", name, "log_loss")
        for name in baselines_by_log_loss(run)
    }
    known = {name: saving for name, saving in savings.items() if is_number(at(saving, "value"))}
    if not known:
        return absent("No comparison with baselines in this run (metrics.json, improvement).")
    roles = [_role(saving) for saving in known.values()]
    folds = any(_fold_values(saving) for saving in known.values())
    return picture(
        _figure(known),
        name="saving",
        title="Log loss saved against each baseline",
        reading=(
            "Each dot is the model's advantage per row, its bar the 95 % interval. Good is a bar "
            "wholly to the right of the line: the advantage is then no accident of these rows. "
            "A triangle is beyond the edge."
        ),
        keys=(
            Key("--good", "dot", "surely better than the baseline"),
            Key("--unsure", "ring", "cannot be told apart"),
            Key("--bad", "dot", "surely worse"),
            *((Key("--ink-faint", "tick", "single folds"),) if folds else ()),
        ),
        alt=(
            f"The interval lies above zero against {number(roles.count('--good'))} of "
            f"{count(len(known), 'baseline')}, below zero against {number(roles.count('--bad'))}."
        ),
        origin=source("metrics.json", "improvement.*.log_loss"),
    )


def _figure(savings: dict[str, Any]) -> dict[str, Any]:
    names = [plain(titled(name)) for name in savings]
    edges = _edges(list(savings.values()))
    traces, annotations = [], []
    for name, saving in zip(names, savings.values(), strict=True):
        if edges[0] <= saving["value"] <= edges[1]:
            traces += [_fold_ticks(name, saving, edges), _dot(name, saving)]
        else:
            traces.append(_arrow(name, saving, edges))
            annotations.append(_arrow_words(name, saving, edges))
    return {
        "data": traces,
        "layout": layout(
            height=100 + 44 * len(names),
            margin={"l": 8, "r": 16, "t": 26, "b": 48},
            xaxis=x_axis("nats per row", tickformat=".3~f", nticks=8, range=edges),
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
                note("model worse ←  ", x=0, y=1, yref="paper", xanchor="right", yanchor="bottom"),
                note("  → model better", x=0, y=1, yref="paper", xanchor="left", yanchor="bottom"),
            ],
        ),
    }


def _edges(savings: Sequence[Any]) -> list[float]:
    """Return where the axis begins and ends: it holds zero and every baseline not too far."""
    near = sorted((_ends(saving) for saving in savings), key=_reach)
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


def _ends(saving: Any) -> tuple[float, float]:
    found = [saving["value"], at(saving, "low"), at(saving, "high"), *_fold_values(saving)]
    known = [end for end in found if is_number(end)]
    return min(known), max(known)


def _reach(ends: tuple[float, float]) -> float:
    return max(abs(ends[0]), abs(ends[1]))


def _role(saving: Any) -> str:
    low, high = at(saving, "low"), at(saving, "high")
    if not (is_number(low) and is_number(high)) or low <= 0 <= high:
        return "--unsure"
    return "--good" if low > 0 else "--bad"


def _dot(name: str, saving: Any) -> dict[str, Any]:
    role, value = _role(saving), saving["value"]
    arms = {
        side: rounded([abs(at(saving, end) - value)]) if is_number(at(saving, end)) else [0.0]
        for side, end in (("array", "high"), ("arrayminus", "low"))
    }
    return {
        "type": "scatter",
        "mode": "markers",
        "x": rounded([value]),
        "y": [name],
        "error_x": {
            "type": "data",
            "symmetric": False,
            **arms,
            "color": role,
            "thickness": 2.5,
            "width": 0,
        },
        "marker": {
            "symbol": "circle-open" if role == "--unsure" else "circle",
            "size": 11,
            "color": role,
            "line": {"width": 2.5, "color": role},
        },
        "hovertemplate": f"{_told(saving)}<extra>%{{y}}</extra>",
    }


def _arrow(name: str, saving: Any, edges: list[float]) -> dict[str, Any]:
    right = saving["value"] > 0
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [edges[1] if right else edges[0]],
        "y": [name],
        "cliponaxis": False,
        "marker": {
            "symbol": "triangle-right" if right else "triangle-left",
            "size": 13,
            "color": _role(saving),
        },
        "hovertemplate": f"{_told(saving)}<extra>%{{y}}</extra>",
    }


def _arrow_words(name: str, saving: Any, edges: list[float]) -> dict[str, Any]:
    right = saving["value"] > 0
    return note(
        decimals(saving["value"], 4, signed=True),
        x=edges[1] if right else edges[0],
        y=name,
        xanchor="right" if right else "left",
        xshift=-12 if right else 12,
    )


def _told(saving: Any) -> str:
    interval = span(saving, 4, signed=True)
    value = decimals(saving["value"], 4, signed=True)
    return f"{value} ({interval})" if interval else value


def _fold_ticks(name: str, saving: Any, edges: list[float]) -> dict[str, Any]:
    values = [value for value in _fold_values(saving) if edges[0] <= value <= edges[1]]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(values),
        "y": [name] * len(values),
        "marker": {"symbol": "line-ns", "size": 10, "line": {"width": 1, "color": "--ink-faint"}},
        "hovertemplate": "one fold: %{x:+.4f}<extra>%{y}</extra>",
    }


def _fold_values(saving: Any) -> list[float]:
    """Return the saving in every single fold."""
    by_fold = at(saving, "by_fold")
    found = [at(part, "value") for part in by_fold.values()] if isinstance(by_fold, dict) else []
    return [value for value in found if is_number(value)]
