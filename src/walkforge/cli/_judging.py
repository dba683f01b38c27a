"""`judge`, `backtest` and `report`."""

from pathlib import Path
from typing import Annotated

import typer

from ._options import JsonOption, SetOption

RunArgument = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run folder.")]
BarsOption = Annotated[
    Path | None, typer.Option(help="Folder of one venue, laid out SYMBOL/TIMEFRAME.parquet.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog="Example: walkforge judge runs/v8 --profile v8 --strict")(judge)
    app.command(epilog="Example: walkforge backtest --intentions my.csv --bars bars/binance")(
        backtest
    )
    app.command(epilog="Example: walkforge report runs/v8")(report)


def judge(
    folder: RunArgument = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Anybody's out-of-sample predictions, Parquet or CSV.")
    ] = None,
    bars: BarsOption = None,
    profile: Annotated[str | None, typer.Option(help="Gates: default or v8.")] = None,
    strict: Annotated[bool, typer.Option(help="Exit 1 when the model is not fit.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for what --predictions gives.")] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a run's measures again, or anybody's predictions from their start.

    A table of predictions has the columns timestamp (the bar's opening time), symbol, label and
    p_down, p_hold, p_up; fold, seed and timeframe where there are any. When a label was known
    stands in resolved_at, or follows from --set labels.horizon_bars=N.
    """
    from walkforge import study
    from walkforge.base import UsageError, json_text

    from ._words import print_run, print_verdict

    if (folder is None) == (predictions is None):
        raise UsageError("name either a RUN folder, or --predictions FILE with --bars FOLDER")
    if folder is not None:
        _refuse_with_run(bars=bars, out=out, set=overrides)
        verdict = study.judge(folder, profile)
        print(json_text(verdict, indent=2)) if as_json else print_verdict(verdict)
    else:
        assert predictions is not None
        if bars is None:
            raise UsageError("--predictions needs --bars FOLDER, the bars they were made on")
        made, verdict = study.judge_predictions(
            predictions, bars, out=out, profile=profile, overrides=overrides or []
        )
        print_run(made, verdict, as_json=as_json)
    if strict and not verdict["fit"]:
        raise typer.Exit(1)


def backtest(
    folder: RunArgument = None,
    intentions: Annotated[
        Path | None, typer.Option(help="Anybody's signals: timestamp, symbol, side, ...")
    ] = None,
    bars: BarsOption = None,
    timeframe: Annotated[
        str | None, typer.Option(help="Of the bars, where the folder has several.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for trades, equity and figures.")] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill the signals of a run or of a file by Walkforge's rules, and print what came of it.

    `--set` takes the keys of a study's backtest section: --set costs.fee_frac=0.0005.
    """
    from walkforge import study
    from walkforge.base import UsageError, json_text

    from ._backtest_words import print_backtest

    if (folder is None) == (intentions is None):
        raise UsageError("name either a RUN folder, or --intentions FILE with --bars FOLDER")
    if folder is not None:
        _refuse_with_run(bars=bars, out=out, timeframe=timeframe)
        summary = study.backtest_again(folder, overrides or [])
    else:
        assert intentions is not None
        if bars is None:
            raise UsageError("--intentions needs --bars FOLDER, the bars to fill them on")
        summary = study.backtest_intentions(
            intentions, bars, timeframe=timeframe, out=out, overrides=overrides or []
        )
    print(json_text(summary, indent=2)) if as_json else print_backtest(summary)
    if out is not None and not as_json:
        print(out)


def _refuse_with_run(**options: object) -> None:
    """Refuse options that say nothing about a run, which has its own bars and settings."""
    from walkforge.base import UsageError

    given = [f"--{name}" for name, value in options.items() if value]
    if given:
        raise UsageError(f"{', '.join(given)} cannot be used with a RUN folder")


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
) -> None:
    """Write a run's report page again, and print its path."""
    from walkforge import report as reports

    print(reports.write_report(folder))
