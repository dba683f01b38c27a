"""`trials`."""

from typing import Any

import typer

from ._options import JsonOption

_MOST_NAMES = 4


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog="Example: walkforge trials --json")(trials)


def trials(as_json: JsonOption = False) -> None:
    """List what was tried on which bars, by the trial ledger, and check its chain.

    The ledger lies in the workspace, `runs` or where WALKFORGE_WORKSPACE says. Exits 1 where lines
    of it were edited, taken away or lost.
    """
    from walkforge import study
    from walkforge.base import json_text

    found = study.trials()
    print(json_text(found, indent=2)) if as_json else _print(found)
    if found["trouble"] is not None:
        raise typer.Exit(1)


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if found["data"]:
        console.print(_table(found["data"]))
    unfinished = found["unfinished"]
    rest = f", {unfinished} of them cut off by a killed process" if unfinished else ""
    console.print(f"{found['path']}: {found['lines']} lines{rest}", soft_wrap=True, markup=False)
    if found["trouble"] is not None:
        console.print(f"[bold red]broken:[/] {_plain(found['trouble'])}", soft_wrap=True)
    elif found["lines"]:
        console.print("[green]the chain holds[/]: every line follows from the one before it")
    else:
        console.print("nothing has been tried in this workspace yet")


def _table(data: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    # A name or a date that is cut in two is hard to read; a span of time may take two lines.
    table.add_column("bars", no_wrap=True)
    table.add_column("tested")
    for name in ("settings", "trials", "runs"):
        table.add_column(name, justify="right")
    table.add_column("entered")
    for one in data:
        counts = (one["settings"], one["trials"], len(one["runs"]))
        table.add_row(
            _plain(_names(one["series"])),
            _span(*one["tested"]),
            *(f"{count:,}" for count in counts),
            _span(one["first"], one["last"]),
        )
    return table


def _span(first: str, last: str) -> str:
    """Return the days from first to last; one where they are the same."""
    return " to ".join(dict.fromkeys((first[:10], last[:10])))


def _names(series: list[str]) -> str:
    more = len(series) - _MOST_NAMES
    return "\n".join([*series[:_MOST_NAMES], *([f"and {more:,} more"] if more > 0 else [])])


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
