"""`audit STUDY`: the table of planted faults."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from walkforge.audit import AuditReport

FaultOption = Annotated[
    list[str] | None,
    typer.Option(help="Plant this fault only; may be repeated.", rich_help_panel="Planted faults"),
]
SeedsOption = Annotated[
    int,
    typer.Option(
        min=1, help="Run the sound pipeline on so many seeds.", rich_help_panel="Planted faults"
    ),
]

_STYLES = {"caught": "green", "missed": "bold red", "no meaning": "dim"}


def audit_faults(
    study_source: str,
    *,
    bars: Path | None,
    symbols: Path | None,
    faults: list[str] | None,
    n_seeds: int,
    overrides: list[str],
    as_json: bool,
) -> None:
    """Plant faults and print which guard catches each; exit 1 for a miss or a false alarm."""
    from walkforge import study
    from walkforge.audit import audit_study
    from walkforge.base import json_text

    from ._console import make_watcher

    plan = study.load(study_source, overrides, bars=bars, symbols=symbols)
    with make_watcher() as watcher:
        report = audit_study(plan, faults=faults or None, n_seeds=n_seeds, watcher=watcher)
    if as_json:
        print(json_text(report.as_dict(), indent=2))
    else:
        _print(report)
    if not report.passed:
        raise typer.Exit(1)


def _print(report: "AuditReport") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(_table_of(report))
    for seed, found in report.alarms:
        console.print(Text(f"sound, seed {seed}: {found.guard}: {found.words}", "bold red"))
    console.print(_summary(report))


def _table_of(report: "AuditReport") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table("fault", "", "by", "s", "what was found", box=None, pad_edge=False)
    for one in report.faults:
        table.add_row(
            Text(one.fault),
            Text(one.state, _STYLES[one.state]),
            Text(one.guard or ""),
            Text(f"{one.seconds:.1f}"),
            Text(one.words),
        )
    return table


def _summary(report: "AuditReport") -> "Text":
    """Return one line: how many were caught and missed, and whether anything sound was reported."""
    from rich.text import Text

    from walkforge.base import counted

    states = [one.state for one in report.faults]
    told = [f"{states.count(state)} {state}" for state in _STYLES if state in states]
    seeds = counted(len(report.seeds), "seed")
    sound = f"{counted(len(report.alarms), 'finding')} on the sound pipeline, {seeds}"
    style = "green" if report.passed else "bold red"
    return Text(f"{report.study}: {', '.join(told)}; {sound}", style)
