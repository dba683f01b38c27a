"""`judge`, `backtest` and `report`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ._options import BarsOption, JsonOption, SetOption

RunArgument = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run folder.")]
ModelArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[RUN]", help="A run folder; with --live also a bundle."),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog="Example: walkforge judge runs/v8 --profile v8 --strict")(judge)
    app.command(epilog="Example: walkforge backtest --intentions my.csv --bars bars/binance")(
        backtest
    )
    app.command(epilog="Example: walkforge report runs/v8")(report)


def judge(
    folder: ModelArgument = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Anybody's out-of-sample predictions, Parquet or CSV.")
    ] = None,
    live: Annotated[
        Path | None,
        typer.Option(
            help="What `walkforge predict` said since, Parquet or CSV: does RUN's "
            "verdict still stand?"
        ),
    ] = None,
    bars: BarsOption = None,
    profile: Annotated[str | None, typer.Option(help="Gates: default or v8.")] = None,
    strict: Annotated[
        bool,
        typer.Option(
            help="Exit 1 when the model is not fit; with --live when the verdict no longer stands."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for what --predictions gives; file for what --live gives."),
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a run's measures again, or anybody's predictions from their start.

    With --live, what a run's newest bundles (or one bundle) said after they were judged is compared
    with what they carry: drift of inputs and classes, calibration, hits, expiry.

    A table of predictions has the columns timestamp (the bar's opening time), symbol, label and
    p_down, p_hold, p_up; fold, seed and timeframe where there are any. When a label was known
    stands in resolved_at, or follows from --set labels.horizon_bars=N.
    """
    from walkforge import study
    from walkforge.base import UsageError, json_text

    from ._words import print_run, print_verdict

    if live is not None:
        _judge_live(
            folder,
            live,
            bars,
            out,
            strict=strict,
            as_json=as_json,
            predictions=predictions,
            profile=profile,
            set=overrides,
        )
        return
    if (folder is None) == (predictions is None):
        raise UsageError("name either a RUN folder, or --predictions FILE with --bars FOLDER")
    if folder is not None:
        _refuse_with_run("a RUN folder", bars=bars, out=out, set=overrides)
        verdict = study.judge(folder, profile)
        if later := study.later_trials_told(folder):
            print(f"note: {later}", file=sys.stderr)
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


def _judge_live(
    model: Path | None,
    live: Path,
    bars: Path | None,
    out: Path | None,
    *,
    strict: bool,
    as_json: bool,
    **others: object,
) -> None:
    from walkforge import study
    from walkforge.base import UsageError, json_text

    from ._live_words import print_live

    if model is None or bars is None:
        raise UsageError("--live needs a RUN folder or a bundle, and --bars FOLDER")
    _refuse_with_run("--live", **others)
    found = study.judge_live(live, model, bars, out=out)
    print(json_text(found, indent=2)) if as_json else print_live(found)
    if strict and found["stands"] is False:
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
        _refuse_with_run("a RUN folder", bars=bars, out=out, timeframe=timeframe)
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


def _refuse_with_run(what: str, **options: object) -> None:
    """Refuse options that say nothing about `what`, which has its own bars or settings."""
    from walkforge.base import UsageError

    given = [f"--{name}" for name, value in options.items() if value]
    if given:
        raise UsageError(f"{', '.join(given)} cannot be used with {what}")


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
) -> None:
    """Write a run's report page again, and print its path."""
    from walkforge import report as reports

    print(reports.write_report(folder))
