"""A source that serves bars out of memory, in pieces, and fails as it is told."""

import time
from collections.abc import Mapping, Sequence
from threading import Event

from walkforge.base import FetchError, UsageError, timeframe_ms
from walkforge.market import Bars, Span, bars_to_frame, spans_left
from walkforge.sources import Delivery, Listing, Piece


class ServedBars:
    """Serves `bars` (by symbol) in pieces of `piece_bars` bars of the grid.

    `broken` maps a piece's name to an exception that its fetch raises, or to a function that
    changes its frame; `versions` gives pieces versions, so that they may be issued anew.
    """

    name, venue, provenance, calendar = "served", "drawn", "exchange", "24/7"
    connections, limits = 4, "none"

    def __init__(self, *bars: Bars, piece_bars: int = 60, pause_s: float = 0.0) -> None:
        self.bars = {one.symbol: one for one in bars}
        self.broken: dict[str, object] = {}
        self.versions: dict[str, str] = {}
        self.asked: list[str] = []
        self.closed = False
        self._piece_bars, self._pause_s = piece_bars, pause_s

    def name_of(self, symbol: str) -> str:
        if symbol not in self.bars:
            raise UsageError(f"served: no symbol {symbol}")
        return symbol

    def listings(self) -> list[Listing]:
        return [Listing(symbol) for symbol in self.bars]

    def first_ms(self, symbol: str, timeframe: str) -> int | None:
        return int(self.bars[symbol].timestamp[0])

    def pieces(
        self,
        symbol: str,
        timeframe: str,
        *,
        wanted: Span,
        missing: Sequence[Span],
        files: Mapping[str, str],
    ) -> list[Piece]:
        bars, long_ms = self.bars[symbol], self._piece_bars * timeframe_ms(timeframe)
        found, start_ms = [], int(bars.timestamp[0])
        while start_ms <= bars.timestamp[-1]:
            span = Span(start_ms, min(start_ms + long_ms, int(bars.closes_at[-1])))
            name = f"{symbol}-{len(found)}"
            found.append((span, name, files.get(name, self.version(name)) != self.version(name)))
            start_ms += long_ms
        return [
            Piece(
                symbol=symbol,
                timeframe=timeframe,
                span=span,
                name=name,
                version=self.version(name),
                replaces=anew,
            )
            for span, name, anew in found
            if anew or spans_left([span], spans_left([span], missing))
        ]

    def version(self, name: str) -> str:
        return self.versions.get(name, "")

    def fetch(self, piece: Piece, halt: Event) -> Delivery:
        self.asked.append(piece.name)
        time.sleep(self._pause_s)
        trouble = self.broken.get(piece.name)
        if isinstance(trouble, BaseException):
            raise trouble
        if self.closed:
            raise FetchError("served: closed")
        bars = self.bars[piece.symbol].between(*piece.span)
        frame = bars_to_frame(bars) if len(bars) else None
        if callable(trouble):
            frame = trouble(frame)
        return Delivery(
            piece=piece, frame=frame, answered_to_ms=piece.span.end_ms, received_bytes=1000
        )

    def close(self) -> None:
        self.closed = True


class Quiet:
    """Keeps what a fetch says."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def planned(self, plans) -> None:
        self.said += [("planned", plan.name) for plan in plans]

    def fetched(self, plan, piece, received_bytes) -> None:
        self.said.append(("fetched", piece.name))

    def failed(self, plan, piece, error) -> None:
        self.said.append(("failed", piece.name))

    def stored(self, plan, report) -> None:
        self.said.append(("stored", plan.name))
