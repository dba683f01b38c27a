"""Yahoo Finance as a source: stocks, funds, indices, commodities, currencies and coins.

Bars are adjusted for splits and dividends (`_yahoo_bars.py`), so that each dividend changes all
bars before it: whatever is missing, the whole of what was asked for up to now is asked again and
takes the place of what is stored. Days are one request, however many. Intraday prices are
adjusted for splits only, as Yahoo has it, and reach back some weeks or years. Where a split came
since they were fetched, and Yahoo no longer has all of them, nothing is joined to them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from threading import Event

import polars as pl

from walkforge.base import (
    FetchError,
    UsageError,
    one_of,
    timeframe_ms,
    utc_text,
)
from walkforge.market import Span

from ._grid import open_ms
from ._http import base_url
from ._source import Delivery, Listing, Piece
from ._yahoo_answers import Chart
from ._yahoo_bars import (
    Splits,
    daily_bars,
    day_ms,
    days_over_ms,
    intraday_bars,
    opening_in,
    splits_of,
    tidy,
    weeks_of,
)
from ._yahoo_charts import Charts
from ._yahoo_plan import (
    REACH_DAYS,
    TIMEFRAMES,
    is_within,
    may_hold_a_bar,
    parts,
    reach_of,
    span_of,
    whole,
    within_reach,
)

DEFAULT_URLS = {"api": "https://query2.finance.yahoo.com"}

_DAY_MS = 86_400_000
_LONG_AGO_S = -2_208_988_800  # 1900-01-01


def yahoo(*, urls: Mapping[str, str] | None = None) -> Yahoo:
    """Return Yahoo Finance; `urls` replaces the address of its `api`.

    Raises UsageError for another name, or an address that is none.
    """
    for key in urls or {}:
        one_of("URL", key, DEFAULT_URLS)
    return Yahoo(api=base_url("api", {**DEFAULT_URLS, **(urls or {})}["api"]))


class Yahoo:
    """Yahoo's charts as a source of bars; what it says of a symbol is asked for once and kept."""

    name = "yahoo"
    venue = "yahoo"
    provenance = "exchange"
    calendar = "auto"
    connections = 1
    limits = (
        "no limit is published, one request at a time; 1m bars reach back 30 days, 5m to 30m 60, "
        "1h 730"
    )

    def __init__(self, *, api: str) -> None:
        self._charts = Charts(api)
        self._closed = Event()
        self._about: dict[str, Chart] = {}
        self._splits: dict[str, Splits] = {}

    def name_of(self, symbol: str) -> str:
        """Return a symbol as Yahoo writes it: BTC/USD is BTC-USD.

        Raises UsageError for what cannot be one; whether it is one, only asking for bars tells.
        """
        plain = symbol.upper().replace("/", "-")
        if not re.fullmatch(r"[A-Z0-9^][A-Z0-9.^=+-]*", plain):
            raise UsageError(
                f"{symbol!r} cannot be a symbol of yahoo; write it as finance.yahoo.com does, such "
                "as AAPL, BRK-B, BTC-USD, EURUSD=X, GC=F or ^GSPC"
            )
        return plain

    def listings(self) -> list[Listing]:
        """Return nothing: Yahoo has no list; whether a symbol is one, only asking for it tells."""
        return []

    def first_ms(self, symbol: str, timeframe: str) -> int | None:
        """Return the first day, or where Yahoo's intraday bars begin; None without bars.

        Raises UsageError for a symbol or a timeframe that Yahoo does not have.
        """
        symbol = self.name_of(symbol)
        chart = self._chart_of(symbol, timeframe)
        first_ms = self._first_day_ms(symbol, chart)
        if first_ms is None:
            return None
        if timeframe in REACH_DAYS:
            return max(reach_of(chart, timeframe), first_ms)
        return open_ms(first_ms, timeframe)

    def pieces(
        self,
        symbol: str,
        timeframe: str,
        *,
        wanted: Span,
        missing: Sequence[Span],
        files: Mapping[str, str],
    ) -> list[Piece]:
        """Return the whole of what was ever asked for, where any of it is missing.

        Intraday bars are those of three weeks at least; what lies further back than Yahoo reaches
        is left out. Raises as `first_ms` does, UsageError where all that is wanted lies there and
        was never fetched, and FetchError where a split parts bars that it no longer has from newer
        ones.
        """
        symbol, span = self.name_of(symbol), whole(wanted, files)
        one_of("timeframe of yahoo", timeframe, TIMEFRAMES)
        if not any(may_hold_a_bar(each, timeframe) for each in missing):
            return []
        chart = self._chart_of(symbol, timeframe)
        if timeframe in REACH_DAYS:
            reach_ms = reach_of(chart, timeframe)
            if wanted.end_ms <= reach_ms and not is_within(wanted, files):
                raise UsageError(
                    f"yahoo has {timeframe} bars of {symbol} from {utc_text(reach_ms)} on only, "
                    f"asked for are those before {utc_text(wanted.end_ms)}; ask for later ones, or "
                    "for 1d"
                )
            if all(each.end_ms <= reach_ms for each in missing):
                return []
            self._refuse_a_split_since(symbol, timeframe, files, reach_ms)
            span = within_reach(span, reach_ms)
        return [
            Piece(
                symbol=symbol,
                timeframe=timeframe,
                span=part,
                name=f"{symbol}-{timeframe}",
                version=f"{utc_text(span.start_ms)} to {utc_text(span.end_ms)}",
                replaces=True,
                whole=True,
            )
            for part in parts(span, timeframe)
        ]

    def fetch(self, piece: Piece, halt: Event) -> Delivery:
        """Ask for the bars of a piece.

        Raises FetchError or BarsError where they do not come, or are none.
        """
        ask = self._intraday if piece.timeframe in REACH_DAYS else self._days
        bars, known_ms, chart = ask(piece, halt)
        return Delivery(
            piece=piece,
            frame=bars if len(bars) else None,
            answered_to_ms=min(max(known_ms, piece.span.start_ms), piece.span.end_ms),
            received_bytes=len(chart.content),
            entry={
                "url": self._charts.url(piece.symbol),
                "sha256": hashlib.sha256(chart.content).hexdigest(),
            },
        )

    def close(self) -> None:
        """Let go of connections."""
        self._closed.set()
        self._charts.close()

    def _days(self, piece: Piece, halt: Event) -> tuple[pl.DataFrame, int, Chart]:
        """Return complete days or weeks, up to when all are known, and the chart they came in."""
        (start_ms, end_ms), symbol = piece.span, piece.symbol
        # The day begins before 00:00 UTC where the sun rises early.
        start_s = (start_ms - _DAY_MS) // 1000
        frame, chart = self._charts.history(symbol, "1d", start_s=start_s, halt=halt)
        over_ms = days_over_ms(chart)
        if piece.timeframe == "1d":
            days = tidy(opening_in(daily_bars(frame), start_ms, min(end_ms, over_ms)), symbol)
            return days, over_ms, chart
        over_ms = open_ms(over_ms, "1w")
        weeks = weeks_of(tidy(opening_in(daily_bars(frame), start_ms, over_ms), symbol))
        return opening_in(weeks, start_ms, min(end_ms, over_ms)), over_ms, chart

    def _intraday(self, piece: Piece, halt: Event) -> tuple[pl.DataFrame, int, Chart]:
        """Return complete bars, up to when all are known, and the chart they came in."""
        (start_ms, end_ms), symbol, timeframe = piece.span, piece.symbol, piece.timeframe
        start_s, end_s = start_ms // 1000, -(-end_ms // 1000)
        # yfinance leaves out what opens at the end of the session or later: with a day that ends
        # at 23:59, its last minute.
        every_hour = self._chart_of(symbol, timeframe).around_the_clock
        frame, chart = self._charts.history(
            symbol, timeframe, start_s=start_s, end_s=end_s, every_hour=every_hour, halt=halt
        )
        bars = opening_in(intraday_bars(frame, self._splits_of(symbol, halt)), start_ms, end_ms)
        complete = opening_in(bars, start_ms, chart.known_ms - timeframe_ms(timeframe) + 1)
        under_way = bars["timestamp"].dt.epoch("ms").slice(len(complete))
        known_ms = open_ms(chart.known_ms, timeframe)
        return tidy(complete, symbol), min([known_ms, *under_way]), chart

    def _first_day_ms(self, symbol: str, chart: Chart) -> int | None:
        """Return the first day, which Yahoo does not always say; None without bars."""
        told_s = chart.meta.get("firstTradeDate")
        if told_s is not None:
            return day_ms(int(told_s), chart.zone)
        frame, _ = self._charts.history(symbol, "1d", start_s=_LONG_AGO_S, halt=self._closed)
        days = daily_bars(frame)["timestamp"].dt.epoch("ms")
        return int(days[0]) if len(days) else None

    def _splits_of(self, symbol: str, halt: Event) -> Splits:
        """Return the splits up to today, which a chart of some days does not tell."""
        if symbol not in self._splits:
            longest = max(REACH_DAYS, key=lambda timeframe: REACH_DAYS[timeframe])
            start_s = reach_of(self._chart_of(symbol, "1d"), longest) // 1000
            frame, _ = self._charts.history(symbol, "1d", start_s=start_s, halt=halt)
            self._splits[symbol] = splits_of(frame)
        return self._splits[symbol]

    def _refuse_a_split_since(
        self, symbol: str, timeframe: str, files: Mapping[str, str], reach_ms: int
    ) -> None:
        """Raise FetchError where stored bars would stay at the price of before a split."""
        before = [span_of(words) for words in files.values()]
        if all(span.start_ms >= reach_ms for span in before):
            return
        last_ms = max(span.end_ms for span in before)
        since = [int(day) for day in self._splits_of(symbol, self._closed)[0] if day > last_ms]
        if since:
            raise FetchError(
                f"yahoo/{symbol}/{timeframe}: a split of {utc_text(since[0])[:10]} changed all "
                f"earlier prices, and Yahoo no longer has the bars before {utc_text(reach_ms)} "
                "that are stored; nothing was changed. Fetch into another store"
            )

    def _chart_of(self, symbol: str, timeframe: str) -> Chart:
        one_of("timeframe of yahoo", timeframe, TIMEFRAMES)
        if symbol not in self._about:
            self._about[symbol] = self._charts.about(symbol, self._closed)
        return self._about[symbol]
