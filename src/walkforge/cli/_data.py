"""`data import`, `data list`, `data check` and `data repair`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from . import _data_info, _fetching, _instruments, _repairing, _universe
from ._options import JsonOption, StoreOption, default_store

app = typer.Typer(
    no_args_is_help=True,
    help="Fetch or bring in bars, list, check and repair them.",
    rich_markup_mode="markdown",
)
_fetching.add_to(app)
_repairing.add_to(app)
_data_info.add_to(app)
_universe.add_to(app)
_instruments.add_to(app)

TimeframeOption = Annotated[
    str | None, typer.Option(help="1m, 5m, 1h, 1d, ...; guessed from the file's name if left out.")
]
CalendarOption = Annotated[
    str, typer.Option(help="24/7, session (weekends are no holes), or auto by the stamps.")
]


@app.command(
    "import", epilog="Example: walkforge data import BTCUSDT-1h-2023-01.zip --venue binance"
)
def import_(
    source: Annotated[
        Path, typer.Argument(help="A CSV, zip or Parquet file, or a folder of them.")
    ],
    venue: Annotated[str, typer.Option(help="Where the bars come from, such as binance.")],
    symbol: Annotated[
        str | None, typer.Option(help="Guessed from the file's name if left out.")
    ] = None,
    timeframe: TimeframeOption = None,
    calendar: CalendarOption = "auto",
    store: StoreOption = default_store,
    as_json: JsonOption = False,
) -> None:
    """Bring bars into the store: `timestamp,open,high,low,close,volume` or Binance's klines.

    A zip is checked against the .CHECKSUM file beside it. What is stored already is kept; a bar
    that contradicts a stored one is refused.
    """
    from walkforge import market

    reports = market.import_bars(
        source,
        market.BarStore(store),
        venue=venue,
        symbol=symbol,
        timeframe=timeframe,
        calendar=calendar,
    )
    _print_reports(reports, as_json)


@app.command("list", epilog="Example: walkforge data list --store bars")
def list_(store: StoreOption = default_store, as_json: JsonOption = False) -> None:
    """List the bars of the store: how many, from when to when, and where they came from."""
    from rich.console import Console

    from walkforge import market
    from walkforge.base import BarsError

    from ._stored_words import print_stored

    damaged: list[BarsError] = []
    stored = market.BarStore(store).list(damaged=damaged)
    if as_json:
        _print_reports(stored, as_json)
    else:
        print_stored(Console(highlight=False), stored)
    if not stored and not damaged:
        print(f"no bars in {store}; bring some in with `walkforge data fetch`", file=sys.stderr)
    for error in damaged:
        print(f"walkforge: error: {error}", file=sys.stderr)
    if damaged:
        raise typer.Exit(1)


@app.command(epilog="Example: walkforge data check bars/binance/BTCUSDT --allow gaps")
def check(
    path: Annotated[Path, typer.Argument(help="A file of bars, or a folder of them.")],
    timeframe: TimeframeOption = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="A kind of finding that does not count; `notes` for all but errors."),
    ] = None,
    calendar: CalendarOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Look for trouble in bars; exit 1 where there is any that is not allowed.

    Duplicates, unsorted and off-grid stamps, gaps, broken OHLC, prices that are not positive,
    missing volume, frozen prices, jumps.
    """
    from walkforge import market

    reports = market.check_path(path, timeframe=timeframe, calendar=calendar, allow=allow or ())
    _print_reports(reports, as_json, with_findings=True)
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


def _print_reports(reports: list[Any], as_json: bool, *, with_findings: bool = False) -> None:
    from walkforge.base import json_text

    if as_json:
        print(json_text([report.as_dict() for report in reports], indent=2))
        return
    for report in reports:
        print(report.summary())
        for line in report.lines() if with_findings else ():
            print(f"  {line}")
