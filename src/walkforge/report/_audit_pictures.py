"""The pictures of an audit: p-values against the diagonal, gates, and power."""

from __future__ import annotations

import math
from typing import Any

from ._blocks import Key, picture, source
from ._figure import layout, note, plain, rounded, rule, x_axis, y_axis
from ._html import Html
from ._words import decimals, number, percent, titled

# Distance that the largest of n uniform values' exceeds once in twenty: Kolmogorov's limit.
_KS_95 = 1.358
_ENOUGH_POWER = 0.95
# At which a band is drawn: it is straight, and bends only at the corners.
_EDGES = (0.0, 1.0)


def p_value_picture(data: dict[str, Any]) -> Html:
    """Return the distribution functions of all p-values, and the band of the uniform one."""
    tests = data["results"][0]["p_values"]
    n = data["results"][0]["n_markets"]
    outside = [
        titled(name)
        for name, test in tests.items()
        if test["exact"] and test["uniformity"]["p_value"] < 0.05
    ]
    return picture(
        _p_value_figure(tests, n),
        name="p-values",
        title="Distribution of the p-values",
        reading=(
            "To the right a p-value, upwards the share of markets with a smaller one. Good is a "
            "dark line that stays in the band, as 95 in 100 uniform ones do."
        ),
        keys=(
            Key("--model", "line", "gates whose p-values must be uniform"),
            Key("--ink-faint", "thin", "gates whose p-values need not be"),
            Key("--random-band", "band", "95 in 100 uniform samples stay inside"),
        ),
        alt=f"Of the gates that must be uniform, outside are: {', '.join(outside) or 'none'}.",
        origin=source("audit.json", "results.*.p_values.*.values"),
    )


def _p_value_figure(tests: dict[str, Any], n: int) -> dict[str, Any]:
    half = _KS_95 / math.sqrt(n)
    ends = {"mode": "lines", "type": "scatter", "hoverinfo": "skip", "line": {"width": 0}}
    band = [
        {**ends, "x": list(_EDGES), "y": [x - half for x in _EDGES]},
        {**ends, "x": list(_EDGES), "y": [x + half for x in _EDGES], "fill": "tonexty",
         "fillcolor": "--random-band"},
    ]  # fmt: skip
    pale_first = sorted(tests.items(), key=lambda item: item[1]["exact"])
    return {
        "data": [*band, *(_steps(name, test) for name, test in pale_first)],
        "layout": layout(
            height=420,
            margin={"l": 56, "r": 16, "t": 12, "b": 48},
            xaxis=x_axis("p-value", range=[0, 1], nticks=6),
            yaxis=y_axis("share of markets below", range=[0, 1.005], nticks=6),
            shapes=[rule("--line-strong", dash="dash", x0=0, x1=1, y0=0, y1=1)],
        ),
    }


def _steps(name: str, test: dict[str, Any]) -> dict[str, Any]:
    values = test["values"]
    shares = [(place + 1) / len(values) for place in range(len(values))]
    role, width = ("--model", 2) if test["exact"] else ("--ink-faint", 1)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(titled(name)),
        "x": [0.0, *rounded(values, 4), 1.0],
        "y": [0.0, *rounded(shares, 4), 1.0],
        "line": {"color": role, "width": width, "shape": "hv"},
        "hovertemplate": "p %{x:.3f}: %{y:.3f} of markets<extra>%{fullData.name}</extra>",
    }


def passed_picture(data: dict[str, Any], place: int) -> Html:
    """Return a bar per gate: the share of one result's models that passed it."""
    one = data["results"][place]
    gates = one["gates"]
    about = (
        f"an oracle's Sharpe ratio of {decimals(one['oracle']['sharpe'], 2)}"
        if "oracle" in one
        else f"null markets ({data['markets']['kind']})"
    )
    worst = min(gates, key=lambda name: gates[name]["passed"]["value"])
    return picture(
        _passed_figure(gates),
        name=f"passed-{place}",
        title=f"Share that passed each gate: {about}",
        reading=(
            "Good is a long bar: at a strength that should be let out, a short one says what costs "
            "the power."
            if "oracle" in one
            else "Good are short bars among the tests. Gates that only ask for order (finite "
            "numbers, enough trades) pass here as anywhere."
        ),
        keys=(Key("--model", "bar", "share that passed, with its 95 % interval"),),
        alt=(
            f"Fewest pass {titled(worst)}, {percent(gates[worst]['passed']['value'])} of "
            f"{number(one['n_markets'])}."
        ),
        origin=source("audit.json", "results.*.gates"),
    )


