"""`data fetch`: bars from where they really come from."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import JsonOption, StoreOption, default_store

if TYPE_CHECKING:
    from walkforge.market import BarStore
    from walkforge.sources import FetchReport, SeriesPlan, Source

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="binance-archive, ccxt, yahoo, files, sample or simulated.",
    ),
]
_ORIGIN = "Where from"
_SIMULATED = "Simulated markets"
MarketOption = Annotated[
    str,
    typer.Option(help="spot or perpetual, where the source has both.", rich_help_panel=_ORIGIN),
]
ExchangeOption = Annotated[
    str | None,
    typer.Option(
        help="Which exchange ccxt asks, such as coinbase or kraken.", rich_help_panel=_ORIGIN
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(help="Where the files of the source `files` lie.", rich_help_panel=_ORIGIN),
]
UrlOption = Annotated[
    list[str] | None,
    typer.Option(
        "--url",
        metavar="KEY=URL",
        help="Ask a mirror or a local server: files=..., listing=... (archive), api=... (others). "
        "WALKFORGE_URLS holds such words, too, parted by spaces.",
        rich_help_panel=_ORIGIN,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        epilog="Examples: walkforge data fetch binance-archive BTCUSDT ETHUSDT SOLUSDT "
        "--timeframe 1m --since 2y   |   walkforge data fetch ccxt BTC-USD --exchange coinbase "
        "--timeframe 1h --since 90d   |   walkforge data fetch binance-archive --update"
    )(fetch)


def fetch(
    source: SourceArgument,
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="SYMBOL", help="Such as BTCUSDT, AAPL.")
    ] = None,
    timeframe: Annotated[
        list[str] | None,
        typer.Option(help="1m, 5m, 1h, 1d, ...; may be repeated.  [default: 1h]"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="2024-01-31, or 2y, 6mo, 90d, 12h before now.  [default: 1y]"),
    ] = None,
    until: Annotated[str | None, typer.Option(help="The same.  [default: now]")] = None,
    universe: Annotated[
        str | None, typer.Option(help="Fetch a universe's assets of this venue, such as case_c.")
    ] = None,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Only what is new or was missed, of the series that are stored already.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be fetched, and how much.")
    ] = False,
    market: MarketOption = "spot",
    exchange: ExchangeOption = None,
    folder: FolderOption = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="The law: gbm, garch, regimes, markov or planted.  [default: garch]",
            rich_help_panel=_SIMULATED,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The seed.  [default: 0]", rich_help_panel=_SIMULATED)
    ] = None,
    edge: Annotated[
        float | None,
        typer.Option(
            help="How strong the edge of planted or markov is.", rich_help_panel=_SIMULATED
        ),
    ] = None,
    urls: UrlOption = None,
    store: StoreOption = default_store,
    as_json: JsonOption = False,
) -> None:
    """Fetch what is missing, several files at once, and keep it up to date.

    What is stored already is not asked for again; a fetch that was cut off goes on where it
    stopped when the same command runs again. Files are checked against their checksums, and a
    bar that is not finished is left out. For perpetuals the funding rates come along.
    """
    from walkforge import sources
    from walkforge.market import BarStore

    from ._fetch_wishes import Wishes

    wishes = Wishes(symbols or [], timeframe or [], since, until, universe, update)
    law = {"kind": kind, "seed": seed, "edge": edge}
    place = BarStore(store)
    origin = sources.make_source(
        source,
        market=market,
        exchange=exchange,
        folder=folder,
        urls=read_urls(urls, source),
        law=law,
    )

    def plan(watcher: Any) -> "Sequence[SeriesPlan]":
        series = wishes.series(origin, place, watcher)
        return sources.make_plan(origin, place, series, wishes.span_at(origin), told=watcher.item)

    bring(origin, place, plan, dry_run=dry_run, as_json=as_json)


def read_urls(words: Sequence[str] | None, source: str) -> dict[str, str]:
    """Return a source's addresses out of `KEY=URL` words and those of WALKFORGE_URLS.

    In the environment `SOURCE.KEY=URL` counts for one source, before `KEY=URL`, and a key that only
    others know is meant for them. Raises UsageError for other words, without repeating what may be
    a password.
    """
    from walkforge import sources

    found = {}
    pairs = _pairs(os.environ.get("WALKFORGE_URLS", "").split())
    for name, url in sorted(pairs, key=lambda pair: "." in pair[0]):
        key = sources.url_key(name, source)
        if key is not None:
            found[key] = url
    return found | dict(_pairs(words or ()))


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    from walkforge.base import UsageError

    pairs = []
    for word in words:
        name, equals, url = word.partition("=")
        if not equals or "/" in name or not url.startswith(("http://", "https://")):
            raise UsageError(
                "--url: expected KEY=URL with http:// or https://, such as files=http://localhost"
            )
        pairs.append((name, url))
    return pairs


def bring(
    source: "Source",
    store: "BarStore",
    plan: "Callable[[Any], Sequence[SeriesPlan]]",
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Fetch what `plan` (of a watcher) names, with progress, and print what came.

    Raises Exit(1) where anything did not come.
    """
    from walkforge import sources

    from ._console import make_watcher
    from ._fetch_watcher import FetchProgress

    try:
        with make_watcher() as watcher:
            watcher.stage(f"asking {source.name} what it has")
            plans = plan(watcher)
            if not dry_run:
                report = sources.fetch(source, store, plans, watcher=FetchProgress(watcher))
                _bring_beside(source, store, plans, report, watcher)
    except KeyboardInterrupt:
        print("what has come is stored; the same command goes on from there", file=sys.stderr)
        raise
    finally:
        source.close()
    if dry_run:
        _print_plans(source, plans, as_json)
        return
    _print_report(report, as_json)
    if not report.ok:
        raise typer.Exit(1)


