"""Fetching the funding rates of perpetuals, beside their bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Event

from walkforge.base import FetchError, SourceUnreachableError
from walkforge.market import BarStore, Span, is_perpetual_venue, read_funding, write_funding

from ._report import FailedPiece, FetchReport
from ._source import FundingSource, Source


def fetch_funding(
    source: Source,
    store: BarStore,
    spans: Mapping[str, Span],
    report: FetchReport,
    *,
    told: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> None:
    """Bring the funding rates of symbols up to date, and note in the report what came.

    `spans` says what is wanted of each symbol. Does nothing for a venue without perpetuals or a
    source without rates, and after a source went out of reach.
    """
    if not isinstance(source, FundingSource) or not is_perpetual_venue(source.venue):
        return
    for number, (symbol, span) in enumerate(spans.items()):
        if report.stopped is not None:
            return
        told(number, len(spans), f"{symbol} funding")
        try:
            report.funding[symbol] = _fetch_one(source, store, source.venue, symbol, span)
        except SourceUnreachableError as error:
            report.stopped = str(error)
        except FetchError as error:
            report.failed.append(FailedPiece(symbol, "funding", str(error)))


def _fetch_one(source: FundingSource, store: BarStore, venue: str, symbol: str, span: Span) -> int:
    """Return how many rates are new; only what lies before or after the stored ones is asked."""
    folder = store.root / venue / symbol
    stored = read_funding(folder)
    if stored is None or not len(stored):
        missing = [span]
    else:
        first_ms, last_ms = int(stored.timestamp[0]), int(stored.timestamp[-1])
        missing = [Span(span.start_ms, first_ms), Span(last_ms + 1, span.end_ms)]
    new = 0
    for start_ms, end_ms in missing:
        if start_ms < end_ms:
            frame = source.funding(symbol, Span(start_ms, end_ms), Event())
            if len(frame):
                new += write_funding(folder, frame, entry=_entry(source))
    return new


def _entry(source: FundingSource) -> dict[str, str]:
    name = getattr(source, "name", type(source).__name__)
    return {"source": name, "fetched_at": datetime.now(UTC).isoformat(timespec="seconds")}
