"""What has come of one series and waits to be stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from walkforge.base import utc_text
from walkforge.market import (
    Addition,
    BarStore,
    Rows,
    Span,
    WriteReport,
    bars_from_frame,
    join_rows,
    rows_of_frame,
    touches,
)

from ._grid import refuse_strangers
from ._plan import SeriesPlan
from ._source import Delivery, Piece, Source


def refuse_odd_bars(source: Source, delivery: Delivery) -> None:
    """Raise BarsError for bars that break a rule, FetchError for bars nobody asked for."""
    frame, piece = delivery.frame, delivery.piece
    if frame is None:
        return
    bars_from_frame(
        frame,
        venue=source.venue,
        symbol=piece.symbol,
        timeframe=piece.timeframe,
        provenance=source.provenance,
        calendar=source.calendar,
    )
    place = f"{source.name}: {piece.name}"
    refuse_strangers(frame, piece.span, place, way_out="nothing of it is stored")


class Arrivals:
    """Deliveries of one series, stored together when asked."""

    def __init__(self, source: Source, store: BarStore, plan: SeriesPlan) -> None:
        self.plan = plan
        self.differing = 0
        """Bars that differ within what came at once; the first in the plan's order count."""
        self._source, self._store = source, store
        self._place = {piece.name: number for number, piece in enumerate(plan.pieces)}
        self._open = {piece.name for piece in plan.pieces}
        self._waiting: list[Delivery] = []
        self._stored_before = False

    @property
    def complete(self) -> bool:
        """Return whether every piece has come or failed."""
        return not self._open

    def take(self, piece: Piece, delivery: Delivery | None) -> None:
        """Keep what a piece brought until it is stored; None where it failed."""
        self._open.discard(piece.name)
        if delivery is not None:
            self._waiting.append(delivery)

    def drop(self) -> None:
        """Forget what waits: it cannot be stored."""
        self._waiting = []

    def store(self, *, last: bool = False) -> list[WriteReport]:
        """Add what waits to the series; return a report per addition.

        What takes the place of stored bars waits for pieces of the same span: of two such files
        the later in the plan counts, whichever came first. The `last` time nothing waits. Raises
        BarsError where the store refuses; what waits then stays.
        """
        self._waiting.sort(key=lambda delivery: self._place[delivery.piece.name])
        plain = [d for d in self._waiting if not d.piece.replaces]
        anew = [d for d in self._waiting if d.piece.replaces]
        added = [self._add(plain, "keep")] if plain else []
        self._waiting = anew
        still = [p.span for p in self.plan.pieces if p.name in self._open and p.replaces]
        for delivery in anew:
            if last or not touches(delivery.piece.span, still):
                added.append(self._add([delivery], "renew" if delivery.piece.whole else "replace"))
                self._waiting = [d for d in self._waiting if d is not delivery]
        return [report for report in added if report is not None]

    def _add(self, deliveries: Sequence[Delivery], on_conflict: str) -> WriteReport | None:
        names = (self._source.venue, self.plan.symbol, self.plan.timeframe)
        rows = self._rows(deliveries)
        if not len(rows) and not self._store.holds(*names):
            return None
        addition = Addition(
            rows=rows,
            provenance=self._source.provenance,
            calendar=self._source.calendar,
            sources=tuple(_entry(self._source, d) for d in deliveries),
            asked=self._asked(deliveries),
            asked_of=self._source.name,
            on_conflict=on_conflict,
            reason=", ".join(f"{d.piece.name} came again" for d in deliveries if d.piece.replaces),
        )
        report = self._store.add(*names, addition)
        self._stored_before = True
        return report

    def _rows(self, deliveries: Sequence[Delivery]) -> Rows:
        rows = Rows.none()
        for delivery in deliveries:
            if delivery.frame is not None:
                joined = join_rows(rows, rows_of_frame(delivery.frame), on_conflict="keep")
                rows, self.differing = joined.rows, self.differing + joined.differing
        return rows

    def _asked(self, deliveries: Sequence[Delivery]) -> tuple[Span, ...]:
        """Return what is answered for: the pieces, and what lies before the source's first bar."""
        asked = [Span(d.piece.span.start_ms, d.answered_to_ms) for d in deliveries]
        first_ms = self.plan.first_ms
        if first_ms is not None and not self._stored_before:
            asked.append(Span(self.plan.wanted.start_ms, first_ms))
        return tuple(asked)


def _entry(source: Source, delivery: Delivery) -> dict[str, Any]:
    piece = delivery.piece
    version = {"version": piece.version} if piece.version else {}
    return {
        "source": source.name,
        "file": piece.name,
        **version,
        "from": utc_text(piece.span.start_ms),
        "to": utc_text(delivery.answered_to_ms),
        "rows": 0 if delivery.frame is None else len(delivery.frame),
        **delivery.entry,
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
