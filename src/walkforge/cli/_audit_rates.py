"""`audit --null` and `audit --planted`: how often models are let out, and how that is told."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

_PANEL = "Null and planted markets"
NullOption = Annotated[
    int | None,
    typer.Option(
        "--null",
        min=1,
        metavar="N",
        help="Measure on N markets without direction.",
        rich_help_panel=_PANEL,
    ),
]
PlantedOption = Annotated[
    int | None,
    typer.Option(
        "--planted",
        min=1,
        metavar="N",
        help="Measure on N markets with an edge.",
        rich_help_panel=_PANEL,
    ),
]
EdgeOption = Annotated[
    list[float] | None,
    typer.Option(
        "--edge",
        metavar="SHARPE",
        help="Of --planted: an oracle's net Sharpe ratio a year; may be repeated.  [default: 5]",
        rich_help_panel=_PANEL,
    ),
]
KindOption = Annotated[
    str | None,
    typer.Option(
        "--kind",
        help="Of --null: garch, signs or blocks.  [default: garch]",
        rich_help_panel=_PANEL,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="Of --null, --planted: the folder to make or to go on with; of --limits: the page.",
        rich_help_panel=_PANEL,
    ),
]

PRESET = "honesty"
MOST_FALSE_ALARMS = 0.01
_ISSUE_SHARPE = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What of rates was asked for on the command line."""

    study_source: str | None
    null: int | None
    planted: int | None
    edges: list[float]
    kind: str | None
    seed: int
    out: Path | None
    bars: Path | None
    overrides: list[str]
    as_json: bool


def measure_rates(wish: Wish) -> None:
    """Measure, write the page, tell; exit 1 where null markets surely get out too often."""
    from walkforge import audit, report, study
    from walkforge.base import json_text

    _refuse_odd(wish)
    plan = study.load(wish.study_source or PRESET, wish.overrides)
    folder = wish.out or study.default_folder(f"audit-{plan.name}")
    data = _measured(wish, plan, folder)
    page = report.write_audit(data, folder / "audit.html")
    if wish.as_json:
        print(json_text({"audit": str(folder), **data}, indent=2))
    else:
        for one in data["results"]:
            _print(data, one)
        _print_reached(data)
        print(f"{folder / audit.AUDIT_FILE}")
        print(page)
    too_often = data["results"][0]["rate"]["low"] > MOST_FALSE_ALARMS
    if data["about"] == "null" and too_often:
        raise typer.Exit(1)


def _refuse_odd(wish: Wish) -> None:
    from walkforge.base import UsageError

    if wish.null is not None and wish.planted is not None:
        raise UsageError("--null and --planted are two measurements; ask for one after the other")
    if wish.null is not None and wish.edges:
        raise UsageError("--edge belongs to --planted; null markets have none")
    if wish.planted is not None and wish.kind is not None:
        raise UsageError("--kind belongs to --null; planted markets are simulated")
    real = wish.kind in ("signs", "blocks")
    if real != (wish.bars is not None):
        raise UsageError(
            "--bars FOLDER and --kind signs or blocks go together: what these are made from"
        )


def _measured(wish: Wish, plan: Any, folder: Path) -> dict[str, Any]:
    """Measure with progress; cut off, say that the same command goes on."""
    from walkforge import audit

    from ._console import make_watcher
    from ._interrupt import Interruptible

    try:
        with make_watcher() as shown, Interruptible(shown) as watcher:
            if wish.null is None:
                return audit.measure_planted(
                    plan,
                    folder,
                    n_markets=wish.planted or 0,
                    edges=wish.edges or [_ISSUE_SHARPE],
                    seed=wish.seed,
                    watcher=watcher,
                )
            return audit.measure_null(
                plan,
                folder,
                n_markets=wish.null,
                kind=wish.kind or "garch",
                seed=wish.seed,
                real=_real(wish, plan),
                watcher=watcher,
            )
    except KeyboardInterrupt:
        if (folder / audit.AUDIT_FILE).exists():
            named = "" if wish.out else f", with --out {folder}"
            print(f"interrupted; the same command goes on{named}", file=sys.stderr)
        raise


def _real(wish: Wish, plan: Any) -> list[Any]:
    from walkforge import audit

    if wish.bars is None:
        return []
    return list(audit.bars_to_audit(wish.bars, plan.data.timeframe).values())


def _print(data: dict[str, Any], found: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    rate = found["rate"]
    what = _about(data, found)
    console.print(
        f"[bold]{100 * rate['value']:.1f} %[/] let out: {found['n_fit']} of {found['n_markets']} "
        f"{what}, 95 % interval {100 * rate['low']:.1f} to {100 * rate['high']:.1f} %",
        soft_wrap=True,
    )
    console.print(_table(found))


def _about(data: dict[str, Any], found: dict[str, Any]) -> str:
    if data["about"] == "null":
        return f"null markets ({data['markets']['kind']})"
    oracle = found["oracle"]
    mean = found["sharpe_annual_mean"]
    told = "-" if mean is None else f"{mean:.2f}"
    return (
        f"planted markets, whose oracle has a Sharpe ratio of {oracle['sharpe']:.2f} "
        f"(edge {oracle['edge']:.3f}) and whose models have {told}"
    )


def _table(found: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("gate", overflow="fold")
    for name in ("passed", "held alone", "p below 5 %", "uniform p"):
        table.add_column(name, justify="right")
    for name, gate in found["gates"].items():
        tested = found["p_values"].get(name)
        table.add_row(
            name,
            f"{100 * gate['passed']['value']:.1f} %",
            str(gate["alone"]),
            "" if tested is None else f"{100 * tested['below_5_percent']['value']:.1f} %",
            f"{tested['uniformity']['p_value']:.3f}" if tested and tested["exact"] else "",
        )
    return table


def _print_reached(data: dict[str, Any]) -> None:
    reached = data.get("reached")
    if reached is None:
        return
    told = {way: "none" if edge is None else f"{edge:.2f}" for way, edge in reached.items()}
    print(
        "smallest measured oracle's Sharpe ratio that is let out at least 95 times in 100: "
        f"{told['rate']} (by the rate), {told['surely']} (by its lower end)"
    )
