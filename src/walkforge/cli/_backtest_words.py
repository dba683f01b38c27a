"""`backtest.json` as a person reads it in a terminal."""

from typing import Any


def print_backtest(summary: dict[str, Any]) -> None:
    """Print the account beside buy-and-hold and random entries, then sizes and costs."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    setup = summary["setup"]
    console.print(f"{setup['n_intentions']} intentions, {setup['from']} to {setup['to']}")
    console.print(summary["rule"], style="dim", soft_wrap=True)
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    funded = bool(summary["setup"].get("funding"))
    columns = ["trades", "win rate", "PnL", "fees", "ROI", "drawdown", "Sharpe"]
    columns[4:4] = ["funding"] * funded
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    rows = {"all": summary["pooled"]}
    rows |= {symbol: block for symbol, block in summary["by_symbol"].items() if len(rows) > 0}
    rows |= {"taker fee": summary["taker"], "buy and hold": summary["buy_and_hold"]}
    rows |= {f"last {setup_days(summary)} days": summary["last_days"]}
    rows |= {f"costs x{row['factor']:g}": row for row in summary["cost_stress"]}
    rows |= {f"size {row['size']:g}": row for row in summary["sizes"]}
    for name, block in rows.items():
        table.add_row(name, *_cells(block, funded=funded))
    console.print(table)
    exits = ", ".join(f"{n} {kind}" for kind, n in summary["pooled"]["exits"].items())
    console.print(f"exits: {exits}")
    for note in summary.get("notes", []):
        console.print(note, style="dim", soft_wrap=True)


def setup_days(summary: dict[str, Any]) -> int:
    """Return the length of the window at the end."""
    return summary["last_days"].get("days", summary["setup"].get("last_days", 30))


def _cells(block: dict[str, Any], *, funded: bool) -> list[str]:
    cells = [
        f"{block['n_trades']}",
        _number(block["win_rate"], "{:.1%}"),
        _money(block["pnl"]),
        _money(block["fees"]),
        _number(block["roi_frac"], "{:.2%}"),
        _number(block["max_drawdown_frac"], "{:.2%}"),
        _number(block["sharpe_annual"], "{:.2f}"),
    ]
    cells[4:4] = [_money(block.get("funding"))] * funded
    return cells


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _money(value: float | None) -> str:
    """Return an amount with cents, where cents are worth their room."""
    return _number(value, "{:,.2f}" if value is None or abs(value) < 10_000 else "{:,.0f}")
