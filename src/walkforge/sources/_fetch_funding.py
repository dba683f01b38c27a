"""Fetching the funding rates of perpetuals, beside their bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import numpy as np

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

# Rates are settled every eight hours at most; a day without one is a day that lacks.
_LONGEST_INTERVAL_MS = 86_400_000


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
        frame = source.funding(folder.name, missing, Event())
        stamps = frame["timestamp"].dt.epoch("ms").to_numpy()
        entry = {"source": name, "fetched_at": datetime.now(UTC).isoformat(timespec="seconds")}
        new += write_funding(folder, frame, entry=entry, asked=_answered(stamps, missing))
    return new


def _answered(stamps: IntArray, missing: Span) -> list[Span]:
    """Return the spans without a pause that no funding interval explains.

    A source may get later what it lacks now: a month that is not published yet.
    """
    moments = np.concatenate([[missing.start_ms], stamps + 1])
    close = np.flatnonzero(np.diff(moments) <= _LONGEST_INTERVAL_MS)
    return [Span(int(moments[row]), int(moments[row + 1])) for row in close]
