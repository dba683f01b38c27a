"""`audit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import JsonOption

if TYPE_CHECKING:
    from walkforge.audit import FeatureAudit, LabelAudit


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        epilog="Example: walkforge audit --features my_features.py:make --bars bars/binance"
    )(audit)


def audit(
    features: Annotated[
        str | None, typer.Option(metavar="PATH.py:NAME", help="One's own features.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="PATH.py:NAME", help="One's own labels.")
    ] = None,
    bars: Annotated[
        Path | None, typer.Option(help="Folder of one venue's bars: SYMBOL/TIMEFRAME.parquet.")
    ] = None,
    timeframe: Annotated[
        str | None, typer.Option(help="Of the bars, where the folder has several.")
    ] = None,
    cuts: Annotated[int, typer.Option(min=1, help="Random cuts of every series.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the cuts.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Cut the future off and see what changes: features that look ahead, labels known too early.

    Of features also says how many bars of look-back their values need to settle. Exits 1 when
    something looks ahead.
    """
    from walkforge import audit as laboratory
    from walkforge.base import UsageError, json_text

    if (features is None and labels is None) or bars is None:
        raise UsageError("name --features or --labels PATH.py:NAME, and --bars FOLDER to ask on")
    found = laboratory.bars_to_audit(bars, timeframe)
    asked = {"n_cuts": cuts, "seed": seed}
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
