"""Binance's public archive: zips of klines a month or a day each, spot and USD-M perpetuals.

Files lie at `data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01.zip` and `.../daily/...`, each
with a `.CHECKSUM`; which ones there are is told by the bucket they lie in. Delisted symbols stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import polars as pl

from walkforge.base import (
    BarsError,
    FetchError,
    SourceUnreachableError,
    UsageError,
    nearest,
    one_of,
    timeframe_ms,
)
from walkforge.market import Span, bars_frame_of_zip, touches

from ._archive_download import Download, download
from ._archive_files import ArchiveFile, SeriesFiles
from ._archive_funding import funding_frame, no_funding
from ._archive_listing import BucketListing
from ._archive_mend import days_for_holes, with_bars_of
from ._archive_plan import choose_files
from ._grid import refuse_strangers
from ._http import HttpClient, base_url
from ._source import Delivery, FundingDelivery, Listing, Piece
from ._waits import result_of

DEFAULT_URLS = {
    "files": "https://data.binance.vision",
    "listing": "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision",
}
_CONNECTIONS = 8
_ROOTS = {"spot": "data/spot", "perpetual": "data/futures/um"}
_VENUES = {"spot": "binance", "perpetual": "binance_um"}
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_LONGEST_FUNDING_MS = 8 * _HOUR_MS


def binance_archive(
    *, market: str = "spot", urls: Mapping[str, str] | None = None
) -> BinanceArchive:
    """Return the archive of a market, `spot` or `perpetual` (USD-M futures).

    `urls` replaces `files` (what lies below it begins with `data/`) or `listing` (the bucket).
    Raises UsageError for other names, and for addresses that are none.
    """
    one_of("market", market, _ROOTS)
    for key in urls or {}:
        one_of("URL", key, DEFAULT_URLS)
    whole = {key: base_url(key, url) for key, url in {**DEFAULT_URLS, **(urls or {})}.items()}
    return BinanceArchive(market=market, urls=whole)


class BinanceArchive:
    """The archive as a source of bars; what it lists is asked for once and kept."""

    name = "binance-archive"
    provenance = "exchange"
    calendar = "24/7"
    connections = _CONNECTIONS
    limits = f"no limit is published; at most {_CONNECTIONS} downloads at once"

    def __init__(self, *, market: str, urls: Mapping[str, str]) -> None:
        self.venue = _VENUES[market]
        self._market = market
        self._root = _ROOTS[market]
        self._files_url = urls["files"]
        self._client = HttpClient(connections=_CONNECTIONS)
        self._closed = Event()
        self._listing = BucketListing(self._client, urls["listing"], self._closed)
        self._folders = [f"{self._root}/{period}/klines/" for period in ("monthly", "daily")]
        self._symbols: list[str] | None = None
        self._known: set[str] = set()
        self._series: dict[tuple[str, str], SeriesFiles] = {}
        self._held: dict[tuple[str, str], Mapping[str, str]] = {}

    def name_of(self, symbol: str) -> str:
        """Return a symbol as Binance writes it: BTC/USDT, BTC-USDT and BTC/USDT:USDT are BTCUSDT.

        Raises UsageError, with the nearest name, for one that the archive does not list.
        """
        name = re.sub(r"[/-]", "", symbol.split(":")[0]).upper()
        if name not in self._known:
            # The folders of one symbol are a page; those of all symbols are many.
            if not any(self._listing.folders(f"{folder}{name}/") for folder in self._folders):
                symbols = [listing.symbol for listing in self.listings()]
                raise UsageError(
                    f"{self.name} lists no {self._market} symbol {name!r}"
                    f"{nearest(name, symbols)}; write it as Binance does, such as BTCUSDT"
                )
            self._known.add(name)
        return name

    def listings(self) -> list[Listing]:
        """Return the symbols of the market in the order of their names, delisted ones too.

        Futures that expire, such as BTCUSDT_240329, are left out.
        """
        if self._symbols is None:
            found = {each for folder in self._folders for each in self._listing.folders(folder)}
            self._symbols = sorted(each for each in found if not re.search(r"_\d{6}$", each))
            self._known.update(found)
        return [Listing(symbol) for symbol in self._symbols]

    def first_ms(self, symbol: str, timeframe: str) -> int | None:
        """Return where the first month begins, or the first of its days that has a file.

        None where the archive has no file. Raises UsageError as the interface says.
        """
        return self._files_of(self.name_of(symbol), timeframe).first_ms

    def last_ms(self, symbol: str, timeframe: str) -> int | None:
        """Return where the last file ends, None where the archive has no file.

        Of a delisted symbol that is the day after its last one. Raises as `first_ms` does.
        """
        return self._files_of(self.name_of(symbol), timeframe).last_ms

    def pieces(
        self,
        symbol: str,
        timeframe: str,
        *,
        wanted: Span,
        missing: Sequence[Span],
        files: Mapping[str, str],
    ) -> list[Piece]:
        """Return the files to fetch: months, and days where there is no month."""
        symbol = self.name_of(symbol)
        series = self._files_of(symbol, timeframe)
        self._held[symbol, timeframe] = files
        chosen = choose_files(series, wanted=wanted, missing=missing, files=files)
        return [
            Piece(
                symbol=symbol,
                timeframe=timeframe,
                span=file.span,
                name=file.name,
                size_bytes=file.size_bytes,
                version=file.version,
                replaces=replaces,
                place=file.key,
            )
            for file, replaces in chosen
        ]

    def fetch(self, piece: Piece, halt: Event) -> Delivery:
        """Download a file, compare it with its checksum and read its bars.

        Bars that a month lacks come from the files of its days, where these have them; a day that
        fails is told, and the month comes without it. Raises FetchError where a file does not
        come, differs from its checksum, or holds anything but bars of its month or day.
        """
        got, frame = self._bars_of(piece.place, piece.span, piece.timeframe, halt)
        held = self._held.get((piece.symbol, piece.timeframe), {})
        downloads, days, failed = [got], {}, {}
        for day in self._days_for(piece, frame, halt):
            try:
                more, bars = self._bars_of(day.key, day.span, piece.timeframe, halt)
            except FetchError as error:
                if halt.is_set() or isinstance(error, SourceUnreachableError):
                    raise
                # The version whose bars are stored; without one it counts as issued anew until it
                # has come by itself.
                days[day.name], failed[day.name] = held.get(day.name, ""), str(error)
            else:
                days[day.name] = day.version
                downloads.append(more)
                frame = with_bars_of(frame, bars)
        return Delivery(
            piece=piece,
            frame=frame if len(frame) else None,
            answered_to_ms=piece.span.end_ms,
            received_bytes=sum(each.received_bytes for each in downloads),
            entry={
                "url": got.url,
                "sha256": got.sha256,
                "checksum_agreed": all(each.checksum_agreed for each in downloads),
                **({"days": days} if days else {}),
            },
            failed=failed,
        )

    def funding(self, symbol: str, span: Span, halt: Event) -> FundingDelivery:
        """Return the funding rates paid in a span, and which of its months failed.

        The archive has whole months that are over, and the last one comes to its end. Ctrl-C sets
        `halt` and ends at once. Raises UsageError for spot and for symbols that are not listed,
        and SourceUnreachableError.
        """
        if self._market == "spot":
            raise UsageError(
                "spot has no funding rates; name the market: perpetual for those of USD-M futures"
            )
        symbol = self.name_of(symbol)
        months = self._funding_files(symbol, span)
        with ThreadPoolExecutor(_CONNECTIONS) as threads:
            try:
                coming = [threads.submit(self._funding_of, file, halt) for file in months]
                came = [result_of(each) for each in coming]
            except KeyboardInterrupt:
                # Ends the waits and downloads under way, which nobody waits for any more.
                halt.set()
                self.close()
                raise
            finally:
                threads.shutdown(cancel_futures=True)
        frames = [each for each in came if not isinstance(each, FetchError)]
        rates = pl.concat([no_funding(), *frames]).unique().sort("timestamp")
        return FundingDelivery(
            frame=rates.filter(pl.col("timestamp").dt.epoch("ms") >= span.start_ms),
            failed={
                file.span: str(each)
                for file, each in zip(months, came, strict=True)
                if isinstance(each, FetchError)
            },
        )

    def close(self) -> None:
        """Let go of connections."""
        self._closed.set()
        self._client.close()

    def _files_of(self, symbol: str, timeframe: str) -> SeriesFiles:
        timeframe_ms(timeframe)
        if timeframe == "1w":
            raise UsageError(
                f"{self.name} has no whole weeks: its months are written before their last week is "
                "over; fetch 1d, of which Walkforge makes weeks itself"
            )
        key = symbol, timeframe
        if key not in self._series:
            self._series[key] = SeriesFiles(
                self._listing,
                root=self._root,
                folder=f"klines/{symbol}/{timeframe}",
                stem=f"{symbol}-{timeframe}",
            )
        return self._series[key]

    def _days_for(self, piece: Piece, frame: pl.DataFrame, halt: Event) -> list[ArchiveFile]:
        """Return the files of the days of which a piece lacks bars, none where it is a day."""
        if piece.span.end_ms - piece.span.start_ms == _DAY_MS:
            return []
        series = self._files_of(piece.symbol, piece.timeframe)
        return days_for_holes(series, piece.span, frame, piece.timeframe, halt=halt)

    def _funding_files(self, symbol: str, span: Span) -> list[ArchiveFile]:
        series = SeriesFiles(
            self._listing,
            root=self._root,
            folder=f"fundingRate/{symbol}",
            stem=f"{symbol}-fundingRate",
        )
        return [
            file
            for file in series.monthly
            if touches(file.span, [span]) and not _holds_nothing_new(file.span, span.start_ms)
        ]

    def _bars_of(
        self, key: str, span: Span, timeframe: str, halt: Event
    ) -> tuple[Download, pl.DataFrame]:
        got = self._download(key, halt)
        try:
            frame = bars_frame_of_zip(got.content, got.url, timeframe)
        except BarsError as error:
            raise FetchError(str(error)) from None
        refuse_strangers(frame, span, got.url, way_out="nothing of it is stored")
        return got, frame

    def _funding_of(self, file: ArchiveFile, halt: Event) -> pl.DataFrame | FetchError:
        """Return the rates of a month, or why they did not come."""
        try:
            got = self._download(file.key, halt)
            return funding_frame(got.content, got.url)
        except BarsError as error:
            return FetchError(str(error))
        except SourceUnreachableError:
            raise
        except FetchError as error:
            return error

    def _download(self, key: str, halt: Event) -> Download:
        return download(self._client, f"{self._files_url}/{key}", halt)


def _holds_nothing_new(month: Span, start_ms: int) -> bool:
    """Return whether a month of funding rates ends soon after a known one, so that it was its last.

    A span that goes on after a known rate begins right after its hour. That rate came with the
    whole of its month, however often the symbol pays.
    """
    goes_on = start_ms % _HOUR_MS == 1
    return goes_on and month.end_ms - start_ms < _LONGEST_FUNDING_MS
