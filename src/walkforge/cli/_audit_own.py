"""`audit --features` and `--labels`: whether one's own parts look ahead."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from walkforge.audit import FeatureAudit, LabelAudit

_PANEL = "One's own parts"
FeaturesOption = Annotated[
    str | None,
    typer.Option(metavar="PATH.py:NAME", help="One's own features.", rich_help_panel=_PANEL),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(metavar="PATH.py:NAME", help="One's own labels.", rich_help_panel=_PANEL),
]
TimeframeOption = Annotated[
    str | None,
    typer.Option(help="Of the bars, where the folder has several.", rich_help_panel=_PANEL),
]
CutsOption = Annotated[
    int, typer.Option(min=1, help="Random cuts of every series.", rich_help_panel=_PANEL)
]


def audit_parts(
    features: str | None,
    labels: str | None,
    *,
    bars: Path | None,
    timeframe: str | None,
    n_cuts: int,
    seed: int,
    as_json: bool,
) -> None:
    """Cut the future off and print what changes; exit 1 where something looks ahead."""
    from walkforge import audit as laboratory
    from walkforge.base import UsageError, json_text

    if bars is None:
        raise UsageError("name --bars FOLDER, the bars to ask --features and --labels on")
    found = laboratory.bars_to_audit(bars, timeframe)
    asked = {"n_cuts": n_cuts, "seed": seed}
    columns = None if features is None else laboratory.audit_features(features, found, **asked)
    claims = None if labels is None else laboratory.audit_labels(labels, found, **asked)
    if as_json:
        answers = {"features": columns, "labels": claims}
        told = {name: one.as_dict() for name, one in answers.items() if one is not None}
        print(json_text(told, indent=2))
    else:
        _print(columns, claims)
    sound = (columns is None or columns.causal) and (claims is None or claims.early is None)
    if not sound:
        raise typer.Exit(1)


def _print(columns: "FeatureAudit | None", claims: "LabelAudit | None") -> None:
    if columns is not None:
        _print_columns(columns)
    if claims is not None:
        where = _where(claims)
        if claims.early is None:
            print(f"labels of {claims.part}: known when they say so at {where}")
        else:
            print(f"labels of {claims.part}: {claims.early.words}")


def _print_columns(found: "FeatureAudit") -> None:
    from rich.console import Console
    from rich.table import Table

    from walkforge.base import counted

    console = Console(highlight=False)
    table = Table("column", "looks ahead", "settles after", box=None, padding=(0, 2, 0, 0))
    for one in found.columns:
        bars = "not seen to" if one.settles_bars is None else counted(one.settles_bars, "bar")
        ahead = one.look_ahead is not None
        table.add_row(one.name, "[red]yes[/]" if ahead else "no", "" if ahead else bars)
    console.print(table)
    bad = [one.look_ahead for one in found.columns if one.look_ahead is not None]
    for finding in bad:
        console.print(finding.words, soft_wrap=True, markup=False)
    share = (
        f"{len(bad)} of {len(found.columns)} columns look ahead"
        if bad
        else (f"none of {len(found.columns)} columns looks ahead")
    )
    console.print(f"features of {found.part}: {share} at {_where(found)}", soft_wrap=True)


def _where(found: "FeatureAudit | LabelAudit") -> str:
    from walkforge.base import listed

    series = listed(list(found.series))
    return f"{found.n_cuts} random cuts of {series}"
