"""A verdict as a person reads it in a terminal."""

from pathlib import Path
from typing import Any

from walkforge.base import json_text


def print_run(folder: Path, verdict: dict[str, Any], *, as_json: bool) -> None:
    """Print the verdict, where the report lies, and last the folder's path."""
    if as_json:
        print(json_text({"run": str(folder), **verdict}, indent=2))
        return
    print_verdict(verdict)
    print(f"report: {folder / 'report.html'}")
    print(folder)


def print_verdict(verdict: dict[str, Any]) -> None:
    """Print fit or not, every gate with its reason, and the alarms."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    passed = sum(gate["passed"] for gate in verdict["gates"])
    word = "[bold green]FIT[/]" if verdict["fit"] else "[bold red]NOT FIT[/]"
    promotable = "may be promoted" if verdict["promotable"] else "may not be promoted"
    console.print()
    console.print(f"{word}: {passed} of {len(verdict['gates'])} gates passed; {promotable}")
    for alarm in verdict["alarms"]:
        console.print(f"[bold red]alarm:[/] {alarm}", soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column()
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for gate in sorted(verdict["gates"], key=lambda gate: gate["passed"]):
        mark = "[green]passed[/]" if gate["passed"] else "[red]failed[/]"
        table.add_row(mark, gate["name"], gate["reason"])
    console.print(table)
    for note in verdict.get("notes", []):
        console.print(f"note: {note}", soft_wrap=True)
