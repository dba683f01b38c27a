"""Fetching the funding rates of perpetuals, beside their bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from walkforge.base import IntArray, SourceUnreachableError, UsageError, WalkforgeError
from walkforge.market import (
    BarStore,
    Span,
    funding_asked,
    is_perpetual_venue,
    spans_left,
    write_funding,
)

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
    source without rates, and after a source went out of reach. A symbol that fails is told, and
    the others go on; that an exchange keeps no history of rates is a note.
    """
    if not isinstance(source, FundingSource) or not is_perpetual_venue(source.venue):
        return
    for number, (symbol, span) in enumerate(spans.items()):
        if report.stopped is not None:
            return
        told(number, len(spans), f"{symbol} funding")
        folder = store.root / source.venue / symbol
        try:
            report.funding[symbol] = _fetch_one(source, source.name, folder, span)
        except SourceUnreachableError as error:
            report.stopped = str(error)
        except UsageError as error:
            report.notes.append(f"{symbol} funding: {error}")
        except WalkforgeError as error:
            report.failed.append(FailedPiece(symbol, "funding", str(error)))


def _fetch_one(source: FundingSource, name: str, folder: Path, span: Span) -> int:
    """Return how many rates are new; what the source answered for before is not asked again."""
    if not folder.is_dir():
        return 0  # no bars came, so nobody needs its rates
    new = 0
    for missing in spans_left([span], funding_asked(folder, name)):
        is_last = missing.end_ms == span.end_ms
        frame = source.funding(folder.name, missing, Event())
        stamps = frame["timestamp"].dt.epoch("ms").to_numpy()
        entry = {"source": name, "fetched_at": datetime.now(UTC).isoformat(timespec="seconds")}
        new += write_funding(folder, frame, entry=entry, asked=_answered(stamps, missing, is_last))
    return new


def _answered(stamps: IntArray, missing: Span, is_last: bool) -> list[Span]:
    """Return what the stamps that came say about a span that was asked for.

    Where a source has later rates, it has no others before them. What follows its last one may
    come yet: a month that is not published.
    """
    if not is_last:
        return [missing]
    return [Span(missing.start_ms, int(stamps[-1]) + 1)] if len(stamps) else []
