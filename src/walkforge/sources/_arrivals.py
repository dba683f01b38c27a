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
    spans_left,
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
        calendar=_calendar(source, [delivery]),
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
        self._place = {piece: number for number, piece in enumerate(plan.pieces)}
        self._open = set(plan.pieces)
        self._anew = [piece for piece in plan.pieces if piece.replaces]
        """What takes the place of stored bars and is not stored yet."""
        self._waiting: list[Delivery] = []
        self._stored_before = False

    @property
    def complete(self) -> bool:
        """Return whether every piece has come or failed."""
        return not self._open

    def take(self, piece: Piece, delivery: Delivery | None) -> None:
        """Keep what a piece brought until it is stored; None where it failed."""
        self._open.discard(piece)
        if delivery is not None:
            self._waiting.append(delivery)

    def drop(self) -> None:
        """Forget what waits: it cannot be stored."""
        self._waiting = []

    def store(self) -> list[WriteReport]:
        """Add what waits to the series; return a report per addition.

        Of two files that take the place of stored bars the later in the plan counts, so it waits
        for the other one, and where that does not come, both have to come again. What brought no
        bar waits for a series that can remember it. Raises BarsError where the store refuses; what
        waits then stays.
        """
        self._waiting.sort(key=lambda delivery: self._place[delivery.piece])
        plain = [d for d in self._waiting if not d.piece.replaces]
        added = [self._add(plain, "keep")] if plain else []
        for delivery in [d for d in self._waiting if d.piece.replaces]:
            if not touches(delivery.piece.span, self._anew_before(delivery.piece)):
                added.append(self._add([delivery], "replace"))
        return [report for report in added if report is not None]

    def _anew_before(self, piece: Piece) -> list[Span]:
        return [one.span for one in self._anew if self._place[one] < self._place[piece]]

    def _add(self, deliveries: Sequence[Delivery], on_conflict: str) -> WriteReport | None:
        names = (self._source.venue, self.plan.symbol, self.plan.timeframe)
        rows = self._rows(deliveries)
        if not len(rows) and not self._store.holds(*names):
            return None
        asked = self._asked(deliveries)
        addition = Addition(
            rows=rows,
            provenance=self._source.provenance,
            calendar=_calendar(self._source, deliveries),
            history=tuple(dict.fromkeys(line for d in deliveries for line in d.history)),
            sources=tuple(_entry(self._source, d) for d in deliveries),
            asked=asked,
            asked_of=self._source.name,
            on_conflict=on_conflict,
            speaks_for=asked[0],
            adjusts=deliveries[0].piece.whole,
            reason=", ".join(f"{d.piece.name} came again" for d in deliveries if d.piece.replaces),
        )
        report = self._store.add(*names, addition)
        self._stored_before = True
        stored = {delivery.piece for delivery in deliveries}
        self._waiting = [d for d in self._waiting if d.piece not in stored]
        self._anew = [piece for piece in self._anew if piece not in stored]
        return report

    def _rows(self, deliveries: Sequence[Delivery]) -> Rows:
        rows = Rows.none()
        for delivery in deliveries:
            if delivery.frame is not None:
                joined = join_rows(rows, rows_of_frame(delivery.frame), on_conflict="keep")
                rows, self.differing = joined.rows, self.differing + joined.differing
        return rows

    def _asked(self, deliveries: Sequence[Delivery]) -> tuple[Span, ...]:
        """Return what is answered for: each piece, then what lies before the source's first bar."""
        asked = [Span(d.piece.span.start_ms, d.answered_to_ms) for d in deliveries]
        first_ms = self.plan.first_ms
        if first_ms is not None and not self._stored_before:
            before = Span(self.plan.wanted.start_ms, first_ms)
            # A file may hold bars where the source believes that there are none yet.
            asked += spans_left([before], [piece.span for piece in self.plan.pieces])
        return tuple(asked)


def _calendar(source: Source, deliveries: Sequence[Delivery]) -> str:
    """Return the calendar that all deliveries tell, else the source's."""
    told = {delivery.calendar for delivery in deliveries}
    return told.pop() if len(told) == 1 and "auto" not in told else source.calendar


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
