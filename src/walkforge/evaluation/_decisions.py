"""A table of predictions as decisions: one row per time and symbol, the seeds averaged.

Shapes: n decisions
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from walkforge.base import FloatArray, IntArray

from ._pairs import losses_and_hits
from ._rows import Rows, rows_of

LABEL_UNCLEAR = -1
"""The label of a decision whose rows do not agree on one."""


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """One row per time and symbol (n,), sorted by both."""

    time_ms: IntArray
    span_ms: IntArray
    symbol: IntArray
    label: IntArray
    """LABEL_UNCLEAR where the seeds do not agree."""
    loss: FloatArray
    hit: FloatArray

    def __len__(self) -> int:
        return len(self.time_ms)

    def take(self, chosen: np.ndarray) -> "Decisions":
        """Return the decisions of a mask (n,), or of numbers in their order."""
        columns = (getattr(self, name)[chosen] for name in self.__dataclass_fields__)
        return Decisions(*columns)


def symbols_of(*tables: pl.DataFrame) -> tuple[str, ...]:
    """Return the series that any of the tables has, sorted."""
    return tuple(sorted({name for table in tables for name in _keyed(table)["symbol"].unique()}))


def _keyed(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with the timeframe as a part of the symbol, where it has both."""
    if not {"symbol", "timeframe"} <= set(table.columns):
        return table
    return table.with_columns(symbol=pl.format("{}/{}", "symbol", "timeframe")).drop("timeframe")


def decisions_of(
    table: pl.DataFrame, classes: tuple[str, ...], symbols: tuple[str, ...]
) -> Decisions:
    """Return the decisions of a table, their `symbol` a number in `symbols`.

    Raises PredictionsError or EvaluationError for an impossible table; see `rows_of`.
    """
    rows = rows_of(_keyed(table), classes, symbols=symbols)
    first = np.ones(len(rows), dtype=np.bool_)
    first[1:] = (np.diff(rows.time_ms) != 0) | (np.diff(rows.symbol) != 0)
    loss, hit = losses_and_hits(rows)
    decision = np.cumsum(first) - 1
    n_rows = np.bincount(decision)
    return Decisions(
        time_ms=rows.time_ms[first],
        span_ms=np.maximum.reduceat(rows.span_ms, np.flatnonzero(first)),
        symbol=rows.symbol[first],
        label=_agreed_labels(rows, np.flatnonzero(first)),
        loss=np.bincount(decision, loss) / n_rows,
        hit=np.bincount(decision, hit) / n_rows,
    )


def _agreed_labels(rows: Rows, starts: IntArray) -> IntArray:
    low = np.minimum.reduceat(rows.label, starts)
    return np.where(low == np.maximum.reduceat(rows.label, starts), low, LABEL_UNCLEAR)
