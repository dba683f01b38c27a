"""`data info` and `data export`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import JsonOption, StoreOption, default_store

if TYPE_CHECKING:
    from walkforge.base import BarsError
    from walkforge.market import Bars, BarStore, Funding, Instrument, SeriesInfo

Names = tuple[str, str, str]
"""Venue, symbol and timeframe of a series."""


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        epilog="Example: walkforge data info binance   |   walkforge data info binance/BTCUSDT/1h"
    )(info)
    app.command(
        epilog="Example: walkforge data export binance/BTCUSDT --timeframe 1h --as csv --out files"
    )(export)


def info(
    what: Annotated[
        str | None,
        typer.Argument(
            help="A venue, VENUE/SYMBOL or VENUE/SYMBOL/TIMEFRAME of the store, or the path of a "
            "folder of bars.  [default: the whole store]",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = default_store,
    as_json: JsonOption = False,
) -> None:
    """Show which bars there are: a strip of coverage per series, holes, and of one series all.

    A strip is empty where there is no bar, full where none lacks, and ░ ▒ ▓ between. Only stamps
    are read, so that long series take no longer than they must.
    """
    from rich.console import Console

    from walkforge.base import json_text

    from ._info_details import print_details
    from ._info_words import print_infos

    place, names = _find(store, what)
    infos, damaged = _known_of(place, names)
    # Prices are looked at for a single series only, and only where nobody told its instrument.
    instruments = [_told_instrument(one) for one in infos]
    is_one = len(infos) == len(names) == 1
    if is_one:
        instruments = [instruments[0] or _inferred_instrument(infos[0])]
    told = list(zip(infos, instruments, strict=True))
    if as_json:
        print(json_text([_plain(*one) for one in told], indent=2))
    elif is_one:
        print_details(Console(highlight=False), *told[0], _funding(infos[0]))
    elif infos:
        print_infos(Console(highlight=False), infos)
    for error in damaged:
        print(f"walkforge: error: {error}", file=sys.stderr)
    if damaged:
        raise typer.Exit(1)


def export(
    series: Annotated[list[str], typer.Argument(metavar="VENUE/SYMBOL", help="One or several.")],
    timeframe: Annotated[
        str, typer.Option(help="1h, 1d, ...; made from shorter bars where it is not stored.")
    ],
    out: Annotated[Path, typer.Option(help="The folder for SYMBOL-TIMEFRAME.csv or .parquet.")],
    form: Annotated[str, typer.Option("--as", help="csv or parquet.")] = "parquet",
    since: Annotated[
        str | None,
        typer.Option(help="2024-01-31, or 2y, 6mo, 90d, 12h before now.  [default: all]"),
    ] = None,
    until: Annotated[str | None, typer.Option(help="The same.  [default: all]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    store: StoreOption = default_store,
    as_json: JsonOption = False,
) -> None:
    """Write bars as CSV or Parquet, for other programs or another store.

    Every number keeps its last bit, and every file says where its bars come from: what is
    simulated stays so when it is imported again.
    """
    from walkforge import market
    from walkforge.base import json_text

    start_ms, end_ms = _moments(since, until)
    bars = [_read(store, name, timeframe, start_ms, end_ms) for name in series]
    reports = market.export_bars(bars, out, form=form, overwrite=force)
    if as_json:
        print(json_text([report.as_dict() for report in reports], indent=2))
        return
    for report in reports:
        print(report.summary())


def _known_of(
    store: "BarStore", series: Sequence[Names]
) -> "tuple[list[SeriesInfo], list[BarsError]]":
    """Return what is known of the series, and what is wrong with those that are damaged."""
    from walkforge import market
    from walkforge.base import BarsError

    infos, damaged = [], []
    for names in series:
        try:
            infos.append(market.series_info(store.describe(*names)))
        except BarsError as error:
            damaged.append(error)
    return infos, damaged


def _find(store: Path, what: str | None) -> "tuple[BarStore, list[Names]]":
    """Return the series that are meant, and their store: by their name in it, or by a path."""
    from walkforge import market
    from walkforge.base import UsageError, nearest

    if what is None:
        return market.stored_below(store)
    for path in (store / what, Path(what)):
        found = _series_at(path)
        if found is not None and found[1]:
            return found
    there = market.stored_below(store)[1]
    names = ["/".join(one) for one in there]
    names += dict.fromkeys(venue for venue, _, _ in there)
    names += dict.fromkeys(f"{venue}/{symbol}" for venue, symbol, _ in there)
    raise UsageError(
        f"{what}: neither in the store {store} nor a folder of bars{nearest(what, names)}; "
        "`walkforge data list` tells what is there"
    )


def _series_at(path: Path) -> "tuple[BarStore, list[Names]] | None":
    """Return the series at or below a path, None where there is no folder."""
    from walkforge import market
    from walkforge.base import TIMEFRAMES_MS

    # A series may also be a single file, named with or without its suffix.
    own = path.name.removesuffix(".parquet")
    folder = path.parent if own in TIMEFRAMES_MS else path
    if not folder.is_dir():
        return None
    store, below = market.stored_below(folder)
    return store, [names for names in below if folder is path or names[2] == own]


def _plain(one: "SeriesInfo", instrument: "Instrument | None") -> dict[str, Any]:
    funding = _funding(one)
    return {
        **one.as_dict(),
        "instrument": instrument and instrument.as_dict(),
        "funding": None if funding is None else _funding_dict(funding),
    }


def _funding_dict(funding: "Funding") -> dict[str, Any]:
    from walkforge.base import utc_text

    ends = (
        [utc_text(int(funding.timestamp[end])) for end in (0, -1)] if len(funding) else [None] * 2
    )
    return {
        "rates": len(funding),
        "first": ends[0],
        "last": ends[1],
        "provenance": funding.provenance,
    }


def _funding(one: "SeriesInfo") -> "Funding | None":
    from walkforge import market

    return market.read_funding(one.stored.path.parent)


def _told_instrument(one: "SeriesInfo") -> "Instrument | None":
    """Return what the store or the stored defaults tell of the symbol."""
    from walkforge import market
    from walkforge.base import UsageError

    stored, folder = one.stored, one.stored.path.parents[1]
    try:
        return market.instrument_of(stored.venue, stored.symbol, folder=folder)
    except UsageError:
        return None


def _inferred_instrument(one: "SeriesInfo") -> "Instrument":
    from walkforge import market

    stored, root = one.stored, one.stored.path.parents[2]
    bars = market.BarStore(root).read(stored.venue, stored.symbol, stored.timeframe)
    return market.instrument_of(stored.venue, stored.symbol, bars)


def _moments(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    import time

    from walkforge.base import UsageError, parse_when_ms

    now_ms = int(time.time() * 1000)
    start_ms, end_ms = (None if at is None else parse_when_ms(at, now_ms) for at in (since, until))
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise UsageError(f"--since {since} is not before --until {until}")
    return start_ms, end_ms


def _read(
    store: Path, name: str, timeframe: str, start_ms: int | None, end_ms: int | None
) -> "Bars":
    from walkforge import market
    from walkforge.base import UsageError, listed, nearest

    venue, slash, symbol = name.partition("/")
    if not (venue and slash and symbol) or "/" in symbol:
        raise UsageError(f"{name!r} is no series; write VENUE/SYMBOL, such as binance/BTCUSDT")
    if not (store / venue).is_dir():
        venues = sorted(path.name for path in store.glob("*") if path.is_dir())
        raise UsageError(
            f"{store}: no venue {venue!r}{nearest(venue, venues)}; "
            f"there are {listed(venues) or 'none'}"
        )
    found = market.read_folder(
        store / venue, timeframe=timeframe, symbols=[symbol], start_ms=start_ms, end_ms=end_ms
    )
    return found[symbol]
