"""The picture of the quantiles' coverage: how many closes came below each, and should have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._blocks import Key, absent, picture, source
from ._figure import layout, rounded, rule, x_axis, y_axis
from ._forecast_curves import Curve, curve_of, dashed, keys_of, strongest
from ._html import Html
from ._run import at, entries
from ._words import count, is_number, number, percent


def coverage_picture(found: dict[str, Any], rivals: dict[str, Any]) -> Html | None:
    """Return how many closes came at or below each quantile, against how many should."""
    model = _by_level("this model", 0, at(found, "model"))
    if model is None:
        return absent("No quantiles in these forecasts (metrics.json, forecast.model.quantiles).")
    others = strongest(
        _by_level(name, place, block) for place, (name, block) in enumerate(rivals.items())
    )
    off = [
        level
        for level, low, high in zip(model.x, model.low, model.high, strict=True)
        if low is not None and high is not None and not low <= level <= high
    ]
    return picture(
        _coverage_figure(model, others),
        name="forecast-coverage",
        title="Coverage of the quantiles",
        reading=(
            "The level of each quantile to the right, the share of closes at or below it upwards. "
            "Good is every interval on the dashed line. Steeper than the line is too wide, "
            "flatter too narrow; wholly above it the prices were forecast too high, wholly below "
            "too low."
        ),
        keys=[
            Key("--model", "dot", "this model, 95 % interval"),
            Key("--ink-faint", "dash", "perfectly calibrated"),
            *keys_of(others),
        ],
        alt=(
            f"{count(len(model.x), 'level')}; the interval misses the diagonal at "
            f"{number(len(off))}."
        ),
        origin=source(
            "metrics.json",
            "forecast.model.quantiles",
            *(("forecast.baselines.*.quantiles",) if others else ()),
        ),
    )


def _by_level(name: str, place: int, block: Any) -> Curve | None:
    levels = [(at(entry, "level"), entry) for entry in entries(block, "quantiles").values()]
    known = [(level, entry) for level, entry in levels if is_number(level)]
    return curve_of(name, place, sorted(known, key=lambda pair: pair[0]))


def _coverage_figure(model: Curve, others: Sequence[Curve]) -> dict[str, Any]:
    arms = {
        side: rounded(
            [abs(end - y) if end is not None else 0.0 for end, y in zip(ends, model.y, strict=True)]
        )
        for side, ends in (("array", model.high), ("arrayminus", model.low))
    }
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(model.x),
        "y": rounded(model.y),
        "error_y": {
            "type": "data",
            "symmetric": False,
            **arms,
            "color": "--model",
            "thickness": 1.75,
            "width": 0,
        },
        "marker": {"size": 9, "color": "--model", "line": {"width": 1.5, "color": "--paper"}},
        "customdata": [percent(y) for y in model.y],
        "hovertemplate": "at or below the %{x:.0%} quantile: %{customdata}<extra></extra>",
    }
    scale = {"range": [0, 1], "tickformat": ".0%", "nticks": 6}
    return {
        "data": [
            *(dashed(curve, "%{y:.1%}") for curve in others),
            dots,
        ],
        "layout": layout(
            height=360,
            xaxis=x_axis("level of the quantile", **scale),
            yaxis=y_axis("closes at or below it", **scale),
            shapes=[rule("--ink-faint", dash="dash", width=1.5, x0=0, y0=0, x1=1, y1=1)],
        ),
    }
