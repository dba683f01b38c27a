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
            _fetch_one(source, source.name, folder, span, report)
        except SourceUnreachableError as error:
            report.stopped = str(error)
        except UsageError as error:
            report.notes.append(f"{symbol} funding: {error}")
        except WalkforgeError as error:
            report.failed.append(FailedPiece(symbol, "funding", str(error)))


def _fetch_one(
    source: FundingSource, name: str, folder: Path, span: Span, report: FetchReport
) -> None:
    """Bring a symbol's rates; what the source answered for before is not asked again."""
    symbol = folder.name
    if not folder.is_dir():
        report.funding[symbol] = 0
        return  # no bars came, so nobody needs its rates
    for missing in spans_left([span], funding_asked(folder, name)):
        is_last = missing.end_ms == span.end_ms
        got = source.funding(symbol, missing, Event())
        stamps = got.frame["timestamp"].dt.epoch("ms").to_numpy()
        entry = {"source": name, "fetched_at": datetime.now(UTC).isoformat(timespec="seconds")}
        asked = spans_left(_answered(stamps, missing, is_last), list(got.failed))
        n_new = write_funding(folder, got.frame, entry=entry, asked=asked)
        report.funding[symbol] = report.funding.get(symbol, 0) + n_new
        report.failed += [FailedPiece(symbol, "funding", why) for why in got.failed.values()]
    report.funding.setdefault(symbol, 0)


def _answered(stamps: IntArray, missing: Span, is_last: bool) -> list[Span]:
    """Return what the stamps that came say about a span that was asked for.

    Where a source has later rates, it has no others before them. What follows its last one may
    come yet: a month that is not published.
    """
    if not is_last:
        return [missing]
    return [Span(missing.start_ms, int(stamps[-1]) + 1)] if len(stamps) else []
