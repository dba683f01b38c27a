"""`data universe`: the assets of a universe, or a new one out of what a source lists."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._fetching import ExchangeOption, MarketOption, UrlOption, read_urls
from ._options import JsonOption

if TYPE_CHECKING:
    from walkforge.market import Asset, Universe
    from walkforge.sources import Source

    from ._console import LiveWatcher, PlainWatcher

# Archives lag by a day or two; what ended longer before the newest ended for good.
_ENDED_MS = 7 * 86_400_000


_LISTING_SOURCES = ("binance-archive", "ccxt")


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        epilog="Examples: walkforge data universe case_c --as-of 2021-01-01 --bars bars   |   "
        "walkforge data universe --from binance-archive --quote USDT --out mine.yaml"
    )(universe)


def universe(
    name: Annotated[
        str | None, typer.Argument(help="A universe that Walkforge ships, or a YAML file.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Only what could be traded then, such as 2021-01-01, UTC.")
    ] = None,
    bars: Annotated[
        Path | None, typer.Option(help="Say what of it a folder of bars holds, all venues or one.")
    ] = None,
    timeframe: Annotated[str, typer.Option(help="With --bars: of these bars.")] = "1d",
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="SOURCE", help="Build one from what a source lists."),
    ] = None,
    quote: Annotated[
        str, typer.Option(help="With --from: pairs of this currency, such as USDT.")
    ] = "USDT",
    out: Annotated[
        Path | None, typer.Option(help="With --from: write the YAML here; nothing may lie there.")
    ] = None,
    market: MarketOption = "spot",
    exchange: ExchangeOption = None,
    urls: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the assets of a universe: categories, when each was listed and delisted, what is held.

    With --from SOURCE --out FILE.yaml it is built from the pairs of a source, without leveraged
    tokens and money against money; what was delisted is part of it where the source still has
    it. When each began takes a question or two per pair.
    """
    from walkforge import sources
    from walkforge.base import UsageError
    from walkforge.market import read_universe

    if (name is None) == (source is None):
        raise UsageError("name a universe or a YAML file, or build one: --from SOURCE --out FILE")
    if (source is None) != (out is None):
        raise UsageError("--from SOURCE and --out FILE.yaml go together")
    if source is None or out is None:
        found = read_universe(str(name))
    else:
        if out.exists():
            raise UsageError(f"{out}: is there already; name another file")
        found = _build(
            sources.make_source(
                source, market=market, exchange=exchange, urls=read_urls(urls, source)
            ),
            quote,
            out,
        )
    _show(found, as_of, bars, timeframe, as_json=as_json)


def _build(source: "Source", quote: str, out: Path) -> "Universe":
    """Write the universe of a source's pairs, and return it."""
    from dataclasses import replace

    from walkforge.market import universe_from_listings, write_universe

    from ._console import make_watcher

    try:
        with make_watcher() as watcher:
            watcher.stage(f"asking {source.name} what it has")
            found, left_out = universe_from_listings(
                out.stem,
                source.listings(),
                venue=source.venue,
                category="crypto",
                currency=quote,
                calendar="24/7",
                quote=quote,
            )
            for reason, count in left_out.items():
                watcher.note(f"left out: {count} {reason}")
            dated = replace(found, assets=_with_dates(source, found.assets, watcher))
    finally:
        source.close()
    write_universe(out, dated)
    print(f"wrote {out}", file=sys.stderr)
    return dated


def _with_dates(
    source: "Source", assets: "tuple[Asset, ...]", watcher: "PlainWatcher | LiveWatcher"
) -> "tuple[Asset, ...]":
    """Return the assets with the dates that the source tells of their daily bars."""
    from dataclasses import replace

    tell_end = getattr(source, "last_ms", None)

    def life(asset: "Asset") -> tuple[int | None, int | None]:
        begin = asset.listed_ms or source.first_ms(asset.symbol, "1d")
        return begin, None if tell_end is None else tell_end(asset.symbol, "1d")

    begins, ends = [], []
    with ThreadPoolExecutor(source.connections) as pool:
        for number, (begin, end) in enumerate(pool.map(life, assets)):
            watcher.item(number, len(assets), f"dates of {assets[number].symbol}")
            begins.append(begin)
            ends.append(end)
    newest = max((end for end in ends if end is not None), default=0)
    gone = [end if end is not None and newest - end > _ENDED_MS else None for end in ends]
    return tuple(
        replace(asset, listed_ms=begin, delisted_ms=asset.delisted_ms or end)
        for asset, begin, end in zip(assets, begins, gone, strict=True)
    )


def _show(
    universe: "Universe", as_of: str | None, bars: Path | None, timeframe: str, *, as_json: bool
) -> None:
    from walkforge.base import json_text, parse_utc_ms
    from walkforge.market import present_and_missing

    shown = universe if as_of is None else universe.as_of(parse_utc_ms(as_of))
    held = None
    if bars is not None:
        held = {asset.symbol for asset, _ in present_and_missing(shown, bars, timeframe)[0]}
    if as_json:
        assets = [_plain(asset, held) for asset in shown.assets]
        print(json_text({"universe": shown.name, "as_of": as_of, "assets": assets}, indent=2))
        return
    for asset in shown.assets:
        print(_line(asset, held))
    print(_summary(shown, len(universe.assets), as_of, held))


def _plain(asset: "Asset", held: set[str] | None) -> dict[str, Any]:
    from walkforge.base import utc_text

    plain: dict[str, Any] = {
        key: getattr(asset, key) for key in ("symbol", "venue", "category", "currency", "calendar")
    }
    for key in ("listed", "delisted", "renamed"):
        moment_ms = getattr(asset, f"{key}_ms")
        plain[key] = None if moment_ms is None else utc_text(moment_ms)
    return plain if held is None else {**plain, "held": asset.symbol in held}


def _line(asset: "Asset", held: set[str] | None) -> str:
    begin, end = _day(asset.listed_ms), _day(asset.ends_ms)
    life = f"{begin or '?':10} to {end or '':10}" if begin or end else "dates not known"
    mark = "" if held is None else ("  held" if asset.symbol in held else "  missing")
    return f"{asset.venue + '/' + asset.symbol:24} {asset.category:12} {life:24}{mark}".rstrip()


def _summary(universe: "Universe", n_all: int, as_of: str | None, held: set[str] | None) -> str:
    counts = [
        f"{sum(asset.category == name for asset in universe.assets)} {name}"
        for name in universe.categories
    ]
    parts = [
        f"{universe.name}: {len(universe.assets)} assets"
        + ("" if as_of is None else f" of {n_all} as of {as_of}"),
        ", ".join(counts),
        f"{universe.n_delisted} delisted",
        f"{universe.n_undated} without a listing date, which count as always listed",
        "" if held is None else f"{len(held)} held",
    ]
    return "; ".join(part for part in parts if part)


def _day(moment_ms: int | None) -> str:
    from walkforge.base import utc_text

    return "" if moment_ms is None else utc_text(moment_ms).removesuffix(" 00:00")
