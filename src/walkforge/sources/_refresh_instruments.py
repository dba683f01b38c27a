"""Keeping what an exchange says of its symbols: ticks, lots, minimums, fees."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from walkforge.base import UsageError
from walkforge.market import BarStore, write_instruments

from ._source import InstrumentSource, Source


def refresh_instruments(
    source: Source, store: BarStore, symbols: Collection[str] | None = None
) -> int:
    """Ask a source for its instruments and keep them in its venue's folder; return how many.

    All of them, or those of the symbols named. Raises UsageError for a source that knows none,
    FetchError where it cannot be asked.
    """
    if not isinstance(source, InstrumentSource):
        raise UsageError(f"{source.name} knows no ticks and lots; ask an exchange through ccxt")
    told = source.instruments()
    kept = {name: one for name, one in told.items() if symbols is None or name in symbols}
    if kept:
        write_instruments(
            store.root / source.venue,
            kept,
            source=source.name,
            fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    return len(kept)
