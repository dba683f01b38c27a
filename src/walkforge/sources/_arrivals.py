"""What has come of one series and waits to be stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from walkforge.base import BarsError, utc_text
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

    def store(self) -> Iterator[WriteReport | BarsError]:
        """Add what waits to the series; yield a report per addition, or why the store refuses it.

        Of two files that take the place of stored bars the later in the plan counts, so it waits
        for the other one, and where that does not come, both have to come again. What brought no
        bar waits for a series that can remember it. What is refused is forgotten.
        """
        self._waiting.sort(key=lambda delivery: self._place[delivery.piece])
        plain = [d for d in self._waiting if not d.piece.replaces]
        if plain:
            yield from self._try(plain, "keep")
        for delivery in [d for d in self._waiting if d.piece.replaces]:
            if self._stands_over(delivery.piece) is None:
                yield from self._try([delivery], "replace")

    def held_back(self) -> list[tuple[Piece, Piece]]:
        """Return each piece that waits for another one, and that one."""
        waiting = [delivery.piece for delivery in self._waiting if delivery.piece.replaces]
        pairs = [(piece, self._stands_over(piece)) for piece in waiting]
        return [(piece, before) for piece, before in pairs if before is not None]

    def _stands_over(self, piece: Piece) -> Piece | None:
        """Return the first piece that is to be stored before this one and is not yet."""
        before = (one for one in self._anew if self._place[one] < self._place[piece])
        return next((one for one in before if touches(one.span, [piece.span])), None)

    def _try(
        self, deliveries: Sequence[Delivery], on_conflict: str
    ) -> Iterator[WriteReport | BarsError]:
        try:
            report = self._add(deliveries, on_conflict)
        except BarsError as error:
            self._forget(deliveries)
            yield error
        else:
            if report is not None:
                yield report

    def _forget(self, deliveries: Sequence[Delivery]) -> None:
        pieces = {delivery.piece for delivery in deliveries}
        self._waiting = [d for d in self._waiting if d.piece not in pieces]

    def _add(self, deliveries: Sequence[Delivery], on_conflict: str) -> WriteReport | None:
        names = (self._source.venue, self.plan.symbol, self.plan.timeframe)
        rows, differing = self._rows(deliveries)
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
        self.differing += differing
        self._forget(deliveries)
        stored = {delivery.piece for delivery in deliveries}
        self._anew = [piece for piece in self._anew if piece not in stored]
        return report

    def _rows(self, deliveries: Sequence[Delivery]) -> tuple[Rows, int]:
        """Return the bars of deliveries, and how many of them differ among themselves."""
        rows, differing = Rows.none(), 0
        for delivery in deliveries:
            if delivery.frame is not None:
                joined = join_rows(rows, rows_of_frame(delivery.frame), on_conflict="keep")
                rows, differing = joined.rows, differing + joined.differing
        return rows, differing

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
