"""Blocks of time: what happens together is drawn together.

Rows of one moment share their market over symbols and seeds, labels that overlap share their
future, and losses have a memory. A block is long enough to hold each of these inside.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from walkforge.base import FloatArray, IntArray
from walkforge.statistics import optimal_block_length

from ._rows import Rows

MOST_BLOCKS = 500
"""More blocks would make the intervals no better and the drawing slower."""

BLOCKS_DESPITE_MEMORY = 10
"""A memory longer than a twentieth of all times cannot be told from a trend: it never leaves
fewer blocks than this. Labels may."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockPlan:
    """All decision times, cut into `n_blocks` runs of equally many times."""

    times_ms: IntArray
    """Distinct decision times, rising."""
    n_blocks: int
    label_span_times: float
    """The longest label, counted in decision times; 0 where it is not known."""
    memory_times: float
    """The block length that Politis and White's rule finds in the log loss."""

    @property
    def length_times(self) -> float:
        """Return how many decision times a block holds on average."""
        return len(self.times_ms) / self.n_blocks

    def block_of(self, time_ms: IntArray) -> IntArray:
        """Return the block of each time (n,)."""
        position = np.searchsorted(self.times_ms, time_ms)
        return np.minimum(position, len(self.times_ms) - 1) * self.n_blocks // len(self.times_ms)

    def as_dict(self) -> dict[str, Any]:
        """Return what `metrics.json` says of it."""
        return {
            "n_blocks": self.n_blocks,
            "n_times": len(self.times_ms),
            "block_times": self.length_times,
            "label_span_times": self.label_span_times or None,
            "memory_times": self.memory_times,
        }


def plan_blocks(rows: Rows, loss: FloatArray) -> BlockPlan:
    """Return blocks for rows with a finite loss each (n,), the log loss; see `plan_times`."""
    return plan_times(rows.time_ms, rows.span_ms, loss)


def plan_times(time_ms: IntArray, span_ms: IntArray, loss: FloatArray) -> BlockPlan:
    """Return blocks for finite losses (n,), or differences of losses, at times (n,) in any order.

    `span_ms` (n,) is how long each label took to resolve, -1 where that is not known. A block is
    at least twice the longest label (whole labels then lie inside it, and few cross its edges),
    at least twice the length that the Politis-White rule of 2004, corrected in 2009, finds best
    for the loss per decision time (it is meant for blocks that overlap; ours do not) but for
    that no longer than a tenth of all times, and no shorter than 1/500 of them.
    """
    times, position = np.unique(time_ms, return_inverse=True)
    per_time = np.bincount(position, loss) / np.bincount(position)
    label_span = _label_span_times(times[position] + np.maximum(span_ms, 0), times, position)
    memory = optimal_block_length(per_time, kind="circular")
    from_memory = min(2.0 * memory, len(times) / BLOCKS_DESPITE_MEMORY)
    length = max(2.0 * label_span, from_memory, len(times) / MOST_BLOCKS, 1.0)
    return BlockPlan(
        times_ms=times,
        n_blocks=max(1, int(len(times) / length)),
        label_span_times=label_span,
        memory_times=memory,
    )


def _label_span_times(resolved_ms: IntArray, times: IntArray, position: IntArray) -> float:
    """Return how many later decisions the longest label overlaps with.

    Counted in decisions, not by the clock: a night, a weekend or a hole in which nothing is
    decided makes no label longer. A row's time is its bar's opening, one step before its decision.
    """
    later = np.searchsorted(times, resolved_ms) - position - 1
    return float(max(0, later.max()))
