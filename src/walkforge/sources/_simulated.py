"""Simulated markets as a source: any symbol, from a fixed start on, for ever the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event
from typing import Any

from walkforge.base import UsageError, one_of, timeframe_ms, utc_text
from walkforge.market import (
    SIMULATED_MARKETS,
    MarketLaw,
    Span,
    bars_to_frame,
    markov_chain,
    simulate,
)

from ._grid import open_ms
from ._source import Delivery, Listing, Piece

_WITH_EDGE = ("planted", "markov")
_USUAL_START_MS = 1_577_836_800_000  # 2020-01-01


def simulated(
    *,
    kind: str = "garch",
    seed: int = 0,
    edge: float | None = None,
    since_ms: int = _USUAL_START_MS,
) -> Simulated:
    """Return the simulated market of a kind; every symbol has its own noise.

    Its bars begin at `since_ms` (2020 unless told), whatever is asked for, so that what is
    fetched later continues what was fetched before. `edge` is that of `MarketLaw`, for `planted`
    and `markov`. Raises UsageError for an unknown kind or an impossible edge.
    """
    one_of("simulated market", kind, SIMULATED_MARKETS)
    rules: dict[str, Any] = {} if edge is None else {"edge": edge}
    law = MarketLaw(**rules)
    if kind == "markov":
        markov_chain(seed=seed, **rules)
    strength = f" edge {law.edge:g}" if kind in _WITH_EDGE else ""
    words = f"{kind} seed {seed}{strength} from {utc_text(since_ms)}"
    return Simulated(kind=kind, seed=seed, rules=rules, since_ms=since_ms, words=words)


class Simulated:
    """A simulated market as a source of bars; nothing is asked over a network."""

    name = "simulated"
    venue = "simulated"
    provenance = "simulated"
    calendar = "24/7"
    connections = 1
    limits = "none, the bars are made here"

    def __init__(
        self, *, kind: str, seed: int, rules: dict[str, Any], since_ms: int, words: str
    ) -> None:
        self._kind = kind
        self._seed = seed
        self._rules = rules
        self._since_ms = since_ms
        self._words = words

    def name_of(self, symbol: str) -> str:
        """Return the symbol: every name is welcome that can name a folder."""
        return symbol.replace("/", "-")

    def listings(self) -> list[Listing]:
        """Return nothing: every name is a symbol."""
        return []

    def first_ms(self, symbol: str, timeframe: str) -> int:
        """Return the start, or that of the bar that it falls into."""
        return open_ms(self._since_ms, timeframe)

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
        other = next((words for words in files.values() if words != self._words), None)
        if other is not None:
            raise UsageError(
                f"simulated/{symbol}/{timeframe}: the stored bars are {other!r}, asked for are "
                f"{self._words!r}; ask for the same, or fetch into another store"
            )
        return [
            Piece(
                symbol=symbol,
                timeframe=timeframe,
                span=span,
                name=f"{symbol}-{timeframe}",
                version=self._words,
            )
            for span in missing
        ]

    def fetch(self, piece: Piece, halt: Event) -> Delivery:
        """Make the bars of a piece: the market from its start on, cut to the span.

        A bar that is not over where the span ends is left for the next fetch. Raises BarsError
        where the price has fallen so low that the tick grid would show.
        """
        step_ms = timeframe_ms(piece.timeframe)
        first_ms = self.first_ms(piece.symbol, piece.timeframe)
        end_ms = max(piece.span.start_ms, open_ms(piece.span.end_ms, piece.timeframe))
        bars = simulate(
            self._kind,
            n_bars=max(0, (end_ms - first_ms) // step_ms),
            seed=self._seed,
            symbol=piece.symbol,
            timeframe=piece.timeframe,
            start=utc_text(first_ms),
            **self._rules,
        )
        frame = bars_to_frame(bars.between(piece.span.start_ms, end_ms))
        return Delivery(
            piece=piece,
            frame=frame if len(frame) else None,
            answered_to_ms=end_ms,
            entry={"law": self._words},
        )

    def close(self) -> None:
        """Nothing is open."""
