"""The tables of a comparison: one column per run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ._account import Cell, number_cell, percent_cell
from ._blocks import source, sources, table
from ._html import Child, Html, tag
from ._run import at
from ._scores import SCORES, measure_cell
from ._words import (
    NOTHING,
    code,
    decimals,
    duration,
    exact,
    is_number,
    moment,
    number,
    spoken,
)

_GIB = 2**30


def run_table(data: dict[str, Any]) -> Html:
    """Return what is compared: every run's folder and verdict."""
    return table(
        label="The runs and their verdicts",
        head=("Run", "Gates passed", "Rows", "Started, UTC", "Verdict"),
        rows=[
            [
                _name(run),
                f"{number(run['verdict']['n_passed'])} of {number(run['verdict']['n_gates'])}",
                number(run["n_rows"]),
                moment(run["started"]),
                _verdict(run["verdict"]),
            ]
            for run in data["runs"]
        ],
        words=(4,),
        stacked=True,
        origin=sources({"verdict.json": ("fit", "gates"), "run.json": ("started",)}),
    )


def gain_table(data: dict[str, Any]) -> Html:
    """Return what every run gains over A on common rows, one column per test."""
    tests = data["tests"]
    rows: list[tuple[Child, Cell]] = [
        ("Common rows", lambda test: _common(test["predictions"])),
        ("Share of A's rows", _at_predictions(percent_cell("share_of_reference", 1))),
        ("Share of the run's own rows", _at_predictions(percent_cell("share_of_other", 1))),
        ("Left out: other label", _at_predictions(number_cell("n_labels_differ"))),
        (unit_of("Log loss saved", "nats per row"), _at_predictions(_gain("log_loss", 4))),
        ("Accuracy gained", _at_predictions(_gain("accuracy", 4))),
        ("Balanced accuracy gained", _at_predictions(_gain("balanced_accuracy", 4))),
        *(_forecast_gains() if any(test["forecasts"] for test in tests) else ()),
        *(_token_gains() if any(test["tokens"] for test in tests) else ()),
        ("Common days", lambda test: number(at(test, "daily_pnl", "n_common_days"))),
        (unit_of("Daily profit gained", "quote currency"), _gain("daily_pnl", 2)),
    ]
    return table(
        label="Every run against A on common rows and days",
        head=("", *(head_of(data["runs"][test["run"]]) for test in tests)),
        rows=[[name, *(cell(test) for test in tests)] for name, cell in rows],
        origin=sources(
            {
                "predictions.parquet": (),
                **({"forecasts.parquet": ()} if any(test["forecasts"] for test in tests) else {}),
                **({"tokens.parquet": ()} if any(test["tokens"] for test in tests) else {}),
                "trades.parquet": ("decided_at", "pnl"),
            }
        ),
    )


def settings_table(data: dict[str, Any]) -> Html:
    """Return the settings that are not the same in all runs."""
    runs = data["runs"]
    return table(
        label="Settings that differ",
        head=("", *map(head_of, runs)),
        rows=[
            [
                code(row["key"]),
                *(
                    NOTHING if run["letter"] in row["missing_in"] else _setting(value)
                    for run, value in zip(runs, row["values"], strict=True)
                ),
            ]
            for row in data["settings"]["differ"]
        ],
        words=range(1, len(runs) + 1),
        origin=source("study.yaml"),
    )


def measure_table(data: dict[str, Any]) -> Html:
    """Return the scores of every run, each beside those of its strongest baseline."""
    runs = data["runs"]
    says = _says(data)
    rows: list[list[Child]] = [
        ["Strongest baseline", *(spoken(at(run, "baseline", "name") or NOTHING) for run in runs)],
        *(
            [
                unit_of(score.name, f"{score.better} is good"),
                *(
                    [
                        measure_cell(at(run, "measures", score.key)),
                        _rival(run, score.key),
                        _mark(says.get((place, score.key))),
                    ]
                    for place, run in enumerate(runs)
                ),
            ]
            for score in SCORES
        ),
    ]
    return table(
        label="Scores of every run, pooled over symbols, folds and seeds",
        head=("", *map(head_of, runs)),
        rows=rows,
        origin=source("metrics.json", "model.pooled", "baselines.*.pooled"),
    )


