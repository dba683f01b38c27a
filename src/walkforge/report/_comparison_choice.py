"""The section on choosing one of the runs: is any better than A, and would the best stay so?"""

from __future__ import annotations

from typing import Any

from ._blocks import Section, absent, heading, join, prose, source, table
from ._comparison_tables import head_of, unit_of
from ._html import Child, Html, tag
from ._run import at
from ._words import NOTHING, decimals, exact, is_number, number, percent


def choice_section(data: dict[str, Any]) -> Section:
    """Return what the tests of all runs at once say, and the probability of overfitting."""
    body = join(
        heading("Is any run better than A?"),
        prose(
            "Set against A one by one, the best of many runs looks good by luck alone. Here all "
            "are asked at once, on the rows that all share: Hansen's SPA gives the p-value that "
            "none is better, StepM names those that are, any wrong one in at most 5 of 100 cases."
        ),
        _best_table(data) if data["best_of"]["comparable"] else _not_told(data["best_of"]),
        heading("Would the best account stay the best?"),
        prose(
            "The days that all share are split into halves in many ways: one half chooses the "
            "account with the best Sharpe ratio, the other judges it. The probability of backtest "
            "overfitting is how often the chosen one is no better there than the median account. "
            "Luck among equals gives a half, or a little more of an odd number (two thirds of "
            "three); near 0 means that the best one stays so."
        ),
        _overfitting_table(data["overfitting"])
        if data["overfitting"]["comparable"]
        else _not_told(data["overfitting"]),
    )
    return Section("choice", "Choosing among the runs", body)


def _not_told(found: dict[str, Any]) -> Html:
    return absent(f"This cannot be told: {found['reason']}.")


def _best_table(data: dict[str, Any]) -> Html:
    found = data["best_of"]
    runs = [data["runs"][test["run"]] for test in data["tests"]]
    rows: list[list[Child]] = [
        ["Better than A, StepM", *(_says(found, run["letter"]) for run in runs)],
        [
            unit_of("Log loss saved", "nats per shared row"),
            *(_saved(found, run["letter"]) for run in runs),
        ],
    ]
    return join(
        table(
            label="Every run against A, all asked at once",
            head=("", *map(head_of, runs)),
            rows=rows,
            origin=source("predictions.parquet"),
        ),
        tag("p", _spa(found), class_="reading"),
    )


def _says(found: dict[str, Any], letter: str) -> Child:
    if letter in found["superior"]:
        return tag("small", "▲ surely", class_="passed")
    if letter in found["untested"]:
        return tag("small", "predicts alike")
    return tag("small", "not asked" if letter in found["left_out"] else "not surely")


def _saved(found: dict[str, Any], letter: str) -> Child:
    value = at(found, "log_loss_saved", letter)
    return exact(value, decimals(value, 4, signed=True)) if is_number(value) else NOTHING


def _spa(found: dict[str, Any]) -> Child:
    bounds = [_p(found[key]) for key in ("p_lower", "p_upper")]
    return [
        "SPA: p ",
        exact(found["p_value"], _p(found["p_value"])),
        f" that none is better, with its bounds p {bounds[0]} and p {bounds[1]}; "
        f"{number(found['n'])} rows at {number(found['n_times'])} times, {found['from']} … "
        f"{found['to']}, in blocks of {number(found['bootstrap']['block_times'])} times.",
    ]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def _overfitting_table(found: dict[str, Any]) -> Html:
    days = [
        number(found["n_common_days"]),
        tag("small", f"{found['from']} … {found['to']}", class_="name"),
    ]
    rows: list[list[Child]] = [
        ["Probability of backtest overfitting", exact(found["pbo"], decimals(found["pbo"], 2))],
        [
            "The same by luck among equals",
            exact(found["pbo_by_luck"], decimals(found["pbo_by_luck"], 2)),
        ],
        [
            unit_of("The chosen account loses money", "of all splits"),
            exact(found["probability_of_loss"], percent(found["probability_of_loss"])),
        ],
        ["Different accounts", number(found["n_accounts"])],
        [
            "Splits",
            [number(found["n_splits"]), tag("small", f"of {number(found['n_blocks'])} blocks")],
        ],
        ["Common days", days],
    ]
    return table(
        label="What choosing by Sharpe ratio is worth",
        head=("", "All runs"),
        rows=rows,
        origin=source("trades.parquet", "decided_at", "pnl"),
    )
