"""The picture of the error by step ahead, the model's and the baselines'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._blocks import Key, picture, source
from ._figure import layout, rounded, rule, x_axis, y_axis
from ._forecast_curves import Curve, curve_of, dashed, keys_of, strongest
from ._html import Html
from ._run import at, entries
from ._words import decimals, number


def step_picture(found: dict[str, Any], rivals: dict[str, Any]) -> Html | None:
    """Return the mean absolute error by step ahead, and what each baseline's is beside it."""
    model = _by_step("this model", 0, at(found, "model"))
    if model is None:
        return None
    others = strongest(
        _by_step(name, place, block) for place, (name, block) in enumerate(rivals.items())
    )
    return picture(
        _step_figure(model, others),
        name="forecast-steps",
        title="Error by step ahead",
        reading=(
            "Above, the mean absolute error of the close by bars ahead; it grows about as the "
            "root of time whoever forecasts. Below, how much larger each baseline's error is than "
            "the model's: above the line the model is better."
        ),
        keys=[
            Key("--model", "line", "this model"),
            Key("--model-band", "band", "95 % interval"),
            *keys_of(others),
        ],
        alt=(
            f"The model's error goes from {decimals(model.y[0], 1)} bps at step "
            f"{number(model.x[0])} to {decimals(model.y[-1], 1)} bps at step {number(model.x[-1])}."
        ),
        origin=source(
            "metrics.json",
            "forecast.model.by_step.*.mae_bps",
            *(("forecast.baselines.*.by_step.*.mae_bps",) if others else ()),
        ),
    )


def _by_step(name: str, place: int, block: Any) -> Curve | None:
    steps = {
        int(step): at(entry, "mae_bps")
        for step, entry in entries(block, "by_step").items()
        if step.isascii() and step.isdigit()
    }
    return curve_of(name, place, sorted(steps.items()))


def _step_figure(model: Curve, others: Sequence[Curve]) -> dict[str, Any]:
    last = [max(model.x[-1], 1) + 0.3, model.x[0] - 0.3]
    axis = {"range": last[::-1], "showgrid": False, "tickformat": "d"}
    if len(model.x) <= 12:
        axis |= {"tickvals": model.x}
    lower = {} if not others else {"yaxis2": _beside_axis(), "shapes": [_level_line()]}
    return {
        "data": [
            *_band(model),
            *(dashed(curve, "%{y:.2f} bps") for curve in others),
            _solid(model),
            *(_relative(model, curve) for curve in others),
        ],
        "layout": layout(
            height=460 if others else 300,
            hovermode="x unified",
            xaxis=x_axis("bars ahead", **axis, **({"anchor": "y2"} if others else {})),
            yaxis=y_axis(
                "mean absolute error, bps",
                nticks=6,
                rangemode="tozero",
                **({"domain": [0.5, 1]} if others else {}),
            ),
            **lower,
        ),
    }


def _beside_axis() -> dict[str, Any]:
    return y_axis("more than the model", domain=[0, 0.4], nticks=5, tickformat="+.2~%")


def _level_line() -> dict[str, Any]:
    return rule("--line-strong", width=1.5, xref="paper", x0=0, x1=1, yref="y2", y0=0, y1=0)


def _band(curve: Curve) -> list[dict[str, Any]]:
    if None in curve.low or None in curve.high:
        return []
    common = {
        "type": "scatter",
        "mode": "lines",
        "x": curve.x,
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    return [
        {**common, "y": rounded(curve.low)},
        {**common, "y": rounded(curve.high), "fill": "tonexty", "fillcolor": "--model-band"},
    ]


def _solid(curve: Curve) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": curve.name,
        "x": curve.x,
        "y": rounded(curve.y),
        "line": {"color": "--model", "width": 2.25},
        "marker": {"size": 5, "color": "--model"},
        "hovertemplate": "%{y:.2f} bps",
    }


def _relative(model: Curve, curve: Curve) -> dict[str, Any]:
    ours = dict(zip(model.x, model.y, strict=True))
    both = [(x, y / ours[x] - 1) for x, y in zip(curve.x, curve.y, strict=True) if ours.get(x)]
    beside = curve._replace(x=[x for x, _ in both], y=[y for _, y in both])
    return {**dashed(beside, "%{y:+.2%}"), "yaxis": "y2"}
