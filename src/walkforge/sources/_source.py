"""What every source of bars can do, and what passes between a source and the fetch.

A fetch asks a source which pieces would fill the spans that are missing, then fetches the pieces
one by one, several at once where the source allows it, and stores what is delivered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Protocol, runtime_checkable

import polars as pl

from walkforge.market import Instrument, Span


@dataclass(frozen=True, slots=True)
class Listing:
    """A symbol that a source knows."""

    symbol: str
    """Its name in a store, such as BTCUSDT or BTC-USD."""
    first_ms: int | None = None
    """First moment with bars, where the list itself tells."""
    last_ms: int | None = None
    """Where its bars end for good; None while it trades, or where nobody knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """What is fetched at once: a file of an archive, or the pages of one stretch of time."""

    symbol: str
    timeframe: str
    span: Span
    """The bars that it answers for, those included that the source does not have."""
    name: str
    """What a manifest remembers it by, such as `BTCUSDT-1m-2024-01.zip`."""
    size_bytes: int | None = None
    """What comes over the wire, where it is known before."""
    version: str = ""
    """Changes when the source issues the piece anew; empty where it never does."""
    replaces: bool = False
    """Whether its bars take the place of stored ones that differ: a file issued anew."""
    whole: bool = False
    """Whether, with `replaces`, it is an adjusted past: stored bars of its span that it lacks go
    where it changed the prices around them, and stay where it did not."""
    place: str = ""
    """Where the source finds it; nobody else reads it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """What a piece brought."""

    piece: Piece
    frame: pl.DataFrame | None
    """`timestamp` (Datetime ms UTC), `open`, `high`, `low`, `close`, `volume` (Float64) and maybe
    more Float64 columns, complete bars in time order within the span; None where there are none.
    """
    answered_to_ms: int
    """The piece is answered for up to here: its end, or the close of the last complete bar."""
    received_bytes: int = 0
    calendar: str = "auto"
    """What the piece itself tells; `auto` where it tells nothing."""
    history: tuple[str, ...] = ()
    """What was done to its bars before, as the piece tells."""
    entry: dict[str, Any] = field(default_factory=dict)
    """What a manifest keeps beside name, version and time: `sha256`, `url`, `checksum_agreed`."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Parts of it that did not come, by name, and why; `pieces` asks for each of them again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FundingDelivery:
    """Funding rates that came, and what did not."""

    frame: pl.DataFrame
    """`timestamp` (Datetime ms UTC, rising) and `rate` (Float64), the fraction of the notional
    that longs pay to shorts."""
    failed: Mapping[Span, str] = field(default_factory=dict)
    """Spans that did not come, and why; they are asked for again."""


class Source(Protocol):
    """One origin of bars of one venue.

    Every method may raise FetchError: the source cannot be reached, refuses, or answers nonsense.
    """

    @property
    def name(self) -> str:
        """What a user calls it, such as `binance-archive`."""

    @property
    def venue(self) -> str:
        """The venue of a store that its bars belong to."""

    @property
    def provenance(self) -> str:
        """`exchange`, `sample`, `simulated` or `file`."""

    @property
    def calendar(self) -> str:
        """`24/7`, `session`, or `auto` where the stamps shall tell."""

    @property
    def connections(self) -> int:
        """How many threads may call `first_ms`, `pieces` and `fetch` at once."""

    @property
    def limits(self) -> str:
        """Its rate limits in words, for people."""

    def name_of(self, symbol: str) -> str:
        """Return what a store calls a symbol that a user wrote in one of its usual ways.

        Raises UsageError, with the nearest names, for one that it does not list.
        """

    def listings(self) -> list[Listing]:
        """Return the symbols it knows, in the order of their names."""

    def first_ms(self, symbol: str, timeframe: str) -> int | None:
        """Return the opening time of the first bar, None where it has none.

        Raises UsageError, with the nearest name, for a symbol that it does not list, and for a
        timeframe that it does not have.
        """

    def pieces(
        self,
        symbol: str,
        timeframe: str,
        *,
        wanted: Span,
        missing: Sequence[Span],
        files: Mapping[str, str],
    ) -> list[Piece]:
        """Return what to fetch, in time order, so that nothing of `missing` stays open.

        `missing` are the parts of `wanted` that no piece has answered for yet; `files` are the
        versions of the pieces fetched before, by name. A piece within `wanted` that was issued
        anew since comes again. Raises as `first_ms` does.
        """

    def fetch(self, piece: Piece, halt: Event) -> Delivery:
        """Fetch one piece; may be called from several threads.

        Waits and tries again where that helps, until `halt` is set.
        """

    def close(self) -> None:
        """Let go of connections."""


@runtime_checkable
class FundingSource(Protocol):
    """A source that also knows what the perpetuals of its venue paid."""

    def funding(self, symbol: str, span: Span, halt: Event) -> FundingDelivery:
        """Return the rates of the span; those right after it may come along.

        Raises FetchError where it cannot be asked at all.
        """


@runtime_checkable
class OneTimeframeSource(Protocol):
    """A source whose bars of two timeframes would not be views of one market."""

    def refuse_beside(self, symbol: str, timeframe: str, others: Sequence[str]) -> None:
        """Raise UsageError where a new series would stand beside others of its symbol.

        `others` are timeframes, from the shortest on, that are stored or asked for as well.
        """


@runtime_checkable
class InstrumentSource(Protocol):
    """A source that also knows how its venue prices and sizes its symbols."""

    def instruments(self) -> dict[str, Instrument]:
        """Return what it says of each symbol, by its name in a store. Raises FetchError."""