def forecast_table(data: dict[str, Any]) -> Html:
    """Return the errors of every run that forecasts prices; a dash for one that does not."""
    runs = data["runs"]
    return table(
        label="Price forecasts of every run, pooled over series, folds, seeds and steps",
        head=("", *map(head_of, runs)),
        rows=[
            [unit_of(name, good), *(measure_cell(at(run, "forecast", key), digits) for run in runs)]
            for key, name, good, digits in _FORECAST
        ],
        origin=source("metrics.json", "forecast.model.pooled"),
    )


def trading_table(data: dict[str, Any]) -> Html:
    """Return the accounts of every run's backtest."""
    runs = data["runs"]
    says = _says(data)
    rows: list[list[Child]] = [
        [name, *([cell(run["trading"]), _mark(says.get((k, name)))] for k, run in enumerate(runs))]
        for name, cell in _ACCOUNT
    ]
    return table(
        label="The backtest of every run",
        head=("", *map(head_of, runs)),
        rows=rows,
        origin=source("backtest.json", "pooled"),
    )


def cost_table(data: dict[str, Any]) -> Html:
    """Return time, memory and where the runs were made; a dash where an older run kept none."""
    runs = data["runs"]
    stages = dict.fromkeys(
        stage for run in runs for stage in (at(run, "cost", "stage_seconds") or {})
    )
    rows: list[list[Child]] = [
        *([name, *(shown(at(run, "cost", key)) for run in runs)] for key, name, shown in _COST),
        *(
            [
                f"Stage: {stage}",
                *(_seconds(at(run, "cost", "stage_seconds", stage)) for run in runs),
            ]
            for stage in stages
        ),
    ]
    return table(
        label="Time, memory and machine of every run",
        head=("", *map(head_of, runs)),
        rows=rows,
        origin=sources({"run.json": (), "training_log.jsonl": ("rows_per_s", "seconds")}),
    )


def head_of(run: dict[str, Any]) -> Child:
    """Return the head of a run's column: its letter and name."""
    return [run["letter"], tag("small", run["name"], class_="name")]


def _name(run: dict[str, Any]) -> Child:
    title = tag("span", f"{run['letter']} · {run['name']}", class_="name")
    return [title, tag("small", run["folder"], class_="name")]


def _verdict(verdict: dict[str, Any]) -> Child:
    if not isinstance(verdict["fit"], bool):
        return NOTHING
    failed = ", ".join(spoken(name) for name in verdict["failed"])
    alarms = verdict["alarms"]
    return [
        tag("b", "Fit" if verdict["fit"] else "Not fit"),
        tag("small", f"failed: {failed}") if failed else None,
        tag("small", f"{number(len(alarms))} alarms: {' '.join(map(str, alarms))}")
        if alarms
        else None,
    ]


def _common(found: dict[str, Any]) -> Child:
    if not found["comparable"]:
        return [number(found["n_common"]), tag("small", found["reason"], class_="name")]
    return [
        number(found["n_common"]),
        tag("small", f"{found['from']} … {found['to']}", class_="name"),
    ]


def unit_of(name: str, unit: str) -> Child:
    """Return the head of a row, with what it is measured in beneath."""
    return [name, tag("small", unit)]


def _at_predictions(cell: Cell) -> Cell:
    return lambda test: cell(test["predictions"])


def _forecast_gains() -> list[tuple[Child, Cell]]:
    def at_forecasts(cell: Cell) -> Cell:
        return lambda test: cell(test["forecasts"])

    return [
        ("Common forecasts", at_forecasts(number_cell("n_common"))),
        (unit_of("CRPS saved", "bps"), at_forecasts(_gain("crps", 3))),
        (unit_of("Absolute error saved", "bps"), at_forecasts(_gain("absolute_error", 3))),
    ]


def _token_gains() -> list[tuple[Child, Cell]]:
    def at_tokens(cell: Cell) -> Cell:
        return lambda test: cell(test["tokens"])

    return [
        ("Common tokens", at_tokens(_common_tokens)),
        (unit_of("Loss of tokens saved", "nats per token"), at_tokens(_gain("log_loss", 4))),
        ("Accuracy of tokens gained", at_tokens(_gain("accuracy", 4))),
    ]


def _common_tokens(found: Any) -> Child:
    if found is None:
        return NOTHING
    reason = tag("small", found["reason"], class_="name") if not found["comparable"] else None
    return [number(found["n_common"]), reason]


