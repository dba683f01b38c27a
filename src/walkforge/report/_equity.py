"""The picture of equity and drawdown, beside holding and chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from walkforge.base import FloatArray, IntArray, utc_text

from ._blocks import Key, absent, picture, sources
from ._figure import date_axis, layout, rounded, rule, thinned, y_axis
from ._html import Html
from ._run import Run, at, numbers
from ._words import is_number, number, percent

_COLUMNS = ("timestamp", "symbol", "equity", "drawdown_frac")
_ALL_SYMBOLS = ("portfolio", "")
"""Names under which the pooled equity may stand in the column `symbol`."""


def equity_picture(run: Run) -> Html:
    """Return the pooled equity and its drawdown, thinned to what a screen shows."""
    curve = _curve(run)
    if curve is None:
        return absent("No equity curve in this run: equity.parquet is not there.")
    held = "buy_and_hold" in curve.columns
    chance = _chance(run)
    return picture(
        _figure(curve, chance, at(run.backtest, "setup", "capital")),
        name="equity",
        title="Equity and drawdown",
        reading=(
            "Above, the account in quote currency, marked to market; below, how far it lies "
            "under its highest point so far."
        ),
        keys=(
            Key("--model", "line", "this model"),
            *((Key("--rival", "thin", "buy and hold"),) if held else ()),
            *((Key("--random-band", "band", "random entries, 5 % to 95 %"),) if chance else ()),
        ),
        alt=(
            f"The account ends at {number(float(curve['equity'][-1]))}; its deepest drawdown is "
            f"{percent(float(curve['drawdown_frac'].to_numpy().max()), 2)}."
        ),
        origin=sources(
            {"equity.parquet": [*_COLUMNS[2:], *(("buy_and_hold",) if held else ())]}
            | ({"backtest.json": ["random_entries.curve"]} if chance else {})
        ),
    )


def _curve(run: Run) -> pl.DataFrame | None:
    table = run.table("equity.parquet", (*_COLUMNS, "buy_and_hold"))
    table = run.table("equity.parquet", _COLUMNS) if table is None else table
    if table is None:
        return None
    whole = table.filter(pl.col("symbol").is_in(_ALL_SYMBOLS)).sort("timestamp").collect()
    return whole if whole.height else None


def _chance(run: Run) -> dict[str, Any] | None:
    """Return the curve of random entries, or None where it is not whole."""
    curve = at(run.backtest, "random_entries", "curve")
    days = at(curve, "day")
    columns = [
        days if isinstance(days, list) else [],
        *(numbers(curve, n) for n in ("low", "high")),
    ]
    if not all(columns):
        return None
    return curve if len({len(column) for column in columns}) == 1 else None


def _figure(curve: pl.DataFrame, chance: dict[str, Any] | None, capital: Any) -> dict[str, Any]:
    time_ms = curve["timestamp"].dt.epoch("ms").to_numpy()
    equity = curve["equity"].to_numpy().astype(np.float64)
    fall = -curve["drawdown_frac"].to_numpy().astype(np.float64)
    traces = _band(chance) if chance else []
    if "buy_and_hold" in curve.columns:
        held = curve["buy_and_hold"].to_numpy().astype(np.float64)
        start = capital if is_number(capital) else -np.inf
        peak = np.maximum.accumulate(np.maximum(held, start))
        thin = {"color": "--rival", "width": 1.25}
        traces += [
            _line(time_ms, held, "buy and hold", thin),
            _line(time_ms, held / peak - 1, "buy and hold", thin, below=True),
        ]
    solid = {"color": "--model", "width": 2}
    traces += [
        _line(time_ms, equity, "this model", solid),
        {
            **_line(time_ms, fall, "this model", {**solid, "width": 1.25}, below=True),
            "fill": "tozeroy",
            "fillcolor": "--model-band",
        },
    ]
    level = rule("--line-strong", xref="paper", x0=0, x1=1, y0=capital, y1=capital)
    return {
        "data": traces,
        "layout": layout(
            height=450,
            margin={"l": 48, "r": 12, "t": 12, "b": 40},
            hovermode="x unified",
            xaxis=date_axis(anchor="y2", showgrid=False),
            yaxis=y_axis("equity", domain=[0.36, 1], nticks=6, tickformat=",~f"),
            yaxis2=y_axis("drawdown", domain=[0, 0.28], nticks=4, tickformat=".2~%"),
            shapes=[level] if is_number(capital) else [],
        ),
    }


def _line(
    time_ms: IntArray,
    values: FloatArray,
    name: str,
    line: dict[str, Any],
    *,
    below: bool = False,
) -> dict[str, Any]:
    kept = thinned(values)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [utc_text(int(stamp)) for stamp in time_ms[kept]],
        "y": rounded(values[kept], 7),
        "yaxis": "y2" if below else "y",
        "line": line,
        "hovertemplate": "%{y:.2%}" if below else "%{y:,.2f}",
    }


def _band(chance: dict[str, Any]) -> list[dict[str, Any]]:
    common = {
        "type": "scatter",
        "mode": "lines",
        "x": chance["day"],
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    return [
        {**common, "y": rounded(chance["low"], 7)},
        {
            **common,
            "y": rounded(chance["high"], 7),
            "fill": "tonexty",
            "fillcolor": "--random-band",
        },
    ]