def _bring_beside(
    source: "Source",
    store: "BarStore",
    plans: "Sequence[SeriesPlan]",
    report: "FetchReport",
    watcher: Any,
) -> None:
    """Bring what belongs to bars: funding rates and instruments, where the source has them."""
    from walkforge import sources
    from walkforge.base import WalkforgeError

    spans: dict[str, Any] = {}
    for one in plans:
        if not one.problem:
            start_ms, end_ms = spans.get(one.symbol, one.wanted)
            spans[one.symbol] = one.wanted._replace(
                start_ms=min(start_ms, one.wanted.start_ms), end_ms=max(end_ms, one.wanted.end_ms)
            )
    sources.fetch_funding(source, store, spans, report, told=watcher.item)
    if report.stopped is None and isinstance(source, sources.InstrumentSource):
        try:
            sources.refresh_instruments(source, store, spans)
        except WalkforgeError as error:
            report.notes.append(f"instruments not refreshed: {error}")


def _print_plans(source: "Source", plans: "Sequence[SeriesPlan]", as_json: bool) -> None:
    from walkforge.base import json_text

    if as_json:
        print(json_text([plan.as_dict() for plan in plans], indent=2))
        return
    for plan in plans:
        print(plan.summary())
    sizes = [plan.size_bytes for plan in plans]
    known = None if None in sizes else sum(size or 0 for size in sizes)
    size = "" if known is None else f", {known / 1e6:.1f} MB"
    print(
        f"would fetch {sum(len(plan.pieces) for plan in plans)} pieces{size}; nothing was changed"
    )


def _print_report(report: "FetchReport", as_json: bool) -> None:
    from walkforge.base import json_text

    if as_json:
        print(json_text(report.as_dict(), indent=2))
    else:
        for one in report.series.values():
            print(one.summary())
        for symbol, n_new in report.funding.items():
            print(f"{symbol} funding: {n_new} new rates")
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    if report.stopped:
        print(f"walkforge: error: {report.stopped}", file=sys.stderr)
    for failed in report.failed:
        print(f"walkforge: error: {failed.series}: {failed.reason}", file=sys.stderr)
    if report.stopped or any(failed.piece for failed in report.failed):
        print("what has come is stored; the same command fetches the rest", file=sys.stderr)
