"""The price forecasts beside what costs nothing: errors, tests in words, and pictures."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ._blocks import Section, heading, join, prose, source, table
from ._forecast_coverage import coverage_picture
from ._forecast_fan import fan_picture
from ._forecast_savings import savings
from ._forecast_steps import step_picture
from ._html import Child, Html, tag
from ._run import Run, at, entries
from ._scores import measure_cell
from ._words import is_number, number, percent, titled


class _Line(NamedTuple):
    key: str
    name: str
    digits: int
    good: float | str
    """Which is good: "low", "high", or the share that a calibrated forecast reaches."""


_LINES = (
    _Line("mae_bps", "Mean absolute error", 2, "low"),
    _Line("rmse_bps", "Root mean squared error", 2, "low"),
    _Line("crps_bps", "CRPS", 2, "low"),
    _Line("direction_accuracy", "Right direction", 4, "high"),
    _Line("coverage_90", "Closes within 5 % to 95 %", 4, 0.9),
    _Line("coverage_80", "Closes within 10 % to 90 %", 4, 0.8),
    _Line("ohlc_mae_bps", "Mean error of the four prices", 2, "low"),
    _Line("range_mae_bps", "Error of the range", 2, "low"),
    _Line("band_mae_bps", "Error of the band", 2, "low"),
    _Line("volatility_mae_log", "Error of log volatility", 4, "low"),
    _Line("qlike", "QLIKE of the variance", 4, "low"),
)


def forecasts(run: Run) -> list[Section]:
    """Return the section of the price forecasts, or none where metrics.json has no word of them."""
    found = entries(run.metrics, "forecast")
    if not entries(found, "model", "pooled"):
        return []
    rivals = _by_crps(found)
    body = join(
        prose(
            f"What the price will be {_ahead(found)}. Errors are differences of logs in basis "
            "points: 100 bps are about 1 %. A market leaves little to forecast, so most of every "
            "error is there whoever forecasts; what counts is the distance to the baselines."
        ),
        savings(found, [*rivals]),
        heading("Measures"),
        prose(
            "Under each value stands its 95 % interval, from a bootstrap of whole stretches of "
            "time. Hard times are hard for whoever forecasts, so the intervals of a row move "
            "together: which column is better only a test of their differences tells."
        ),
        _measure_table(found, rivals),
        step_picture(found, rivals),
        coverage_picture(found, rivals),
        fan_picture(run),
    )
    return [Section("forecasts", "Forecasts", body)]


def _by_crps(found: dict[str, Any]) -> dict[str, Any]:
    """Return the baselines' blocks, the strongest first."""

    def crps(item: tuple[str, Any]) -> float:
        value = at(item[1], "pooled", "crps_bps", "value")
        return value if is_number(value) else float("inf")

    return dict(sorted(entries(found, "baselines").items(), key=crps))


def _ahead(found: dict[str, Any]) -> str:
    steps: Any = found.get("horizon_bars")
    return f"1 to {number(steps)} bars ahead" if is_number(steps) and steps > 1 else "a bar ahead"


def _measure_table(found: dict[str, Any], rivals: dict[str, Any]) -> Html:
    blocks = [at(found, "model", "pooled"), *(at(block, "pooled") for block in rivals.values())]
    shown = [
        line for line in _LINES if any(is_number(at(block, line.key, "value")) for block in blocks)
    ]
    n_rows: list[Child] = ["Rows", *(number(at(block, "n")) for block in blocks)]
    return table(
        label=f"Measures of the forecasts{', beside every baseline' if rivals else ''}, all rows",
        head=("", "This model", *(titled(name) for name in rivals)),
        rows=[*(_measure_row(line, blocks) for line in shown), n_rows],
        strong_column=1,
        origin=source(
            "metrics.json",
            "forecast.model.pooled",
            *(("forecast.baselines.*.pooled",) if rivals else ()),
        ),
    )


def _measure_row(line: _Line, blocks: list[Any]) -> list[Child]:
    measures = [at(block, line.key) for block in blocks]
    # What looks equal, or stands alone, is not set apart.
    badness = [round(_badness(at(m, "value"), line.good), line.digits) for m in measures]
    least = min(badness)
    alone = badness.count(least) == 1 and sum(map(math.isfinite, badness)) > 1
    good = line.good if isinstance(line.good, str) else percent(line.good, 0)
    unit = ", bps" if line.key.endswith("_bps") else ""
    return [
        [line.name, tag("small", f"{good} is good{unit}")],
        *(
            measure_cell(measure, line.digits, bold=alone and bad == least)
            for measure, bad in zip(measures, badness, strict=True)
        ),
    ]


def _badness(value: Any, good: float | str) -> float:
    if not is_number(value):
        return float("inf")
    if isinstance(good, str):
        return float(value if good == "low" else -value)
    return abs(value - good)
