"""What trading the probabilities would have made, after costs, beside holding and chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from ._account import Cell, account_table, fee_text, number_cell, percent_cell, said
from ._blocks import Section, absent, beside, facts, heading, join, prose, source, sources, table
from ._equity import equity_picture
from ._html import Html, tag
from ._run import Run, at, entries, records
from ._words import NOTHING, count, day, decimals, exact, is_number, number, percent


def trading(run: Run) -> Section:
    """Return the backtest: the curve, the numbers, and what they depend on."""
    if not entries(run.backtest, "pooled"):
        return Section("backtest", "Backtest", absent("No backtest in this run."))
    body = join(
        prose(
            "Every intention is filled at the next open with slippage and fees; stop, target and "
            "time-out follow the same rules for the model and for chance. Good is a curve that "
            "rises above the grey band: the band is where nine of ten random traders end up who "
            "trade as often, for as long, at the same costs."
        ),
        _how(run),
        _notes(run),
        equity_picture(run),
        _against_chance(run),
        heading("The account"),
        account_table(run),
        beside(_exits(run), _sizes(run)),
        heading("If costs were different"),
        _cost_stress(run),
    )
    return Section("backtest", "Backtest", body)


def _how(run: Run) -> Html:
    setup, rule = at(run.backtest, "setup"), at(run.backtest, "rule")
    bracket, costs = at(setup, "bracket"), at(setup, "costs")
    return join(
        prose(str(rule)) if rule else None,
        facts(
            [
                ("Window, UTC", _window(setup)),
                ("Capital", said("{}", at(setup, "capital"))),
                ("Size", _size(setup)),
                ("Stop", said("{} ATR", at(bracket, "stop_atr"))),
                ("Target", said("{} ATR", at(bracket, "target_atr"))),
                ("Time-out", _counted(at(bracket, "max_hold_bars"), "bar")),
                ("Fee", _fee(costs)),
                ("Slippage", _counted(at(costs, "slippage_ticks"), "tick")),
            ],
            compact=True,
        ),
        source("backtest.json", "rule", "setup"),
    )


def _notes(run: Run) -> Html | None:
    """Return what a reader must know, such as refused orders and funding that nobody knows."""
    notes = at(run.backtest, "notes")
    if not isinstance(notes, list) or not notes:
        return None
    told = [prose(str(note)) for note in notes]
    return tag("div", told, source("backtest.json", "notes"), class_="aside")


def _window(setup: Any) -> str:
    start, end = at(setup, "from"), at(setup, "to")
    return "" if start is None or end is None else f"{day(start)} to {day(end)}"


def _size(setup: Any) -> str:
    frac = at(setup, "size_capital_frac")
    if is_number(frac):
        return f"{percent(frac)} of the capital"
    return _counted(at(setup, "size_contracts"), "contract")


def _fee(costs: Any) -> str:
    if "fee_frac" in entries(costs) and at(costs, "fee_frac") is None:
        return "each instrument's own"
    return said("{} per side", fee_text(at(costs, "fee_frac")))


def _counted(n: Any, what: str) -> str:
    return count(n, what) if is_number(n) else ""


def _against_chance(run: Run) -> Html | None:
    chance = at(run.backtest, "random_entries")
    beaten, p_value, n = (at(chance, key) for key in ("beaten_frac", "p_value", "n_draws"))
    if not (is_number(beaten) and is_number(p_value) and is_number(n)):
        return None
    return join(
        prose(
            "Against chance: the model made more than ",
            exact(beaten, number(round(beaten * n))),
            f" of {count(n, 'random trader')}; ",
            exact(p_value, f"p = {decimals(p_value, 3)}"),
            ". Below 0.05 chance is a poor explanation.",
        ),
        source("backtest.json", "random_entries.beaten_frac", "random_entries.p_value"),
    )


def _exits(run: Run) -> Html | None:
    exits = {k: n for k, n in entries(run.backtest, "pooled", "exits").items() if is_number(n)}
    if not exits:
        return None
    total = sum(exits.values()) or 1
    earned = _earned_by_exit(run)
    rows = [
        [
            kind.replace("_", " "),
            exact(n, number(n)),
            _share(n / total),
            *([decimals(earned.get(kind), 2, signed=True)] if earned else []),
        ]
        for kind, n in exits.items()
    ]
    return tag(
        "div",
        heading("How trades ended"),
        table(
            label="Exits by kind",
            head=("Exit", "Trades", "Share", *(["Profit after fees"] if earned else [])),
            rows=rows,
            origin=sources(
                {"backtest.json": ["pooled.exits"]}
                | ({"trades.parquet": ["exit_kind", "pnl"]} if earned else {})
            ),
        ),
    )


def _earned_by_exit(run: Run) -> dict[str, float]:
    trades = run.table("trades.parquet", ("exit_kind", "pnl"))
    if trades is None:
        return {}
    sums = trades.group_by("exit_kind").agg(pl.col("pnl").sum()).collect()
    return {str(kind): float(pnl) for kind, pnl in sums.iter_rows() if pnl is not None}


def _share(frac: float) -> Html:
    """Return a share with a bar of its length beneath."""
    return tag("span", percent(frac), class_="share", style=f"--fraction:{frac:.4f}")


_OUTCOME: tuple[tuple[str, Cell], ...] = (
    ("Profit after fees", number_cell("pnl", 2, signed=True)),
    ("Return", percent_cell("roi_frac", 2, signed=True)),
    ("Drawdown", percent_cell("max_drawdown_frac", 2)),
)


def _sizes(run: Run) -> Html | None:
    sizes = records(run.backtest, "sizes")
    if not sizes:
        return None
    unit = str(sizes[0].get("unit", "contracts")).replace("_", " ")
    return tag(
        "div",
        heading("If positions were larger"),
        _outcomes(
            sizes, [(f"Size, {unit}", number_cell("size"))], label="Position sizes", key="sizes"
        ),
    )


def _cost_stress(run: Run) -> Html:
    stress = records(run.backtest, "cost_stress")
    if not stress:
        return absent("No cost stress in this run.")
    lead: list[tuple[str, Cell]] = [
        ("Costs", lambda row: f"× {number(at(row, 'factor'))}"),
        ("Fee per side", lambda row: fee_text(at(row, "fee_frac")) or NOTHING),
        ("Slippage, ticks", number_cell("slippage_ticks")),
        ("Trades", number_cell("n_trades")),
    ]
    return join(
        prose(
            "Good is a profit that survives twice the costs. A profit at no costs that turns into "
            "a loss at the real ones is a gift to the exchange.",
            " Fees and slippage are multiplied, funding is not." if _has_funding(run) else None,
        ),
        _outcomes(
            stress,
            lead,
            (("Sharpe, annual", number_cell("sharpe_annual", 2)),),
            label="Profit at multiples of the costs",
            key="cost_stress",
        ),
    )


def _has_funding(run: Run) -> bool:
    return bool(at(run.backtest, "pooled", "funding"))


def _outcomes(
    rows: Sequence[dict[str, Any]],
    lead: Sequence[tuple[str, Cell]],
    more: Sequence[tuple[str, Cell]] = (),
    *,
    label: str,
    key: str,
) -> Html:
    columns = [*lead, *_OUTCOME, *more]
    return table(
        label=label,
        head=[name for name, _ in columns],
        rows=[[cell(row) for _, cell in columns] for row in rows],
        origin=source("backtest.json", key),
    )
