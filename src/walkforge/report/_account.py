"""The numbers of an account, block B of backtest.json, side by side with what it competes with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._blocks import source, table
from ._html import Child, Html, tag
from ._run import Run, at, entries
from ._scores import measure_cell
from ._words import NOTHING, decimals, exact, is_number, number, percent

Cell = Callable[[Any], Child]


def account_table(run: Run) -> Html:
    """Return the account beside dearer fees, its last days, holding, and chance."""
    days, fee = at(run.backtest, "last_days", "days"), at(run.backtest, "taker", "fee_frac")
    names: dict[str, Child] = {
        "pooled": "This model",
        "taker": ["Taker fee", tag("small", said("{} per side", fee_text(fee)))],
        "last_days": said("Last {} days", days),
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


def number_cell(key: str, digits: int | None = None, *, signed: bool = False) -> Cell:
    """Return what shows the number at `key` of a block."""

    def cell(block: Any) -> Child:
        value = at(block, key)
        if not is_number(value):
            return NOTHING
        if digits is None:
            return exact(value, number(value))
        return exact(value, decimals(value, digits, signed=signed))

    return cell


def percent_cell(key: str, digits: int, *, signed: bool = False) -> Cell:
    """Return what shows the fraction at `key` of a block as percent."""

    def cell(block: Any) -> Child:
        value = at(block, key)
        return exact(value, percent(value, digits, signed=signed)) if is_number(value) else NOTHING

    return cell


def _mean_trade(block: Any) -> Child:
    measure = at(block, "mean_trade_pnl")
    # A thousandth of a contract earns fractions of a cent.
    small = is_number(at(measure, "value")) and abs(measure["value"]) < 1
    return measure_cell(measure, 4 if small else 2, signed=True)


def _sharpe(block: Any) -> Child:
    """Return the Sharpe ratio with its interval; random entries have the plain number only."""
    if is_number(at(block, "sharpe", "value")):
        return measure_cell(at(block, "sharpe"), 2)
    return number_cell("sharpe_annual", 2)(block)


def _profit(block: Any) -> Child:
    """Return the profit, with the range of chance beneath where there is one."""
    spread = {"value": at(block, "pnl"), "low": at(block, "pnl_low"), "high": at(block, "pnl_high")}
    return measure_cell(spread, 2, signed=True)


def _funding(block: Any) -> Child:
    """Return what was paid for funding, nothing where nothing fell due."""
    return number_cell("funding", 2, signed=True)(block) if at(block, "funding") else NOTHING


_ACCOUNT: tuple[tuple[str, Cell], ...] = (
    ("Profit after fees", _profit),
    ("Return on capital", percent_cell("roi_frac", 2, signed=True)),
    ("Fees paid", number_cell("fees", 2)),
    ("Funding paid", _funding),
    ("Trades", number_cell("n_trades")),
    ("Trades won", percent_cell("win_rate", 1)),
    ("Mean trade", _mean_trade),
    ("Profit factor", number_cell("profit_factor", 3)),
    ("Deepest drawdown", percent_cell("max_drawdown_frac", 2)),
    ("Sharpe ratio, annual", _sharpe),
    ("Deflated Sharpe, probability", percent_cell("deflated_sharpe", 1)),
    ("Trials counted", number_cell("n_trials")),
    ("Time in a position", percent_cell("exposure_frac", 1)),
    ("Mean hold, bars", number_cell("mean_hold_bars", 1)),
)


def fee_text(frac: Any) -> str | None:
    """Return a fee as percent with all its digits, None where it is not known."""
    return f"{number(100 * frac)}\u202f%" if is_number(frac) else None


def said(words: str, *values: Any) -> str:
    """Return the words with the values in them, or nothing where one is not known."""
    if any(value is None for value in values):
        return ""
    return words.format(*(number(value) if is_number(value) else value for value in values))
