"""`tune`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import BarsOption, JsonOption, SetOption, SymbolsOption

if TYPE_CHECKING:
    from walkforge.study import Trial

# Rows of the table; all trials stand in the ledger.
_MOST_ROWS = 30
# With more settings than this a column each would be too narrow to read.
_MOST_COLUMNS = 4


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog="Example: walkforge tune gru --bars bars/binance --trials 40")(tune)


def tune(
    study_source: Annotated[
        str | None, typer.Argument(metavar="STUDY", help="A preset or a YAML file.")
    ] = None,
    bars: BarsOption = None,
    symbols: SymbolsOption = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Settings to try in all.  [default: the study's, 20]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder to make.  [default: runs/tune-NAME-UTCTIME]")
    ] = None,
    overrides: SetOption = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="DIR", help="Continue the search in this folder."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search for better settings of a study by their validation loss.

    Trials of one network train as one pack, hopeless ones are stopped early, and test rows are
    never looked at. Prints the trials, best first, and last the path of the study with the best
    settings; run that, and its gates count all trials.
    """
    from walkforge import study

    from ._watching import watched

    if resume is not None:
        _refuse_others(study_source, bars, symbols, out, overrides)
        folder = resume
        work = partial(study.resume_tuning, folder, trials=trials)
    else:
        plan = study.load(
            _named(study_source), _overrides(overrides, trials), bars=bars, symbols=symbols
        )
        folder = out or study.default_folder(f"tune-{plan.name}")
        work = partial(study.tune, plan, folder)
    watched(folder, lambda watcher: work(watcher=watcher), go_on="walkforge tune --resume")
    _print(folder, as_json=as_json)


def _named(study_source: str | None) -> str:
    from walkforge.base import UsageError

    if study_source is None:
        raise UsageError("name a study to tune, as in `walkforge tune demo`, or --resume DIR")
    return study_source


def _overrides(overrides: list[str] | None, trials: int | None) -> list[str]:
    return (overrides or []) + ([] if trials is None else [f"tune.trials={trials}"])


def _refuse_others(*given: Any) -> None:
    from walkforge.base import UsageError

    if any(one for one in given):
        raise UsageError(
            "--resume continues the search as it began; beside it stand only --trials and --json"
        )


def _print(folder: Path, *, as_json: bool) -> None:
    """Print the summary as data, or the trials and last the path of the best study."""
    from walkforge import study
    from walkforge.base import json_text, read_json

    summary = read_json(folder / "tune.json")
    if as_json:
        print(json_text({"tune": str(folder), **summary}, indent=2))
        return
    _print_trials(study.ranked(study.read_trials(folder)))
    states = ", ".join(f"{n} {state}" for state, n in summary["states"].items())
    print(f"{summary['n_trials']} trials: {states}; try the best with `walkforge run`:")
    print(folder / "best.yaml")


def _print_trials(trials: "list[Trial]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    paths = list(trials[0].settings)
    names = _short_names(paths) if len(paths) <= _MOST_COLUMNS else ["settings"]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("rank", "trial", "validation loss", *names, "epochs"):
        table.add_column(head, justify="left" if head == "settings" else "right", overflow="fold")
    table.add_column("state", overflow="fold")
    for rank, one in enumerate(trials[:_MOST_ROWS], 1):
        settings = [_setting(one.settings[path]) for path in paths]
        if len(paths) > _MOST_COLUMNS:
            words = zip(_short_names(paths), settings, strict=True)
            settings = [", ".join(f"{name} {value}" for name, value in words)]
        table.add_row(
            str(rank) if one.state == "complete" else "-",
            str(one.number),
            "-" if one.value is None else f"{one.value:.5f}",
            *map(escape, settings),
            str(one.epochs),
            one.state if one.state != "failed" else escape(f"failed: {one.reason}"),
        )
    console = Console(highlight=False)
    console.print(table)
    if len(trials) > _MOST_ROWS:
        console.print(f"and {len(trials) - _MOST_ROWS} more in trials.jsonl")


def _short_names(paths: list[str]) -> list[str]:
    """Return the last word of every path where that names it alone, with blanks to break at."""
    words = [path.rpartition(".")[2] for path in paths]
    named = [
        word if words.count(word) == 1 else path for path, word in zip(paths, words, strict=True)
    ]
    return [name.replace("_", " ") for name in named]


def _setting(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
