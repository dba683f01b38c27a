"""`predict`."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        epilog="Example: walkforge predict runs/v8/models/BTCUSDT_fold0_seed0 "
        "bars/binance/BTCUSDT/1m.parquet --last 5"
    )(predict)


def predict(
    bundle: Annotated[Path, typer.Argument(help="A bundle: RUN/models/NAME.")],
    bars: Annotated[Path, typer.Argument(help="A file of bars, or a venue's folder.")],
    symbol: Annotated[
        str | None,
        typer.Option(
            help="Of a model for many symbols this one.  [default: what BARS tells; of a venue's "
            "folder all of them that are there]"
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(min=1, help="Only the newest N bars of each symbol; all if left out."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write Parquet here, print no rows.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a row.")] = False,
) -> None:
    """Print the calibrated probabilities of a bundle for bars, as CSV.

    They are those of the run's predictions.parquet, for one bar as for many. A MarketGPT draws
    paths for every bar: half a second each for case C on one core, more for larger ones; --last 1
    asks for the newest alone. Other models need seconds for all. Ctrl-C stops it without a file.
    """
    from walkforge import runtime
    from walkforge.base import atomic_path
    from walkforge.registry import read_bundle

    predictor = runtime.Predictor(read_bundle(bundle))
    found = runtime.bars_for(predictor.bundle, bars, symbol)
    table = predictor.predict_all(found, last=last, note=_warn)
    if out is not None:
        with atomic_path(out) as temporary:
            table.write_parquet(temporary)
        print(out)
    elif as_json:
        sys.stdout.write(table.write_ndjson())
    else:
        sys.stdout.write(table.write_csv())


def _warn(text: str) -> None:
    print(f"walkforge: {text}", file=sys.stderr)
