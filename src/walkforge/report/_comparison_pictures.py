"""The pictures of a comparison: gains with intervals, equity curves and training curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._blocks import Key, absent, picture, source
from ._figure import date_axis, epoch_axis, layout, note, plain, rounded, rule, y_axis
from ._forest import forest, gain_of
from ._html import Html
from ._run import at
from ._words import count, number, percent

_COLOURS = 6
"""Roles `--run-0` to `--run-5` of the style sheet; later runs share them and are dashed."""

_LABEL = 14
"""Characters of a name beside a picture; the letter before it is what tells runs apart."""


def gain_picture(data: dict[str, Any]) -> Html:
    """Return a dot and an interval for the log loss that every run saves on A."""
    gains = {
        _short_title(data["runs"][test["run"]]): gain_of(
            at(test, "predictions", "log_loss"), parts="by_symbol"
        )
        for test in data["tests"]
    }
    known = {name: gain for name, gain in gains.items() if gain is not None}
    if not known:
        return absent("No losses to set side by side: see the reasons below.")
    roles = [gain.role for gain in known.values()]
    return picture(
        forest(
            known, unit="nats per row", worse="A better", better="better than A", part="one symbol"
        ),
        name="gains",
        title=f"Log loss saved against {_title(data['runs'][0])}",
        reading=(
            "Each dot is what a run saves per common row, its bar the 95 % interval before any "
            "adjustment for several runs. A bar across the line is no difference that the rows "
            "can tell."
        ),
        keys=(
            Key("--good", "dot", "lower log loss than A"),
            Key("--unsure", "ring", "cannot be told apart"),
            Key("--bad", "dot", "higher log loss than A"),
            Key("--ink-faint", "tick", "single symbols"),
        ),
        alt=(
            f"The interval lies above zero for {number(roles.count('--good'))} of "
            f"{count(len(known), 'run')}, below zero for {number(roles.count('--bad'))}."
        ),
        origin=source("predictions.parquet"),
    )


def token_gain_picture(data: dict[str, Any]) -> Html | None:
    """Return a dot and an interval for what every run saves on its own best baseline."""
    gains = {
        _short_title(run): gain_of(at(run, "tokens", "gain"), parts="") for run in data["runs"]
    }
    known = {name: gain for name, gain in gains.items() if gain is not None}
    if not known:
        return None
    roles = [gain.role for gain in known.values()]
    return picture(
        forest(
            known, unit="nats per token", worse="baseline better", better="model better", part=""
        ),
        name="token-gains",
        title="Loss of tokens that each run saves on its own best baseline",
        reading=(
            "Each dot is what a model saves per token on the best of its own unigram and Markov "
            "models, on its own tokens, its bar the 95 % interval."
        ),
        keys=(
            Key("--good", "dot", "surely better than its baseline"),
            Key("--unsure", "ring", "cannot be told apart"),
            Key("--bad", "dot", "surely worse"),
        ),
        alt=(
            f"The interval lies above zero for {number(roles.count('--good'))} of "
            f"{count(len(known), 'run')}, below zero for {number(roles.count('--bad'))}."
        ),
        origin=source("metrics.json", "tokens.improvement.*.log_loss"),
    )


def equity_overlay(data: dict[str, Any]) -> Html:
    """Return the equity of every run as a return on its capital."""
    lines = _lines(data, "equity", "time", "return_frac")
    if not lines:
        return absent("No equity curves in these runs: equity.parquet is not there.")
    ends = ", ".join(
        f"{run['letter']} at {percent(y[-1], 2, signed=True)}" for _, run, _, y in lines
    )
    return picture(
        {
            "data": [_line(line, "%{y:.2%}") for line in lines],
            "layout": layout(
                height=380,
                margin=_margin(lines),
                hovermode="x unified",
                xaxis=date_axis(showgrid=False),
                yaxis=y_axis("return on capital", nticks=6, tickformat=".2~%"),
                shapes=[rule("--line-strong", xref="paper", x0=0, x1=1, y0=0, y1=0)],
                annotations=_letters(lines),
            ),
        },
        name="equity",
        title="Equity",
        reading="The account of every backtest as a return on its capital, after costs.",
        keys=_keys(lines),
        alt=f"The runs end: {ends}.",
        origin=source("equity.parquet", "equity"),
    )


def loss_overlay(data: dict[str, Any]) -> Html:
    """Return the median validation loss of every run by epoch."""
    lines = _lines(data, "training", "epoch", "median_validation_loss")
    if not lines:
        return absent("No training in these runs: training_log.jsonl is not there.")
    ends = ", ".join(f"{run['letter']} after {count(x[-1], 'epoch')}" for _, run, x, _ in lines)
    return picture(
        {
            "data": [_line(line, "%{y:.4f}") for line in lines],
            "layout": layout(
                height=340,
                margin=_margin(lines),
                hovermode="x unified",
                xaxis=epoch_axis(max(x[-1] for _, _, x, _ in lines)),
                yaxis=y_axis("median validation loss", nticks=6),
                annotations=_letters(lines),
            ),
        },
        name="losses",
        title="Validation loss by epoch",
        reading=(
            "The median over the networks that still train. Levels compare only where labels and "
            "loss are the same; the loss includes what a study adds to it, such as label "
            "smoothing."
        ),
        keys=_keys(lines),
        alt=f"Training ends: {ends}.",
        origin=source("training_log.jsonl", "members.*.validation_loss"),
    )


_Drawn = tuple[int, dict[str, Any], list[Any], list[float]]
"""Place among the runs, the run, and its x and y."""


def _lines(data: dict[str, Any], curve: str, x: str, y: str) -> list[_Drawn]:
    found = [(place, run, at(run, "curves", curve)) for place, run in enumerate(data["runs"])]
    return [(place, run, points[x], points[y]) for place, run, points in found if points]


def _line(line: _Drawn, hover: str) -> dict[str, Any]:
    place, run, x, y = line
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(x) == 1 else "lines",
        "name": plain(_title(run)),
        "x": x,
        "y": rounded(y),
        "line": {
            "color": _role(place),
            "width": 1.75,
            "dash": "dash" if place >= _COLOURS else "solid",
        },
        "hovertemplate": hover,
    }


def _letters(lines: Sequence[_Drawn]) -> list[dict[str, Any]]:
    """Return each run's letter behind the end of its line, side by side where ends meet."""
    ends = [(x[-1], y[-1]) for _, _, x, y in lines]
    heights = [value for *_, y in lines for value in y]
    near = 0.04 * (max(heights) - min(heights))
    return [
        note(
            run["letter"],
            x=end[0],
            y=end[1],
            xanchor="left",
            xshift=4 + 12 * sum(x == end[0] and abs(y - end[1]) <= near for x, y in ends[:k]),
            font={"size": 12, "color": _role(place)},
        )
        for k, ((place, run, _, _), end) in enumerate(zip(lines, ends, strict=True))
    ]


def _margin(lines: Sequence[_Drawn]) -> dict[str, int]:
    return {"l": 48, "r": 14 + 12 * len(lines), "t": 12, "b": 44}


def _keys(lines: Sequence[_Drawn]) -> list[Key]:
    return [
        Key(_role(place), "dash" if place >= _COLOURS else "line", _title(run))
        for place, run, _, _ in lines
    ]


def _role(place: int) -> str:
    return f"--run-{place % _COLOURS}"


def _short_title(run: dict[str, Any]) -> str:
    """Return a title that leaves room for the picture beside it on a phone."""
    title = _title(run)
    return title if len(title) <= _LABEL else f"{title[: _LABEL - 1]}…"


def _title(run: dict[str, Any]) -> str:
    return f"{run['letter']} · {run['name']}"
