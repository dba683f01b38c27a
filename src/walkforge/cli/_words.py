"""A verdict as a person reads it in a terminal."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from walkforge.base import json_text

if TYPE_CHECKING:
    from rich.console import Console


def print_run(folder: Path, verdict: dict[str, Any], *, as_json: bool) -> None:
    """Print the verdict in short, where the report lies, and last the folder's path."""
    if as_json:
        print(json_text({"run": str(folder), **verdict}, indent=2))
        return
    print_verdict(verdict, brief=True)
    print(f"report: {folder / 'report.html'}")
    print(folder)


def print_verdict(verdict: dict[str, Any], *, brief: bool = False) -> None:
    """Print fit or not, the alarms, and every gate with its reason; brief: only those failed."""
    from rich.console import Console

    console = Console(highlight=False)
    passed = [gate for gate in verdict["gates"] if gate["passed"]]
    failed = [gate for gate in verdict["gates"] if not gate["passed"]]
    word = "[bold green]FIT[/]" if verdict["fit"] else "[bold red]NOT FIT[/]"
    promotable = "may be promoted" if verdict["promotable"] else "may not be promoted"
    console.print()
    console.print(f"{word}: {len(passed)} of {len(verdict['gates'])} gates passed; {promotable}")
    for alarm in verdict["alarms"]:
        console.print(f"[bold red]alarm:[/] {alarm}", soft_wrap=True)
    _print_gates(console, failed if brief else failed + passed)
    if brief and passed:
        console.print(f"[green]passed[/]  {', '.join(gate['name'] for gate in passed)}")
    for note in verdict.get("notes", []):
        console.print(f"note: {note}", soft_wrap=True)


def _print_gates(console: "Console", gates: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column()
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for gate in gates:
        mark = "[green]passed[/]" if gate["passed"] else "[red]failed[/]"
        table.add_row(mark, _broken(gate["name"], console.width // 3), gate["reason"])
    if gates:
        console.print(table)


def _broken(name: str, width: int) -> str:
    """Return a name that is too long on two lines, so that reasons keep their room."""
    if len(name) <= width:
        return name
    end = name.rfind("_", 0, width) + 1
    return f"{name[:end]}\n{name[end:]}" if end else name
