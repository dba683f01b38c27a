"""The page of all limits: what the gates let out, measured, and what other limits would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from walkforge.base import write_text

from ._blocks import Key, Section, beside, join, picture, prose, source, table
from ._figure import layout, plain, rounded, rule, x_axis, y_axis
from ._frame import framed
from ._html import Html, tag
from ._words import decimals, exact, number, percent, titled

_DASHES = {"solid": "solid", "dash": "dashed", "dot": "dotted", "dashdot": "dashed and dotted"}
_MOST_P = 0.2


@dataclass(frozen=True, slots=True)
class _Line:
    """One kind of market in every picture."""

    name: str
    null: bool
    dash: str
    result: dict[str, Any]


def write_limits(measurements: Sequence[dict[str, Any]], path: Path) -> Path:
    """Write the page of several measurements of `audit` side by side, and return `path`.

    `measurements` are what `measure_null` and `measure_planted` returned. Per gate a picture shows
    how many markets would pass if its limit stood elsewhere. It is written whole or not at all.
    """
    write_text(path, _page(_lines(measurements)))
    return path


def _lines(measurements: Sequence[dict[str, Any]]) -> list[_Line]:
    results = [(one, result) for one in measurements for result in one["results"]]
    lines: list[_Line] = []
    for data, result in sorted(results, key=lambda pair: _strength(pair[1])):
        null = data["about"] == "null"
        alike = sum(line.null == null for line in lines)
        dash = tuple(_DASHES)[alike % len(_DASHES)]
        lines.append(_Line(_name(data, result), null, dash, result))
    return lines


def _strength(result: dict[str, Any]) -> float:
    return float(result["oracle"]["sharpe"]) if "oracle" in result else 0.0


def _name(data: dict[str, Any], result: dict[str, Any]) -> str:
    if data["about"] == "planted":
        return f"planted, {decimals(result['oracle']['sharpe'], 1)}"
    costs = data["study"]["backtest"]["costs"]
    free = "" if costs["fee_frac"] or costs["slippage_ticks"] else ", no costs"
    return f"null: {data['markets']['kind']}{free}"


def _page(lines: list[_Line]) -> str:
    return framed(
        title="Limits · audit · Walkforge",
        headline=_headline(lines),
        sections=[_limits(lines)],
        footer=tag(
            "footer",
            tag("p", "Written by Walkforge from the folders of its audits."),
            tag("noscript", tag("p", "The pictures need JavaScript; the table does not.")),
        ),
    )


def _headline(lines: list[_Line]) -> Html:
    rows = [
        [
            line.name,
            exact(rate["value"], percent(rate["value"])),
            " … ".join(percent(rate[end]) for end in ("low", "high")),
            f"{number(line.result['n_fit'])} of {number(line.result['n_markets'])}",
            f"{'amber' if line.null else 'blue'}, {_DASHES[line.dash]}",
        ]
        for line in lines
        for rate in [line.result["rate"]]
    ]
    return tag(
        "header",
        tag("p", "Walkforge", " · ", "audit: limits", class_="overline"),
        tag("h1", "What each limit lets out, and what another would", class_="said"),
        tag(
            "p",
            "Planted markets are named by the net Sharpe ratio a year of an oracle that knows "
            "their edge; in null markets there is nothing to know.",
            class_="lead",
        ),
        table(
            label="Rates",
            head=("Markets", "Let out", "95 % interval", "Models", "Drawn"),
            rows=rows,
            words=(4,),
            origin=source("audit.json", "results.*.rate"),
        ),
        id="verdict",
    )


def _limits(lines: list[_Line]) -> Section:
    names = dict.fromkeys(name for line in lines for name in line.result["limits"])
    body = join(
        prose(
            "To the right the limit, upwards the share of markets that this gate alone would let "
            "pass; the upright line is the limit in force. A good limit lies where the blue lines "
            "are high and the amber ones low. Gates that only ask for order let null markets pass "
            "as well: they are there for what has broken."
        ),
        beside(*(_picture(name, lines) for name in names), narrow=True),
    )
    return Section("limits", "Limits", body)


def _picture(name: str, lines: list[_Line]) -> Html:
    drawn = [line for line in lines if name in line.result["limits"]]
    curve = drawn[0].result["limits"][name]
    by_p = curve["by"] == "p_value"
    passes = "at most" if curve["less_passes"] else "at least"
    asked = f"p-value {passes} {curve['limit']:g}" if by_p else f"{passes} {curve['limit']:.3g}"
    told = ", ".join(
        f"{line.name}: {percent(line.result['gates'][name]['passed']['value'])}" for line in drawn
    )
    keys = [
        Key("--rival" if null else "--model", "line", what)
        for null, what in ((True, "null markets"), (False, "planted markets"))
        if any(line.null == null for line in drawn)
    ]
    return picture(
        _figure(drawn, name, by_p=by_p),
        name=f"limit-{name}",
        title=titled(name),
        reading=f"In force: {asked}.",
        keys=keys,
        alt=f"Passed in force: {told}.",
        origin=source("audit.json", f"results.*.limits.{name}"),
    )


def _figure(lines: list[_Line], name: str, *, by_p: bool) -> dict[str, Any]:
    limit = lines[0].result["limits"][name]["limit"]
    low, high = (0.0, _MOST_P) if by_p else _range(lines, name, limit)
    in_force: dict[str, Any] = {"x0": limit, "x1": limit, "y0": 0, "y1": 1}
    return {
        "data": [_share(line, name, low, high) for line in lines],
        "layout": layout(
            height=220,
            margin={"l": 44, "r": 10, "t": 8, "b": 44},
            xaxis=x_axis("p-value" if by_p else "limit", range=[low, high], nticks=5),
            yaxis=y_axis("pass", tickformat=".0%", range=[-0.02, 1.03], nticks=5),
            shapes=[rule("--ink-soft", **in_force)],
        ),
    }


def _range(lines: list[_Line], name: str, limit: float) -> tuple[float, float]:
    """Return what shows all but the outermost values, and the limit."""
    values = np.concatenate([line.result["limits"][name]["values"] for line in lines])
    low, high = np.quantile(values, [0.01, 0.99])
    low, high = min(low, limit), max(high, limit)
    room = 0.05 * (high - low) or 1.0
    return float(low - room), float(high + room)


def _share(line: _Line, name: str, low: float, high: float) -> dict[str, Any]:
    """Return the share that passes over the limit, as a staircase."""
    curve, n = line.result["limits"][name], line.result["n_markets"]
    values = np.asarray(curve["values"])
    x = np.array([low, *values[(values > low) & (values < high)], high])
    if curve["less_passes"]:
        passed, shape = np.searchsorted(values, x, side="right"), "hv"
    else:
        passed, shape = len(values) - np.searchsorted(values, x, side="left"), "vh"
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(line.name),
        "x": rounded(x),
        "y": rounded(passed / n, 4),
        "line": {
            "color": "--rival" if line.null else "--model",
            "width": 1.5,
            "dash": line.dash,
            "shape": shape,
        },
        "hovertemplate": "%{x:.3g}: %{y:.1%}<extra>%{fullData.name}</extra>",
    }
