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
    last: Annotated[int | None, typer.Option(min=1, help="Only the newest N bars.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write Parquet here, print no rows.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a row.")] = False,
) -> None:
    """Print the calibrated probabilities of a bundle for bars, as CSV.

    They are those of the run's predictions.parquet, for one bar as for many.
    """
    from walkforge import market, runtime
    from walkforge.base import atomic_path
    from walkforge.registry import read_bundle

    described = read_bundle(bundle).description
    found = market.read_bars(bars, symbol=described["symbols"][0], timeframe=described["timeframe"])
    table = runtime.predict(bundle, found, last=last)
    if out is not None:
        with atomic_path(out) as temporary:
            table.write_parquet(temporary)
        print(out)
    elif as_json:
        sys.stdout.write(table.write_ndjson())
    else:
        sys.stdout.write(table.write_csv())
