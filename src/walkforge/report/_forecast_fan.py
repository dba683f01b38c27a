"""A stretch of real forecasts: the ranges that were said, and the closes that came."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from walkforge.base import FloatArray, RunError, UsageError, timeframe_ms, utc_text

from ._blocks import Key, absent, picture, source
from ._figure import date_axis, layout, rounded, y_axis
from ._html import Html
from ._run import Run
from ._words import count, number

_FILE = "forecasts.parquet"
_SERIES = ("symbol", "timeframe")
_COLUMNS = ("timestamp", *_SERIES, "seed", "step", "close", "q_05", "q_95")
_INNER = ("q_20", "q_80")
_MOST = 60
"""Decisions; more would hide single bars on a phone."""


def fan_picture(run: Run) -> Html:
    """Return the newest decisions of one series, seen from their last step ahead."""
    stretch = _stretch(run)
    if stretch is None:
        return absent(f"No forecasts with quantiles to draw: {_FILE} has none.")
    close, low, high = (_numbers(stretch, name) for name in ("close", "q_05", "q_95"))
    outside = (close < low) | (close > high)
    first = stretch.row(0, named=True)
    inner = set(_INNER) <= set(stretch.columns)
    name = f"{first['symbol']} {first['timeframe']}"
    return picture(
        _figure(stretch, outside, inner=inner),
        name="forecast-fan",
        title=f"The newest forecasts of {name}",
        reading=(
            f"Each point in time shows the range that was forecast {count(first['step'], 'bar')} "
            f"before, and the close that came. Shown are the last {number(len(stretch))} decisions "
            f"of seed {first['seed']}. Of a calibrated forecast one close in ten lies outside the "
            "wide range; neighbours share their future, so misses come in groups."
        ),
        keys=(
            Key("--model-band", "band", "5 % to 95 %" + (", darker 20 % to 80 %" if inner else "")),
            Key("--ink", "line", "close that came"),
            Key("--bad", "ring", "outside the range"),
        ),
        alt=(
            f"{number(int(outside.sum()))} of {count(len(stretch), 'close')} lie outside the range "
            "from 5 % to 95 %."
        ),
        origin=source(_FILE, "close", "q_05", *(_INNER if inner else ()), "q_95"),
    )


def _stretch(run: Run) -> pl.DataFrame | None:
    """Return the newest decisions of the series with the latest one, in time; None without."""
    whole = run.table(_FILE, (*_COLUMNS, *_INNER))
    whole = run.table(_FILE, _COLUMNS) if whole is None else whole
    if whole is None:
        return None
    whole = whole.filter(pl.col("q_05").is_not_null() & pl.col("q_95").is_not_null())
    # Of several that end together the first by name, so that two pages of a run are alike.
    latest = whole.group_by(_SERIES).agg(pl.col("timestamp", "step").max(), pl.col("seed").min())
    order = latest.sort("timestamp", *_SERIES, descending=[True, False, False]).head(1)
    keys = [*_SERIES, "step", "seed"]
    chosen = whole.join(order.select(keys), on=keys, how="semi")
    newest = chosen.unique("timestamp", keep="any").sort("timestamp").tail(_MOST).collect()
    return newest if newest.height else None


def _numbers(table: pl.DataFrame, name: str) -> FloatArray:
    return table[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _came_at(stretch: pl.DataFrame) -> list[str]:
    """Return the opening time of each bar that was forecast."""
    first = stretch.row(0, named=True)
    try:
        later_ms = first["step"] * timeframe_ms(first["timeframe"])
    except UsageError as error:
        raise RunError(f"{_FILE}: {error}") from None
    return [utc_text(int(time_ms) + later_ms) for time_ms in stretch["timestamp"].dt.epoch("ms")]


def _figure(stretch: pl.DataFrame, outside: np.ndarray, *, inner: bool) -> dict[str, Any]:
    times = _came_at(stretch)
    close = _numbers(stretch, "close")
    missed = np.where(outside, close, np.nan)
    line = {"type": "scatter", "x": times, "hovertemplate": "%{y:,.6~r}"}
    return {
        "data": [
            *_range(stretch, times, ("q_05", "q_95")),
            *(_range(stretch, times, _INNER) if inner else ()),
            {
                **line,
                "mode": "lines+markers",
                "name": "close",
                "y": rounded(close, 8),
                "line": {"color": "--ink", "width": 1.5},
                "marker": {"size": 4, "color": "--ink"},
            },
            {
                **line,
                "mode": "markers",
                "hoverinfo": "skip",
                "hovertemplate": None,
                "y": rounded(missed, 8),
                "marker": {
                    "symbol": "circle-open",
                    "size": 11,
                    "color": "--bad",
                    "line": {"width": 2.25, "color": "--bad"},
                },
            },
        ],
        "layout": layout(
            height=400,
            hovermode="x unified",
            xaxis=date_axis(showgrid=False),
            yaxis=y_axis("price", nticks=7, tickformat=",.5~r"),
        ),
    }


def _range(stretch: pl.DataFrame, times: list[str], ends: tuple[str, str]) -> list[dict[str, Any]]:
    low, high = (rounded(_numbers(stretch, end), 8) for end in ends)
    common = {
        "type": "scatter",
        "mode": "lines",
        "x": times,
        "line": {"width": 0},
        "hovertemplate": "%{y:,.6~r}",
    }
    return [
        {**common, "y": low, "name": f"{int(ends[0][2:])} %"},
        {
            **common,
            "y": high,
            "name": f"{int(ends[1][2:])} %",
            "fill": "tonexty",
            "fillcolor": "--model-band",
        },
    ]
