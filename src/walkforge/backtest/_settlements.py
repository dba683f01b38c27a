"""What positions pay or earn at the funding moments of a perpetual.

A position pays side x rate x notional at every moment t with entry < t <= exit, where the notional
is the position's size at the open of the bar that t falls into: bars hold no mark price. An entry
and an exit at an open happen at that moment. Whoever leaves inside a bar or at its close is taken
to be there for all of the bar; a moment that is its close belongs to the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from walkforge.base import FloatArray, IntArray, concatenate_ranges, timeframe_ms
from walkforge.execution import Fills
from walkforge.market import Bars, Funding

_SECOND_MS = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Settlements:
    """The funding moments that the bars of one series reach."""

    at_ms: IntArray
    """When (e,), rising. A venue stamps them some milliseconds late, so that the second counts."""
    owed: FloatArray
    """What one unit of the base asset, held long from the beginning, has paid before each moment
    and in the end (e + 1,), quote currency."""

    def __len__(self) -> int:
        return len(self.at_ms)

    def paid(self, fills: Fills, bars: Bars) -> FloatArray:
        """Return what each position (k,) paid per unit of the base asset; below 0 it earned."""
        if not len(self):
            return np.zeros(len(fills))
        opens_at = bars.timestamp[fills.exit_row]
        # At an open what falls on its very moment counts; at a close it does not.
        until = np.where(fills.at_open, opens_at + 1, opens_at + timeframe_ms(bars.timeframe))
        owed = self.owed[self._before(until)] - self.owed[self._entered(fills, bars)]
        return fills.side * owed + 0.0  # no -0.0 for shorts

    def paid_by_close(self, fills: Fills, bars: Bars) -> FloatArray:
        """Return the same up to each close at which a position is open, one after the other.

        These are the closes from its entry bar to the bar before its exit bar.
        """
        n_closes = fills.exit_row - fills.entry_row
        if not len(self):
            return np.zeros(int(n_closes.sum()))
        held = concatenate_ranges(fills.entry_row, n_closes)
        of = np.repeat(np.arange(len(fills)), n_closes)
        left = self._before(bars.timestamp[held] + timeframe_ms(bars.timeframe))
        return fills.side[of] * (self.owed[left] - self.owed[self._entered(fills, bars)][of])

    def _entered(self, fills: Fills, bars: Bars) -> IntArray:
        return self._before(bars.timestamp[fills.entry_row] + 1)

    def _before(self, moments_ms: IntArray) -> IntArray:
        """Return how many funding moments lie before each moment (k,)."""
        return np.searchsorted(self.at_ms, moments_ms, side="left")


NO_SETTLEMENTS = Settlements(np.empty(0, dtype=np.int64), np.zeros(1))


def settlements_of(bars: Bars, funding: Funding | None) -> Settlements:
    """Return the funding moments between the first open and the last close of `bars`.

    A moment inside a hole, which only buy-and-hold lives through, counts at the close before it.
    """
    if funding is None or not len(bars):
        return NO_SETTLEMENTS
    end_ms = int(bars.timestamp[-1]) + timeframe_ms(bars.timeframe)
    known = funding.between(int(bars.timestamp[0]), end_ms)
    at_ms = known.timestamp // _SECOND_MS * _SECOND_MS
    row = np.searchsorted(bars.timestamp, at_ms, side="right") - 1
    inside = at_ms < bars.timestamp[row] + timeframe_ms(bars.timeframe)
    price = np.where(inside, bars.open[row], bars.close[row])
    return Settlements(at_ms, np.concatenate([[0.0], np.cumsum(known.rate * price)]))
