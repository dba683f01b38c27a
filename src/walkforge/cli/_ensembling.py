"""`ensemble`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ._options import JsonOption

# Rows of the table; all weights stand in ensemble.json.
_MOST_ROWS = 24


class Weights(StrEnum):
    """How the models of an ensemble are weighed."""

    fitted = "fitted"
    equal = "equal"


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog="Example: walkforge ensemble runs/mlp runs/gru --out runs/both")(ensemble)


def ensemble(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Two finished run folders or more; A first.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The run folder to make.  [default: runs/ensemble-NAME-UTCTIME]"),
    ] = None,
    weights: Annotated[
        Weights, typer.Option(help="Learned from the calibration slices, or all alike.")
    ] = Weights.fitted,
    without_lightgbm: Annotated[
        bool, typer.Option("--without-lightgbm", help="Leave out the LightGBM of the first run.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Join runs of different models into one model, and judge it like every other.

    The runs share bars, labels and folds. Models are the seeds of each run together and the
    LightGBM of the first one; they are weighed on the calibration slices alone. Leaves a run folder
    with bundles of the whole, and prints the folder's path last.
    """
    from walkforge import study
    from walkforge.base import json_text, read_json

    from ._console import make_watcher
    from ._interrupt import Interruptible
    from ._words import print_run

    with make_watcher() as shown, Interruptible(shown) as watcher:
        folder, verdict = study.ensemble(
            folders,
            out=out,
            weights=weights.value,
            with_lightgbm=not without_lightgbm,
            watcher=watcher,
        )
    joined = read_json(folder / "ensemble.json")
    if as_json:
        print(json_text({"run": str(folder), "ensemble": joined, **verdict}, indent=2))
        return
    _print_weights(joined)
    print_run(folder, verdict, as_json=False)


def _print_weights(joined: dict[str, Any]) -> None:
    """Print the models with their letters, and the weights of each series and fold."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for one in joined["members"]:
        words = f"{one['model']}, {one['run']}" if "run" in one else f"LightGBM of {one['of']}"
        console.print(f"{one['name']}: {words}", markup=False, soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("series", "fold", *(one["name"] for one in joined["members"])):
        table.add_column(name, justify="left" if name == "series" else "right")
    for fold in joined["folds"][:_MOST_ROWS]:
        shares = (f"{weight:.3f}" for weight in fold["weights"].values())
        table.add_row(fold["series"], str(fold["fold"]), *shares)
    console.print(table)
    more = len(joined["folds"]) - _MOST_ROWS
    if more > 0:
        console.print(f"and {more} more in ensemble.json")
