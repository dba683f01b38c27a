"""Bars of any exchange that ccxt knows, over the exchange's own REST interface."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from threading import Event
from typing import Any

from walkforge.base import TIMEFRAMES_MS, FetchError, UsageError, nearest, one_of, timeframe_ms
from walkforge.market import Instrument, Span

from ._ccxt_client import CcxtClient
from ._ccxt_first import first_bar_ms
from ._ccxt_instruments import funding_interval_h, funding_intervals_h, instruments_of
from ._ccxt_pages import bars_of, rates_of, rows_of
from ._ccxt_stretches import joined, stretch_name, stretches
from ._ccxt_symbols import Symbols
from ._grid import can_hold_a_bar, open_ms
from ._http import base_url
from ._source import Delivery, FundingDelivery, Listing, Piece

DEFAULT_URLS = {"api": ""}
"""Empty: the hosts that ccxt knows for the exchange."""

_MARKETS = {"spot": "spot", "perpetual": "swap"}
_VENUES = {"binance": "binance_um", "binanceusdm": "binance_um", "bybit": "bybit_linear"}
_DAY_MS = 86_400_000
# What ccxt asks for at most. Its own list of features says 500 for Binance's futures, but its
# code takes 1000, which costs as much; of funding rates the list says nothing.
_PAGE_BARS = {"binanceusdm": 1000}
_PAGE_RATES = {"binanceusdm": 1000, "bybit": 200, "gate": 1000}
_USUAL_PAGE = 100
# Exchanges show their latest bars a little after their own clock says that they are over. What
# is not there so long after that never was: a coin without a trade.
_LATE_BARS, _LATE_MS = 3, 600_000


def ccxt_source(
    exchange: str, *, market: str = "spot", urls: Mapping[str, str] | None = None
) -> CcxtSource:
    """Return the bars of an exchange by its name in ccxt, such as `coinbase`.

    `market` is `spot` or `perpetual`: perpetual swaps that settle in what they are quoted in.
    `urls={"api": "http://127.0.0.1:8000"}` puts a mirror in the place of the exchange's hosts;
    the paths stay.

    Raises UsageError for an exchange that ccxt does not know (with the nearest name), that has no
    such market, or whose bars ccxt cannot fetch.
    """
    one_of("market", market, _MARKETS)
    for key in urls or {}:
        one_of("URL", key, DEFAULT_URLS)
    api = {**DEFAULT_URLS, **(urls or {})}["api"]
    if market == "perpetual" and exchange == "binance":
        exchange = "binanceusdm"
    client = CcxtClient(exchange, market=market, api=base_url("api", api) if api else "")
    has = client.ccxt.has
    if not has[_MARKETS[market]]:
        others = [name for name, kind in _MARKETS.items() if has[kind]]
        raise UsageError(f"{exchange} has no {market} market; it has {', '.join(others) or 'none'}")
    if has["fetchOHLCV"] is not True:
        raise UsageError(f"{exchange}: ccxt has no bars of it; choose another exchange")
    return CcxtSource(client, market)


class CcxtSource:
    """One kind of market of one exchange.

    An exchange that leaves out bars without a trade (Coinbase, Kraken and others do) leaves a
    hole in the series, and a hole it stays: nothing is filled in. Kraken keeps the last 720 bars
    of every timeframe only, so there the first bar moves along with the clock.
    """

    provenance = "exchange"
    calendar = "24/7"
    connections = 1
    name = "ccxt"

    def __init__(self, client: CcxtClient, market: str) -> None:
        self._client = client
        self._market = market
        self._loaded: Symbols | None = None
        self._first_ms: dict[tuple[str, str], int | None] = {}
        self._known_ms = 0
        self._closed = Event()

    @property
    def venue(self) -> str:
        exchange = self._client.exchange_id
        return exchange if self._market == "spot" else _VENUES.get(exchange, f"{exchange}_swap")

    @property
    def limits(self) -> str:
        return (
            f"one request at a time, at least {self._client.ccxt.rateLimit:g} ms apart; up to "
            f"{self._page_bars} bars each"
        )

    def name_of(self, symbol: str) -> str:
        """Return what a store calls a symbol: BTC/USDT, BTC-USDT, BTCUSDT or the exchange's id."""
        return self._symbols(self._closed).find(symbol)[0]

    def listings(self) -> list[Listing]:
        """Return all symbols, those included that do not trade any more."""
        return [
            Listing(name, int(market["created"]) if market.get("created") else None)
            for name, market in self._symbols(self._closed).by_name.items()
        ]

    def first_ms(self, symbol: str, timeframe: str) -> int | None:
        """Return the opening time of the first bar that the exchange gives, None without any."""
        self._refuse_unknown(timeframe)
        name, market = self._symbols(self._closed).find(symbol)
        if (name, timeframe) not in self._first_ms:
            self._first_ms[name, timeframe] = first_bar_ms(
                lambda frame, since_ms, limit: self._page(
                    market, frame, since_ms, limit, self._closed
                ),
                timeframe,
                coarse=self._timeframes(most_ms=_DAY_MS)[-1],
                page_bars=self._page_bars,
                now_ms=self._now_ms(market, timeframe, self._closed),
            )
        return self._first_ms[name, timeframe]

    def pieces(
        self,
        symbol: str,
        timeframe: str,
        *,
        wanted: Span,
        missing: Sequence[Span],
        files: Mapping[str, str],
    ) -> list[Piece]:
        """Return stretches of about ten pages, from the first bar to the last complete one.

        What lies outside of these is not asked for; missing spans that a page holds together are
        asked for at once, with what lies between them. `files` does not matter: an exchange does
        not issue bars anew.
        """
        first_ms = self.first_ms(symbol, timeframe) if missing else None
        if first_ms is None:
            return []
        name, market = self._symbols(self._closed).find(symbol)
        end_ms = open_ms(self._now_ms(market, timeframe, self._closed), timeframe)
        there = [Span(max(part.start_ms, first_ms), min(part.end_ms, end_ms)) for part in missing]
        return [
            Piece(
                symbol=name,
                timeframe=timeframe,
                span=span,
                name=stretch_name(name, timeframe, span),
            )
            for part in joined(there, timeframe, self._page_bars)
            for span in stretches(part, timeframe, self._page_bars)
            if can_hold_a_bar(span, timeframe)
        ]

    def fetch(self, piece: Piece, halt: Event) -> Delivery:
        """Fetch the pages of a stretch.

        A bar is complete by the exchange's clock, whatever the clock of this machine says. The
        latest bars may come late: what is missing after the last one that came, up to three bars
        or ten minutes before the exchange's time, is not answered for. Raises BarsError for a bar
        without a price or a volume, or beside the UTC grid.
        """
        name, market = self._symbols(halt).find(piece.symbol)
        end_ms = self._complete_to_ms(piece, market, halt)
        bytes_before = self._client.received_bytes
        rows = rows_of(
            lambda since_ms, limit: self._page(market, piece.timeframe, since_ms, limit, halt),
            Span(piece.span.start_ms, end_ms),
            step_ms=timeframe_ms(piece.timeframe),
            page_rows=self._page_bars,
            next_ms=timeframe_ms(piece.timeframe),
        )
        return Delivery(
            piece=piece,
            frame=bars_of(rows, piece.timeframe, f"{self.venue} {name} {piece.timeframe}"),
            answered_to_ms=self._answered_to_ms(piece, rows, end_ms),
            received_bytes=self._client.received_bytes - bytes_before,
            entry={"url": self._client.answer.place},
        )

    def funding(self, symbol: str, span: Span, halt: Event) -> FundingDelivery:
        """Return what longs paid to shorts, all of it.

        Raises UsageError where the exchange has no history of it, as every spot market.
        """
        has = self._client.ccxt.has["fetchFundingRateHistory"]
        if self._market == "spot" or has is not True:
            raise UsageError(f"{self.venue} has no history of funding rates")
        name, market = self._symbols(halt).find(symbol)
        page_rates = _PAGE_RATES.get(self._client.exchange_id, _USUAL_PAGE)

        def ask(since_ms: int, _: int) -> list[tuple[int, float]]:
            # Rates may come more often than the market says today, so a page is always whole.
            words = (market["symbol"], since_ms, page_rates)
            answer = self._client.ask("fetch_funding_rate_history", *words, halt=halt)
            return [(rate["timestamp"], rate["fundingRate"]) for rate in answer]

        interval_h = funding_interval_h(self._client.exchange_id, market) or 8
        rows = rows_of(
            ask, span, step_ms=int(interval_h * 3_600_000), page_rows=page_rates, next_ms=1
        )
        return FundingDelivery(frame=rates_of(rows, f"{self.venue} {name}"))

    def instruments(self) -> dict[str, Instrument]:
        """Return the instruments by symbol; a market whose tick is not known is left out.

        Fees are those of an account without discounts.
        """
        ccxt = self._client.ccxt
        by_name = self._symbols(self._closed).by_name
        told_h: Mapping[str, float] = {}
        if self._market == "perpetual" and ccxt.has["fetchFundingIntervals"] is True:
            told_h = funding_intervals_h(
                self._client.ask("fetch_funding_intervals", halt=self._closed)
            )
        return instruments_of(self._client.exchange_id, by_name, ccxt.precisionMode, told_h)

    def close(self) -> None:
        """Let go of the connection, and stop waiting for it."""
        self._closed.set()
        self._client.close()

    def _symbols(self, halt: Event) -> Symbols:
        if self._loaded is None:
            markets = self._client.ask("load_markets", halt=halt)
            self._loaded = Symbols(self.venue, self._market, markets.values())
        return self._loaded

    @property
    def _page_bars(self) -> int:
        exchange = self._client.exchange_id
        sub_type = None if self._market == "spot" else "linear"
        words = (_MARKETS[self._market], sub_type, "fetchOHLCV", "limit")
        told = self._client.ccxt.feature_value_by_type(*words)
        return _PAGE_BARS.get(exchange) or told or _USUAL_PAGE

    def _timeframes(self, *, most_ms: int) -> list[str]:
        """Return the timeframes that both the exchange and a store have, the shortest first."""
        theirs = self._client.ccxt.timeframes or {}
        return [name for name, ms in TIMEFRAMES_MS.items() if name in theirs and ms <= most_ms]

    def _refuse_unknown(self, timeframe: str) -> None:
        have = self._timeframes(most_ms=timeframe_ms("1w"))
        if timeframe not in have:
            timeframe_ms(timeframe)
            raise UsageError(
                f"{self.venue} has no {timeframe} bars{nearest(timeframe, have)}; "
                f"choose one of {', '.join(have)}"
            )

    def _page(
        self,
        market: Mapping[str, Any],
        timeframe: str,
        since_ms: int | None,
        limit: int,
        halt: Event,
    ) -> list[list[Any]]:
        words = (market["symbol"], timeframe, since_ms, limit)
        rows: list[list[Any]] = self._client.ask("fetch_ohlcv", *words, halt=halt)
        if any(row[0] is None for row in rows):
            raise FetchError(
                f"{self.venue} {market['symbol']}: the exchange sends bars without time"
            )
        return rows

    def _complete_to_ms(self, piece: Piece, market: Mapping[str, Any], halt: Event) -> int:
        """Return where the complete bars of a piece end, asked before any of them are."""
        if piece.span.end_ms > self._known_ms:
            self._now_ms(market, piece.timeframe, halt)
        complete_ms = open_ms(self._known_ms, piece.timeframe)
        return max(piece.span.start_ms, min(piece.span.end_ms, complete_ms))

    def _answered_to_ms(self, piece: Piece, rows: Sequence[Sequence[Any]], end_ms: int) -> int:
        """Return up to where a piece is answered, whose complete bars end at `end_ms`."""
        step_ms = timeframe_ms(piece.timeframe)
        late_ms = max(_LATE_BARS * step_ms, _LATE_MS)
        settled_ms = open_ms(self._known_ms - late_ms, piece.timeframe)
        served_ms = int(rows[-1][0]) + step_ms if rows else piece.span.start_ms
        return min(end_ms, max(piece.span.start_ms, served_ms, settled_ms))

    def _now_ms(self, market: Mapping[str, Any], timeframe: str, halt: Event) -> int:
        """Return the exchange's time; this machine's where the exchange tells none at all."""
        now_ms = None
        if self._client.ccxt.has["fetchTime"] is True:
            now_ms = self._client.ask("fetch_time", halt=halt)
        else:
            self._page(market, timeframe, None, 1, halt)
        now_ms = now_ms or self._client.answer.date_ms or time.time_ns() // 1_000_000
        self._known_ms = max(self._known_ms, int(now_ms))
        return int(now_ms)
