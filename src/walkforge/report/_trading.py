"""What trading the probabilities would have made, after costs, beside holding and chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from ._blocks import Section, absent, beside, facts, heading, join, prose, source, table
from ._equity import equity_picture
from ._html import Child, Html, tag
from ._run import Run, at, entries, records
from ._scores import measure_cell
from ._words import NOTHING, count, decimals, exact, is_number, number, percent

Cell = Callable[[Any], Child]


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
        equity_picture(run),
        _against_chance(run),
        heading("The account"),
        _account(run),
        beside(_exits(run), _sizes(run)),
        heading("If costs were different"),
        _cost_stress(run),
    )
    return Section("backtest", "Backtest", body)


def _how(run: Run) -> Html:
    setup, rule = at(run.backtest, "setup"), at(run.backtest, "rule")
    bracket, costs = at(setup, "bracket"), at(setup, "costs")
    slippage = at(costs, "slippage_ticks")
    return join(
        prose(str(rule)) if rule else None,
        facts(
            [
                ("Window", _said("{} to {} UTC", at(setup, "from"), at(setup, "to"))),
                ("Capital", _said("{}", at(setup, "capital"))),
                ("Size", _size(setup)),
                ("Stop", _said("{} ATR", at(bracket, "stop_atr"))),
                ("Target", _said("{} ATR", at(bracket, "target_atr"))),
                ("Time-out", _said("{} bars", at(bracket, "max_hold_bars"))),
                ("Fee", _said("{} per side", _fee(at(costs, "fee_frac")))),
                ("Slippage", count(slippage, "tick") if is_number(slippage) else ""),
            ],
            compact=True,
        ),
        source("backtest.json", "rule", "setup"),
    )


def _fee(frac: Any) -> str | None:
    return f"{number(100 * frac)} %" if is_number(frac) else None


def _said(words: str, *values: Any) -> str:
    """Return the words with the values in them, or nothing where one is not known."""
    if any(value is None for value in values):
        return ""
    return words.format(*(number(value) if is_number(value) else value for value in values))


def _size(setup: Any) -> str:
    frac = at(setup, "size_capital_frac")
    if is_number(frac):
        return f"{percent(frac)} of the capital"
    return _said("{} contracts", at(setup, "size_contracts"))


def _against_chance(run: Run) -> Html | None:
    chance = at(run.backtest, "random_entries")
    beaten, p_value = at(chance, "beaten_frac"), at(chance, "p_value")
    if not (is_number(beaten) and is_number(p_value)):
        return None
    return join(
        prose(
            "Against chance: the model made more than ",
            exact(beaten, percent(beaten, 0)),
            f" of {count(at(chance, 'n_draws') or 0, 'random trader')}; ",
            exact(p_value, f"p = {decimals(p_value, 3)}"),
            ". Below 0.05 chance is a poor explanation.",
        ),
        source("backtest.json", "random_entries.beaten_frac", "random_entries.p_value"),
    )


def _account(run: Run) -> Html:
    days, fee = at(run.backtest, "last_days", "days"), at(run.backtest, "taker", "fee_frac")
    names: dict[str, Child] = {
        "pooled": "This model",
        "taker": ["Taker fee", tag("small", _said("{} per side", _fee(fee)))],
        "last_days": _said("Last {} days", days),
        "buy_and_hold": "Buy and hold",
        "random_entries": ["Random", tag("small", "mean, 5 … 95 %")],
    }
    known = {key: name for key, name in names.items() if entries(run.backtest, key)}
    blocks = [at(run.backtest, key) for key in known]
    rows: list[list[Child]] = [
        [name, *(cell(block) for block in blocks)] for name, cell in _ACCOUNT
    ]
    return table(
        label="The account of the model, and of what it stands beside",
        head=("", *known.values()),
        rows=[row for row in rows if any(cell != NOTHING for cell in row[1:])],
        strong_column=1,
        origin=source("backtest.json", *known),
    )


def _plain(key: str, digits: int | None = None, *, signed: bool = False) -> Cell:
    def cell(block: Any) -> Child:
        value = at(block, key)
        if not is_number(value):
            return NOTHING
        if digits is None:
            return exact(value, number(value))
        return exact(value, decimals(value, digits, signed=signed))

    return cell


def _frac(key: str, digits: int, *, signed: bool = False) -> Cell:
    def cell(block: Any) -> Child:
        value = at(block, key)
        return exact(value, percent(value, digits, signed=signed)) if is_number(value) else NOTHING

    return cell


def _measured(key: str, value_key: str, digits: int) -> Cell:
    """Return a cell with an interval where the block has one, else the plain value."""

    def cell(block: Any) -> Child:
        if is_number(at(block, key, "value")):
            return measure_cell(at(block, key), digits)
        return _plain(value_key, digits)(block)

    return cell


def _profit(block: Any) -> Child:
    """Return the profit, with the range of chance beneath where there is one."""
    spread = {"value": at(block, "pnl"), "low": at(block, "pnl_low"), "high": at(block, "pnl_high")}
    return measure_cell(spread, 2, signed=True)


_ACCOUNT: tuple[tuple[str, Cell], ...] = (
    ("Profit after fees", _profit),
    ("Return on capital", _frac("roi_frac", 3, signed=True)),
    ("Fees paid", _plain("fees", 2)),
    ("Trades", _plain("n_trades")),
    ("Trades won", _frac("win_rate", 1)),
    ("Mean trade", _measured("mean_trade_pnl", "mean_trade_pnl", 4)),
    ("Profit factor", _plain("profit_factor", 3)),
    ("Deepest drawdown", _frac("max_drawdown_frac", 3)),
    ("Sharpe ratio, annual", _measured("sharpe", "sharpe_annual", 2)),
    ("Deflated Sharpe, probability", _frac("deflated_sharpe", 1)),
    ("Trials counted", _plain("n_trials")),
    ("Time in a position", _frac("exposure_frac", 1)),
    ("Mean hold, bars", _plain("mean_hold_bars", 1)),
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
            origin=join(
                source("backtest.json", "pooled.exits"),
                source("trades.parquet", "exit_kind", "pnl") if earned else None,
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
    ("Profit after fees", _plain("pnl", 2, signed=True)),
    ("Return", _frac("roi_frac", 3, signed=True)),
    ("Drawdown", _frac("max_drawdown_frac", 3)),
)


def _sizes(run: Run) -> Html | None:
    sizes = records(run.backtest, "sizes")
    if not sizes:
        return None
    unit = str(sizes[0].get("unit", "contracts")).replace("_", " ")
    return tag(
        "div",
        heading("If positions were larger"),
        _outcomes(sizes, [(f"Size, {unit}", _plain("size"))], label="Position sizes", key="sizes"),
    )


def _cost_stress(run: Run) -> Html:
    stress = records(run.backtest, "cost_stress")
    if not stress:
        return absent("No cost stress in this run.")
    lead: list[tuple[str, Cell]] = [
        ("Costs", lambda row: f"× {number(at(row, 'factor'))}"),
        ("Fee per side", lambda row: _fee(at(row, "fee_frac")) or NOTHING),
        ("Slippage, ticks", _plain("slippage_ticks")),
        ("Trades", _plain("n_trades")),
    ]
    return join(
        prose(
            "Good is a profit that survives twice the costs. A profit at no costs that turns into "
            "a loss at the real ones is a gift to the exchange."
        ),
        _outcomes(
            stress,
            lead,
            (("Sharpe, annual", _plain("sharpe_annual", 2)),),
            label="Profit at multiples of the costs",
            key="cost_stress",
        ),
    )


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
