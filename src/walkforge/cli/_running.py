"""`run`, `resume` and `presets`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ._options import JsonOption, SetOption


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog="Example: walkforge run v8 --bars bars/binance --set training.epochs=5")(run)
    app.command(epilog="Example: walkforge resume runs/v8-20260101-120000")(resume)
    app.command(epilog="Example: walkforge presets v8 > my_study.yaml")(presets)


def run(
    study_source: Annotated[str, typer.Argument(metavar="STUDY", help="A preset or a YAML file.")],
    bars: Annotated[
        Path | None, typer.Option(help="Folder of one venue, laid out SYMBOL/TIMEFRAME.parquet.")
    ] = None,
    symbols: Annotated[
        Path | None, typer.Option(help="File of symbols to take: JSON, or text with one per line.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder to make.  [default: runs/NAME-UTCTIME]")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train, calibrate, judge and backtest the models of a study.

    Leaves a run folder with every number and a report, and prints the folder's path last.
    """
    from walkforge import study

    plan = study.load(study_source, overrides or [], bars=bars, symbols=symbols)
    folder = out or study.default_folder(plan.name)
    _finish(folder, as_json, lambda watcher: study.run(plan, folder, watcher=watcher))


def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")],
    as_json: JsonOption = False,
) -> None:
    """Continue a run that was cut off, after its last finished stage and epoch."""
    from walkforge import study

    _finish(folder, as_json, lambda watcher: study.resume(folder, watcher=watcher))


def presets(
    name: Annotated[
        str | None, typer.Argument(help="Print this preset's YAML, to copy and change.")
    ] = None,
) -> None:
    """List the presets, or print one."""
    from walkforge import study
    from walkforge.base import one_of

    if name is not None:
        print(study.preset_text(one_of("preset", name, study.preset_names())), end="")
        return
    for preset in study.preset_names():
        first_line = study.preset_text(preset).splitlines()[0]
        print(f"{preset:<12} {first_line.lstrip('# ')}")


def _finish(folder: Path, as_json: bool, work: Callable[[Any], object]) -> None:
    """Do the work with progress on standard error, then print the verdict."""
    from walkforge.base import read_json

    from ._watching import watched
    from ._words import print_run

    watched(folder, work, go_on="walkforge resume")
    print_run(folder, read_json(folder / "verdict.json"), as_json=as_json)
