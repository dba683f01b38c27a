"""Simulated markets as a source: any symbol, from a fixed start on, for ever the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event
from typing import Any

from walkforge.base import UsageError, listed, one_of, timeframe_ms, utc_text
from walkforge.market import SIMULATED_MARKETS, Span, bars_to_frame, simulate

from ._grid import can_hold_a_bar, open_ms
from ._simulated_law import Law, fields_of
from ._source import Delivery, Listing, Piece


def simulated(
    *,
    kind: str | None = None,
    seed: int | None = None,
    edge: float | None = None,
    since_ms: int | None = None,
) -> Simulated:
    """Return the simulated market of a kind; every symbol has its own noise.

    What is not named is that of the bars fetched before; of a new market it is `garch`, seed 0,
    the edge of `MarketLaw`, and a start in 2020. Bars begin at `since_ms`, whatever is asked for,
    so that what is fetched later continues what was fetched before. `edge` is for `planted` and
    `markov`. Raises UsageError for an unknown kind or an impossible edge.
    """
    if kind is not None:
        one_of("simulated market", kind, SIMULATED_MARKETS)
    given = {"kind": kind, "seed": seed, "edge": edge, "since_ms": since_ms}
    named: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    Law(**named).refuse_nonsense()
    return Simulated(named)


class Simulated:
    """A simulated market as a source of bars; nothing is asked over a network."""

    name = "simulated"
    venue = "simulated"
    provenance = "simulated"
    calendar = "24/7"
    connections = 1
    limits = "none, the bars are made here"

    def __init__(self, named: Mapping[str, Any]) -> None:
        """`named` are the fields of the law that somebody named."""
        self._named = dict(named)

    def name_of(self, symbol: str) -> str:
        """Return the symbol: every name is welcome that can name a folder."""
        return symbol.replace("/", "-")

    def listings(self) -> list[Listing]:
        """Return nothing: every name is a symbol."""
        return []

    def first_ms(self, symbol: str, timeframe: str) -> int:
        """Return the start of a new market, or that of the bar that it falls into."""
        return open_ms(Law(**self._named).since_ms, timeframe)

    def refuse_beside(self, symbol: str, timeframe: str, others: Sequence[str]) -> None:
        """Raise UsageError where a new series would stand beside others of its symbol.

        Bars of every timeframe have a law and noise of their own; those of two are two markets.
        """
        if not others:
            return
        step_ms = timeframe_ms(timeframe)
        way = "fetch it alone, as another symbol or into another store"
        if any(step_ms % timeframe_ms(other) == 0 for other in others):
            way = "fetch the shortest alone, readers make longer bars by themselves"
        raise UsageError(
            f"simulated/{symbol}/{timeframe}: a simulated symbol is one market and has bars of one "
            f"timeframe; stored or asked for too: {listed(others)}; {way}"
        )

    def pieces(
        self,
        symbol: str,
        timeframe: str,
        *,
        wanted: Span,
        missing: Sequence[Span],
        files: Mapping[str, str],
    ) -> list[Piece]:
        """Return a piece per missing span; its version is the law that its bars obey.

        Raises UsageError where bars fetched before obey another law or began elsewhere: a market
        never goes on as another one.
        """
        timeframe_ms(timeframe)
        stored = next(iter(files.values()), "")
        law = Law(**{**fields_of(stored), **self._named})
        other = next((words for words in files.values() if words != law.words), None)
        if other is not None:
            raise UsageError(
                f"simulated/{symbol}/{timeframe}: the stored bars are {other!r}, asked for are "
                f"{law.words!r}; ask for the same, or fetch into another store"
            )
        return [
            Piece(
                symbol=symbol,
                timeframe=timeframe,
                span=span,
                name=f"{symbol}-{timeframe}",
                version=law.words,
            )
            for span in missing
            if can_hold_a_bar(Span(span.start_ms, open_ms(span.end_ms, timeframe)), timeframe)
        ]

    def fetch(self, piece: Piece, halt: Event) -> Delivery:
        """Make the bars of a piece: the market from its start on, cut to the span.

        A bar that is not over where the span ends is left for the next fetch. Raises BarsError
        where the price has fallen so low that the tick grid would show.
        """
        step_ms = timeframe_ms(piece.timeframe)
        law = Law(**fields_of(piece.version))
        first_ms = open_ms(law.since_ms, piece.timeframe)
        end_ms = max(piece.span.start_ms, open_ms(piece.span.end_ms, piece.timeframe))
        bars = simulate(
            law.kind,
            n_bars=max(0, (end_ms - first_ms) // step_ms),
            seed=law.seed,
            symbol=piece.symbol,
            timeframe=piece.timeframe,
            start=utc_text(first_ms),
            **law.rules,
        )
        frame = bars_to_frame(bars.between(piece.span.start_ms, end_ms))
        return Delivery(
            piece=piece,
            frame=frame if len(frame) else None,
            answered_to_ms=end_ms,
            entry={"law": law.words},
        )

    def close(self) -> None:
        """Nothing is open."""
