"""Pages of an exchange, laid end to end: bars and funding rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from walkforge.base import BarsError, utc_text
from walkforge.market import Span

from ._grid import open_ms

Row = Sequence[Any]
_STAMP = pl.Datetime("ms", "UTC")
_COLUMNS = ("open", "high", "low", "close", "volume")


def rows_of(
    ask: Callable[[int, int], Sequence[Row]],
    span: Span,
    *,
    step_ms: int,
    page_rows: int,
    next_ms: int,
) -> list[Row]:
    """Return the rows of a span, whose first cell is their time, in time order.

    `ask(since_ms, limit)` returns a page; rows are about `step_ms` apart and at least `next_ms`. A
    page without anything new, as in a hole longer than it, moves on by its own length and does
    not end the span. Rows that came before, or that lie off the span, are dropped.
    """
    rows: dict[int, Row] = {}
    since_ms = span.start_ms
    while since_ms < span.end_ms:
        limit = min(page_rows, -(-(span.end_ms - since_ms) // step_ms))
        fresh = {int(row[0]): row for row in ask(since_ms, limit) if row[0] >= since_ms}
        rows |= {time_ms: row for time_ms, row in fresh.items() if time_ms < span.end_ms}
        since_ms = max(fresh) + next_ms if fresh else since_ms + limit * step_ms
    return [rows[time_ms] for time_ms in sorted(rows)]


def bars_of(rows: Sequence[Row], timeframe: str, place: str) -> pl.DataFrame | None:
    """Return rows of time, open, high, low, close and volume as a frame, None where there are none.

    Raises BarsError where a cell is empty or no number, or a bar opens beside the UTC grid.
    """
    for row in rows:
        if len(row) < 6 or any(cell is None or cell != cell for cell in row[:6]):
            raise BarsError(
                f"{place}: the bar of {utc_text(int(row[0]))} lacks a price or a volume: {row[1:6]}"
            )
        if row[0] != open_ms(row[0], timeframe):
            raise BarsError(
                f"{place}: a bar opens at {utc_text(int(row[0]))} UTC, where no {timeframe} bar "
                "opens; fetch a shorter timeframe, longer bars are made of it"
            )
    if not rows:
        return None
    stamps = pl.Series("timestamp", [row[0] for row in rows], pl.Int64).cast(_STAMP)
    cells = [
        pl.Series(name, [float(row[at]) for row in rows], pl.Float64)
        for at, name in enumerate(_COLUMNS, start=1)
    ]
    return pl.DataFrame([stamps, *cells])


def rates_of(rates: Sequence[Row], place: str) -> pl.DataFrame:
    """Return rows of time and rate as a frame; raise BarsError for one without a number."""
    for time_ms, rate in rates:
        if rate is None or rate != rate:
            raise BarsError(f"{place}: the funding of {utc_text(int(time_ms))} has no rate")
    return pl.DataFrame(
        {"timestamp": [row[0] for row in rates], "rate": [row[1] for row in rates]},
        schema={"timestamp": pl.Int64, "rate": pl.Float64},
    ).with_columns(pl.col("timestamp").cast(_STAMP))
