"""The daily bars that a dependency ships, as a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import Event

from walkforge.base import UsageError, nearest
from walkforge.market import Bars, Span, bars_to_frame, sample_bars

from ._source import Delivery, Listing, Piece

_DAY_MS = 86_400_000


def sample() -> Sample:
    """Return the S&P 500 and NASDAQ Composite, daily, 1999 to 2018; see `market.sample_bars`."""
    return Sample()


class Sample:
    """Two indices as a source of bars; nothing is asked over a network."""

    name = "sample"
    venue = "index"
    provenance = "sample"
    calendar = "session"
    connections = 1
    limits = "none, the bars are installed with Walkforge"

    def name_of(self, symbol: str) -> str:
        """Return the symbol; raise UsageError for another than the two."""
        name = symbol.upper()
        if name not in self._bars:
            raise UsageError(
                f"sample has no symbol {symbol!r}{nearest(name, self._bars)}; "
                f"it has {', '.join(self._bars)}"
            )
        return name

    def listings(self) -> list[Listing]:
        """Return the two symbols, with the days that they begin and end."""
        return [
            Listing(symbol, int(bars.timestamp[0]), int(bars.timestamp[-1]) + _DAY_MS)
            for symbol, bars in sorted(self._bars.items())
        ]

    def first_ms(self, symbol: str, timeframe: str) -> int:
        """Return the first day."""
        return int(self._series(symbol, timeframe).timestamp[0])

    def pieces(
        self,
        symbol: str,
        timeframe: str,
        *,
        wanted: Span,
        missing: Sequence[Span],
        files: Mapping[str, str],
    ) -> list[Piece]:
        """Return a piece per missing span that has days."""
        bars = self._series(symbol, timeframe)
        return [
            Piece(symbol=symbol, timeframe=timeframe, span=span, name=f"{symbol}-{timeframe}")
            for span in missing
            if len(bars.between(*span))
        ]

    def fetch(self, piece: Piece, halt: Event) -> Delivery:
        """Return the days of a span."""
        bars = self._series(piece.symbol, piece.timeframe).between(*piece.span)
        return Delivery(
            piece=piece,
            frame=bars_to_frame(bars) if len(bars) else None,
            answered_to_ms=piece.span.end_ms,
        )

    def close(self) -> None:
        """Nothing is open."""

    @cached_property
    def _bars(self) -> dict[str, Bars]:
        return sample_bars()

    def _series(self, symbol: str, timeframe: str) -> Bars:
        name = self.name_of(symbol)
        if timeframe != "1d":
            raise UsageError(f"sample has no {timeframe} bars; it has 1d")
        return self._bars[name]