def _gain(key: str, digits: int) -> Cell:
    """Return what shows a gain with its interval, p-value and what it says."""

    def cell(found: Any) -> Child:
        entry = at(found, key)
        if not is_number(at(entry, "value")):
            return tag("small", at(entry, "reason"), class_="name") if entry else NOTHING
        shown = measure_cell(entry, digits, signed=True)
        return [shown, _p_values(entry), _mark(entry.get("says"))]

    return cell


def _p_values(entry: dict[str, Any]) -> Child:
    p, adjusted = entry.get("p_value"), entry.get("p_holm")
    if not is_number(p):
        return None
    told = f"p {_p(p)}" if p == adjusted else f"p {_p(p)}, Holm {_p(adjusted)}"
    return tag("small", told)


def _p(p: Any) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def _mark(says: str | None) -> Child:
    if says == "better":
        return tag("small", "▲ better than A", class_="passed")
    if says == "worse":
        return tag("small", "▼ worse than A", class_="failed")
    return None


def _says(data: dict[str, Any]) -> dict[tuple[int, str], str]:
    """Return what the tests say of each run's measures, by place of the run and name."""
    says = {}
    for test in data["tests"]:
        for key in ("log_loss", "accuracy", "balanced_accuracy"):
            says[test["run"], key] = at(test, "predictions", key, "says")
        says[test["run"], _PROFIT] = at(test, "daily_pnl", "says")
    return {place: word for place, word in says.items() if word}


def _rival(run: dict[str, Any], key: str) -> Child:
    value = at(run, "baseline", "measures", key, "value")
    return tag("small", "baseline ", exact(value, decimals(value, 4))) if is_number(value) else None


def _setting(value: Any) -> Child:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _seconds(value: Any) -> Child:
    return exact(value, duration(value)) if is_number(value) else NOTHING


def amount(value: Any) -> Child:
    """Return a number from a file, or a dash."""
    return exact(value, number(value)) if is_number(value) else NOTHING


def whole(value: Any) -> Child:
    """Return a number from a file without its decimals, or a dash."""
    return exact(value, number(round(value))) if is_number(value) else NOTHING


def _memory(value: Any) -> Child:
    return exact(value, f"{value / _GIB:,.2f} GiB") if is_number(value) else NOTHING


def _word(value: Any) -> Child:
    return NOTHING if value is None else str(value)


def _sharpe(account: Any) -> Child:
    measured = is_number(at(account, "sharpe", "value"))
    return (
        measure_cell(at(account, "sharpe"), 2)
        if measured
        else number_cell("sharpe_annual", 2)(account)
    )


_FORECAST = (
    ("crps_bps", "CRPS", "low is good, bps", 3),
    ("mae_bps", "Mean absolute error", "low is good, bps", 3),
    ("rmse_bps", "Root mean squared error", "low is good, bps", 3),
    ("direction_accuracy", "Right direction", "high is good", 4),
    ("coverage_90", "Closes within 5 % to 95 %", "90 % is good", 4),
    ("qlike", "QLIKE of the variance", "low is good", 4),
)
_PROFIT = "Profit after fees"
_ACCOUNT: Sequence[tuple[str, Cell]] = (
    (_PROFIT, number_cell("pnl", 2, signed=True)),
    ("Return on capital", percent_cell("roi_frac", 2, signed=True)),
    ("Sharpe ratio, annual", _sharpe),
    ("Deflated Sharpe, probability", percent_cell("deflated_sharpe", 1)),
    ("Deepest drawdown", percent_cell("max_drawdown_frac", 2)),
    ("Trades", number_cell("n_trades")),
    ("Trades won", percent_cell("win_rate", 1)),
    ("Fees paid", number_cell("fees", 2)),
)
_COST: Sequence[tuple[str, str, Callable[[Any], Child]]] = (
    ("seconds", "Whole run", _seconds),
    ("training_seconds", "Epochs of training", _seconds),
    ("rows_per_s", "Rows trained a second, median", whole),
    ("epochs", "Epochs", amount),
    ("n_members", "Networks", amount),
    ("n_parameters", "Weights each", amount),
    ("peak_memory_bytes", "Peak memory", _memory),
    ("gpu_memory_bytes", "Peak GPU memory", _memory),
    ("device", "Device", _word),
    ("precision", "Precision", _word),
    ("threads", "Threads", _word),
    ("walkforge", "Walkforge", _word),
    ("torch", "torch", _word),
    ("python", "Python", _word),
)