def _passed_figure(gates: dict[str, Any]) -> dict[str, Any]:
    names = [plain(titled(name)) for name in gates]
    passed = [gate["passed"] for gate in gates.values()]
    arms = {
        "array": rounded([one["high"] - one["value"] for one in passed]),
        "arrayminus": rounded([one["value"] - one["low"] for one in passed]),
    }
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": rounded([one["value"] for one in passed]),
        "y": names,
        "marker": {"color": "--train"},
        "error_x": {"type": "data", "symmetric": False, **arms, "color": "--model", "width": 0},
        "hovertemplate": "%{x:.1%}<extra>%{y}</extra>",
    }
    return {
        "data": [bars],
        "layout": layout(
            height=70 + 22 * len(names),
            margin={"l": 8, "r": 16, "t": 12, "b": 44},
            xaxis=x_axis("share that passed", tickformat=".0%", range=[0, 1.02], nticks=6),
            yaxis=y_axis(type="category", autorange="reversed", showgrid=False),
        ),
    }


def power_picture(data: dict[str, Any]) -> Html:
    """Return the share that is let out over the oracle's Sharpe ratio."""
    results = data["results"]
    said = "; ".join(
        f"{decimals(one['oracle']['sharpe'], 2)}: {percent(one['rate']['value'])}"
        for one in results
    )
    return picture(
        _power_figure(results),
        name="power",
        title="Power: models let out, by the strength of the edge",
        reading=(
            "To the right the oracle's net Sharpe ratio a year, upwards the share of models that "
            "were let out, with its 95 % interval. Good is a dot above the dashed line."
        ),
        keys=(
            Key("--model", "dot", "measured share"),
            Key("--rival", "dash", "95 in 100"),
        ),
        alt=f"Let out by the oracle's Sharpe ratio: {said}.",
        origin=source("audit.json", "results.*.oracle.sharpe", "results.*.rate"),
    )


def _power_figure(results: list[dict[str, Any]]) -> dict[str, Any]:
    rates = [one["rate"] for one in results]
    dots = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": rounded([one["oracle"]["sharpe"] for one in results]),
        "y": rounded([rate["value"] for rate in rates]),
        "line": {"color": "--model", "width": 1},
        "marker": {"color": "--model", "size": 9},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": rounded([rate["high"] - rate["value"] for rate in rates]),
            "arrayminus": rounded([rate["value"] - rate["low"] for rate in rates]),
            "color": "--model",
            "width": 0,
        },
        "hovertemplate": "Sharpe %{x:.2f}: %{y:.1%} let out<extra></extra>",
    }
    most = 1.1 * max(one["oracle"]["sharpe"] for one in results)
    ends: dict[str, Any] = {"x0": 0, "x1": 1, "xref": "paper"}
    wanted = rule("--rival", dash="dash", y0=_ENOUGH_POWER, y1=_ENOUGH_POWER, **ends)
    return {
        "data": [dots],
        "layout": layout(
            height=360,
            margin={"l": 56, "r": 16, "t": 16, "b": 48},
            xaxis=x_axis("oracle's net Sharpe ratio a year", range=[0, most], nticks=8),
            yaxis=y_axis("let out", tickformat=".0%", range=[-0.02, 1.03], nticks=6),
            shapes=[wanted],
            annotations=[
                note("95 %", x=0, xref="paper", y=_ENOUGH_POWER, xanchor="left", yanchor="top")
            ],
        ),
    }
