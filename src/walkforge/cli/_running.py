"""`run`, `resume`, `fine-tune` and `presets`."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import (
    BarsOption,
    DevicesOption,
    JsonOption,
    NodesOption,
    SetOption,
    ShardedOption,
    SymbolsOption,
    device_overrides,
)

if TYPE_CHECKING:
    from walkforge.study import Study

_OutOption = Annotated[
    Path | None, typer.Option(help="The run folder to make.  [default: runs/NAME-UTCTIME]")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog="Example: walkforge run v8 --bars bars/binance --set training.epochs=5")(run)
    app.command(epilog="Example: walkforge resume runs/v8-20260101-120000")(resume)
    app.command(
        epilog="Example: walkforge fine-tune runs/marketgpt-a-20260101-120000 --market crypto "
        "--lora 8 --set folds.kind=walk_forward"
    )(fine_tune)
    app.command(epilog="Example: walkforge presets v8 > my_study.yaml")(presets)


def run(
    study_source: Annotated[str, typer.Argument(metavar="STUDY", help="A preset or a YAML file.")],
    bars: BarsOption = None,
    symbols: SymbolsOption = None,
    out: _OutOption = None,
    overrides: SetOption = None,
    devices: DevicesOption = None,
    nodes: NodesOption = None,
    sharded: ShardedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train, calibrate, judge and backtest the models of a study.

    Leaves a run folder with every number and a report, and prints the folder's path last.
    """
    from walkforge import study

    more = [*(overrides or []), *device_overrides(devices, nodes, sharded)]
    _run(study.load(study_source, more, bars=bars, symbols=symbols), out, as_json)


def fine_tune(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run of MarketGPT.")],
    market: Annotated[
        list[str] | None,
        typer.Option(help="Lead on with assets of this category only; may be repeated."),
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option(min=1, help="Learn low-rank changes of this rank instead of all weights."),
    ] = None,
    bars: Annotated[Path | None, typer.Option(help="Other bars than the run's.")] = None,
    out: _OutOption = None,
    overrides: SetOption = None,
    devices: DevicesOption = None,
    nodes: NodesOption = None,
    sharded: ShardedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Lead the models of a MarketGPT run on, for one market or all, and judge them anew.

    Folds are the run's own, or those of --set folds.…: each begins with the newest model that
    has seen nothing of what the fold is judged by. Leaves a run folder like `run`.
    """
    from walkforge import study

    more = [*(overrides or []), *device_overrides(devices, nodes, sharded)]
    plan = study.fine_tune_study(
        run, categories=market or (), lora_rank=lora, overrides=more, bars=bars
    )
    _run(plan, out, as_json)


def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")],
    as_json: JsonOption = False,
) -> None:
    """Continue a run that was cut off, after its last finished stage and epoch."""
    from walkforge import study

    if study.is_first(folder):
        _finish(folder, as_json, lambda watcher: study.resume(folder, watcher=watcher))
    else:
        _along(lambda: study.resume(folder))


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
    names = study.preset_names()
    for preset in names:
        first_line = study.preset_text(preset).splitlines()[0]
        print(f"{preset:<{max(map(len, names))}}  {first_line.lstrip('# ')}")


def _run(plan: "Study", out: Path | None, as_json: bool) -> None:
    """Run a study; of several processes that train one model the first alone tells of it."""
    from walkforge import study

    folder = study.out_folder(plan, out)
    if study.is_first(plan):
        _finish(folder, as_json, lambda watcher: study.run(plan, folder, watcher=watcher))
    else:
        _along(lambda: study.run(plan, folder))


def _along(work: Callable[[], object]) -> None:
    """Train along with the first process, which Ctrl-C reaches too: it ends when that one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work()


def _finish(folder: Path, as_json: bool, work: Callable[[Any], object]) -> None:
    """Do the work with progress on standard error, then print the verdict."""
    from walkforge.base import read_json

    from ._watching import watched
    from ._words import print_run

    watched(folder, work, go_on="walkforge resume")
    print_run(folder, read_json(folder / "verdict.json"), as_json=as_json)
