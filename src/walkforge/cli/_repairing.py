"""`data repair`: mends what is certain in a file, or fetches what is missing from a store."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._fetching import ExchangeOption, FolderOption, MarketOption, UrlOption, bring, read_urls
from ._options import JsonOption

if TYPE_CHECKING:
    from walkforge.sources import SeriesPlan


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        epilog="Examples: walkforge data repair raw.csv --out clean.csv   |   "
        "walkforge data repair bars/binance/BTCUSDT --from binance-archive"
    )(repair)


def repair(
    path: Annotated[
        Path, typer.Argument(help="A file of bars; with --from a store, or a folder in it.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write the mended file here.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Replace the file itself.")] = False,
    drop_broken: Annotated[
        bool, typer.Option("--drop-broken", help="Also drop bars that break a rule; leaves holes.")
    ] = False,
    timeframe: Annotated[
        str | None, typer.Option(help="1m, 1h, ...; guessed from the name if left out.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="SOURCE", help="Ask this source for what is missing."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --from: say what would be fetched.")
    ] = False,
    market: MarketOption = "spot",
    exchange: ExchangeOption = None,
    folder: FolderOption = None,
    urls: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sort a file's bars and drop exact duplicates; with --from fetch the bars of holes.

    Never makes up or changes a bar: what no source has stays a hole.
    """
    from walkforge import market as market_room
    from walkforge import sources
    from walkforge.base import UsageError, json_text

    if source is not None:
        origin = sources.make_source(
            source, market=market, exchange=exchange, folder=folder, urls=read_urls(urls, source)
        )
        store, series = market_room.stored_below(path)
        here = [
            (symbol, stored)
            for venue, symbol, stored in series
            if venue == origin.venue and timeframe in (None, stored)
        ]
        if not here:
            raise UsageError(f"{path}: no series of {origin.venue}, which {source} could mend")

        def plan(watcher: Any) -> "Sequence[SeriesPlan]":
            return sources.plan_repairs(origin, store, here, told=watcher.item)

        bring(origin, store, plan, dry_run=dry_run, as_json=as_json)
        return
    if (out is None) != in_place:
        raise UsageError(
            "say where the mended bars go: --out FILE or --in-place; or fetch what is missing "
            "with --from SOURCE"
        )
    report = market_room.repair_bars(
        path, out, in_place=in_place, drop_broken=drop_broken, timeframe=timeframe
    )
    print(json_text([report.as_dict()], indent=2) if as_json else report.summary())
