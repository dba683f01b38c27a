"""`data import`, `data list`, `data check` and `data repair`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ._options import JsonOption

app = typer.Typer(
    no_args_is_help=True,
    help="Bring bars in, list, check and repair them.",
    rich_markup_mode="markdown",
)

StoreOption = Annotated[
    Path, typer.Option(help="The bar store: a folder per venue and symbol, a file per timeframe.")
]
TimeframeOption = Annotated[
    str | None, typer.Option(help="1m, 5m, 1h, 1d, ...; guessed from the file's name if left out.")
]
CalendarOption = Annotated[
    str, typer.Option(help="24/7, session (weekends are no holes), or auto by the stamps.")
]
_STORE = Path(os.environ.get("WALKFORGE_BARS", "bars"))


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
    store: StoreOption = _STORE,
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
def list_(store: StoreOption = _STORE, as_json: JsonOption = False) -> None:
    """List the bars of the store."""
    from walkforge import market

    _print_reports(market.BarStore(store).list(), as_json)


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


@app.command(epilog="Example: walkforge data repair raw.csv --out clean.csv")
def repair(
    path: Annotated[Path, typer.Argument(help="A file of bars.")],
    out: Annotated[Path | None, typer.Option(help="Write the mended file here.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Replace the file itself.")] = False,
    drop_broken: Annotated[
        bool, typer.Option("--drop-broken", help="Also drop bars that break a rule; leaves holes.")
    ] = False,
    timeframe: TimeframeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sort bars and drop exact duplicates. Never makes up or changes a bar."""
    from walkforge import market
    from walkforge.base import UsageError

    if (out is None) != in_place:
        raise UsageError("say where the mended bars go: --out FILE or --in-place")
    report = market.repair_bars(
        path, out, in_place=in_place, drop_broken=drop_broken, timeframe=timeframe
    )
    _print_reports([report], as_json)


def _print_reports(reports: list[Any], as_json: bool, *, with_findings: bool = False) -> None:
    from walkforge.base import json_text

    if as_json:
        print(json_text([report.as_dict() for report in reports], indent=2))
        return
    for report in reports:
        print(report.summary())
        for line in report.lines() if with_findings else ():
            print(f"  {line}")
