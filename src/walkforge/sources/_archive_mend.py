"""What a month of the archive lacks, and how the files of its days give it.

The archive has months that lack bars, or whole days, which lie there day by day.
"""

from __future__ import annotations

from threading import Event

import numpy as np
import polars as pl

from walkforge.base import timeframe_ms
from walkforge.market import Span

from ._archive_files import ArchiveFile, SeriesFiles

_DAY_MS = 86_400_000


def days_for_holes(
    series: SeriesFiles, month: Span, frame: pl.DataFrame, timeframe: str, *, halt: Event
) -> list[ArchiveFile]:
    """Return the files of the days of which a month lacks bars, in time order.

    What lies before the first bar of the series is not lacking. Asks for nothing where no bar is.
    """
    stamps = frame["timestamp"].dt.epoch("ms").to_numpy()
    grid = np.arange(*month, timeframe_ms(timeframe))
    lacking = grid[~np.isin(grid, stamps)]
    if len(lacking) and len(stamps) and lacking[0] < stamps[0]:
        lacking = lacking[lacking >= _begins_ms(series, int(stamps[0]))]
    if not len(lacking):
        return []
    days = set((lacking // _DAY_MS * _DAY_MS).tolist())
    return [file for file in series.days_in(month, halt) if file.span.start_ms in days]


def with_bars_of(month: pl.DataFrame, day: pl.DataFrame) -> pl.DataFrame:
    """Return a month with those bars of a day that it lacks, in time order."""
    return pl.concat([month, day.join(month, on="timestamp", how="anti")]).sort("timestamp")


def _begins_ms(series: SeriesFiles, first_bar_ms: int) -> int:
    """Return where the bars of a series begin, given the first bar of one of its months."""
    first_ms = first_bar_ms if series.first_ms is None else series.first_ms
    # Nobody trades a new symbol at 00:00: of its first day the bars before the first are not lost.
    return first_bar_ms if first_bar_ms - first_ms < _DAY_MS else first_ms
