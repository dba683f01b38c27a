"""Trades to equity, marked to market at every bar's close, per symbol and as one portfolio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from walkforge.base import FloatArray, IntArray, concatenate_ranges

from ._ledger import Ledger

PORTFOLIO = "portfolio"
"""The name under which the pooled equity stands in the column `symbol`."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What was earned up to the close of each bar, marked to market; all arrays are (w,)."""

    timestamp: IntArray
    """Opening time of the bar at whose close it holds, ms UTC; among several timeframes, of the
    shortest bar that closes at the same time."""
    earned: FloatArray
    """Quote currency, 0 at the start; an open position counts at the close, the funding of bars up
    to it paid, its exit not."""
    position: FloatArray
    """Contracts held at the close, negative when short; for a portfolio, symbols in a trade."""


def mark(ledger: Ledger) -> Curve:
    """Return one symbol's curve over the bars of its window."""
    market, fills = ledger.market, ledger.fills
    rows = market.window
    n, start = rows.stop - rows.start, rows.start
    realised = np.bincount(fills.exit_row - start, weights=ledger.pnl, minlength=n)
    earned = np.cumsum(realised).astype(np.float64, copy=False)
    position = np.zeros(n)
    # Closes at which a trade is open: from its entry bar to the bar before its exit bar.
    open_closes = fills.exit_row - fills.entry_row
    held = concatenate_ranges(fills.entry_row, open_closes)
    of = np.repeat(np.arange(len(fills)), open_closes)
    units = ledger.size[of] * market.instrument.contract_size
    moved = fills.side[of] * (market.tape.close[held] - fills.entry_price[of])
    paid = ledger.entry_fee[of] + market.settlements.paid_by_close(fills, market.tape.bars) * units
    earned[held - start] += moved * units - paid
    position[held - start] = fills.side[of] * ledger.size[of]
    return Curve(market.tape.bars.timestamp[rows] + market.closes_later_ms, earned, position)


def pool(curves: Sequence[Curve]) -> Curve:
    """Return the sum of curves on the union of their stamps, each kept where it has no bar."""
    if len(curves) == 1:
        (only,) = curves
        return Curve(only.timestamp, only.earned, (only.position != 0).astype(np.float64))
    stamps = _union([curve.timestamp for curve in curves])
    earned, position = np.zeros(len(stamps)), np.zeros(len(stamps))
    for curve in curves:
        at = np.searchsorted(curve.timestamp, stamps, side="right")
        earned += np.concatenate([[0.0], curve.earned])[at]
        position += np.concatenate([[0.0], curve.position])[at] != 0
    return Curve(stamps, earned, position)


def _union(stamps: Sequence[IntArray]) -> IntArray:
    """Return the sorted union of rising stamps."""
    first = stamps[0]
    if all(np.array_equal(one, first) for one in stamps[1:]):
        return first
    # A stable sort merges runs that rise already; np.unique hashes, ten times slower.
    merged = np.sort(np.concatenate(stamps), kind="stable")
    return merged[np.append(np.diff(merged) > 0, True)]


def drawdown(equity: FloatArray, capital: float) -> FloatArray:
    """Return the loss (w,) from the highest equity so far, a fraction of it; 0 at a new high."""
    peak = np.maximum(np.maximum.accumulate(equity), capital)
    return (peak - equity) / peak


def equity_table(curves: Sequence[tuple[str, Curve, Curve]], capital: float) -> pl.DataFrame:
    """Return `equity.parquet` of (symbol, its curve, its buy-and-hold curve), in that order."""
    return pl.concat(
        pl.DataFrame(
            {
                "timestamp": pl.Series(curve.timestamp).cast(pl.Datetime("ms", "UTC")),
                "symbol": pl.repeat(symbol, len(curve.timestamp), dtype=pl.String, eager=True),
                "equity": capital + curve.earned,
                "drawdown_frac": drawdown(capital + curve.earned, capital),
                "position": curve.position,
                "buy_and_hold": capital + held.earned,
            }
        )
        for symbol, curve, held in curves
    )


def thin_equity(equity: pl.DataFrame, *, max_rows: int = 5000) -> pl.DataFrame:
    """Return at most about `max_rows` rows per symbol, in their order, drawn as the whole would be.

    Each symbol's rows are cut into max_rows // 3 equal stretches, of which the last row and those
    with the lowest and the highest equity stay; so do the first row and the deepest drawdown.
    """
    return pl.concat(
        _thin(part, max_rows) for _, part in equity.group_by("symbol", maintain_order=True)
    )


def _thin(part: pl.DataFrame, max_rows: int) -> pl.DataFrame:
    if part.height <= max_rows:
        return part
    stretches = max(max_rows // 3, 1)
    row = pl.int_range(pl.len())
    kept = (
        part.with_columns(row=row, stretch=row * stretches // pl.len())
        .group_by("stretch")
        .agg(
            last=pl.col("row").last(),
            low=pl.col("row").get(pl.col("equity").arg_min()),
            high=pl.col("row").get(pl.col("equity").arg_max()),
        )
    )
    deepest = part["drawdown_frac"].arg_max() or 0
    rows = np.concatenate([kept[name].to_numpy() for name in ("last", "low", "high")])
    return part[np.unique(np.concatenate([rows, [0, deepest]]))]
