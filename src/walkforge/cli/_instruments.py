"""`data instruments`: what venues say of ticks, lots, minimums and fees."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._fetching import MarketOption, UrlOption, read_urls
from ._options import JsonOption, StoreOption, default_store

if TYPE_CHECKING:
    from walkforge.market import BarStore, Instrument

_HEADINGS = ("tick", "lot", "minimum", "contract", "maker", "taker", "funding", "by")


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        epilog="Examples: walkforge data instruments binance   |   "
        "walkforge data instruments --refresh --exchange binance --market perpetual"
    )(instruments)


def instruments(
    venue: Annotated[
        str | None, typer.Argument(help="A venue of the store; all of them if left out.")
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the --exchange through ccxt, and keep it.")
    ] = False,
    exchange: Annotated[
        str | None, typer.Option(help="With --refresh: the exchange, such as binance or coinbase.")
    ] = None,
    market: MarketOption = "spot",
    urls: UrlOption = None,
    store: StoreOption = default_store,
    as_json: JsonOption = False,
) -> None:
    """Show tick, lot, minimum, fees and funding interval of every symbol in the store.

    Backtests use them. They come from the exchange where it was asked with --refresh, otherwise
    from stored defaults or, at last, from what the prices show; the last column says which.
    """
    from walkforge.base import UsageError, json_text
    from walkforge.market import BarStore

    if refresh != (exchange is not None):
        raise UsageError("--refresh and --exchange NAME go together")
    place = BarStore(store)
    if exchange is not None:
        venue = _refresh(place, exchange, market, read_urls(urls, "ccxt"))
    found = _known(place, venue)
    if as_json:
        print(json_text([{"venue": name, **one.as_dict()} for name, one in found], indent=2))
        return
    _print(found)


def _refresh(store: "BarStore", exchange: str, market: str, urls: dict[str, str]) -> str:
    """Ask an exchange for all its symbols, keep what it says, and return its venue."""
    from walkforge import sources

    source = sources.make_source("ccxt", exchange=exchange, market=market, urls=urls)
    try:
        sources.refresh_instruments(source, store)
    finally:
        source.close()
    return source.venue


def _known(store: "BarStore", venue: str | None) -> "list[tuple[str, Instrument]]":
    """Return the instrument of every stored symbol, with its venue."""
    from walkforge.base import UsageError, listed, nearest
    from walkforge.market import instrument_of

    every = store.list()
    venues = sorted({one.venue for one in every})
    if venue is not None and venue not in venues:
        raise UsageError(
            f"{store.root}: no bars of {venue!r}{nearest(venue, venues)}; there are "
            f"{listed(venues) or 'none'}"
        )
    series: dict[tuple[str, str], str] = {}
    for one in every:
        if venue in (None, one.venue):
            series.setdefault((one.venue, one.symbol), one.timeframe)
    return [
        (where, instrument_of(where, symbol, _last_bars(store, where, symbol, timeframe),
                              folder=store.root / where))
        for (where, symbol), timeframe in series.items()
    ]  # fmt: skip


def _last_bars(store: "BarStore", venue: str, symbol: str, timeframe: str) -> Any:
    """Return bars enough to read a tick off the prices; a study reads the first it has."""
    manifest = store.manifest(venue, symbol, timeframe)
    start_ms = None if manifest is None else manifest.parts[-1].first_ms
    return store.read(venue, symbol, timeframe, start_ms=start_ms)


def _print(found: "list[tuple[str, Instrument]]") -> None:
    from rich.console import Console
    from rich.table import Table

    rows = [_cells(one) for _, one in found]
    # What says the same of all, as one unit a contract does, only takes room.
    shown = [name for name in _HEADINGS if any(row[name] not in ("", "1") for row in rows)]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("symbol", *shown):
        table.add_column(name, justify="left" if name in ("symbol", "by") else "right")
    for (venue, one), row in zip(found, rows, strict=True):
        table.add_row(f"{venue}/{one.symbol}", *(row[name] for name in shown))
    Console(highlight=False).print(table)


def _cells(one: "Instrument") -> dict[str, str]:
    """Return what stands in a row, by heading; nothing where nothing is known."""
    hours = one.funding_interval_h
    return {
        "tick": f"{one.tick_size:.10g}",
        "lot": f"{one.lot_step:.10g}" if one.has_lot_step else "",
        "minimum": f"{one.min_notional:.10g}",
        "contract": f"{one.contract_size:.10g}",
        "maker": "" if one.maker_fee_frac is None else f"{one.maker_fee_frac:.3%}",
        "taker": "" if one.taker_fee_frac is None else f"{one.taker_fee_frac:.3%}",
        "funding": "" if hours is None else f"{hours:g} h",
        "by": one.source,
    }
