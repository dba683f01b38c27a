"""What positions pay or earn at the funding moments of a perpetual.

A position pays side x rate x notional at every moment t with entry < t <= exit, where the notional
is the position's size at the open of the bar that t falls into: bars hold no mark price. An entry
and an exit at an open happen at that moment, an exit at a close after all moments of its bar; one
that is the close itself belongs to the next bar. Nobody knows when a position left that was stopped
or reached its target inside a bar: of the moments after that bar's open it pays those that cost it
something, and earns nothing at the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from walkforge.base import FloatArray, Int8Array, IntArray, concatenate_ranges, timeframe_ms
from walkforge.execution import EXIT_KINDS, Fills
from walkforge.market import Bars, Funding

_SECOND_MS = 1_000
_AT_CLOSE = EXIT_KINDS.index("segment_end")


@dataclass(frozen=True, slots=True, eq=False)
class Settlements:
    """The funding moments that the bars of one series reach."""

    at_ms: IntArray
    """When (e,), rising. A venue stamps them some milliseconds late, so that the second counts."""
    owed: FloatArray
    """What one unit of the base asset, held long from the beginning, has paid before each moment
    and in the end (e + 1,), quote currency."""
    charged: FloatArray
    """The same without what it earned (e + 1,)."""

    def __len__(self) -> int:
        return len(self.at_ms)

    def paid(self, fills: Fills, bars: Bars) -> FloatArray:
        """Return what each position (k,) paid per unit of the base asset; below 0 it earned."""
        if not len(self):
            return np.zeros(len(fills))
        opens_at = bars.timestamp[fills.exit_row]
        # At an open what falls on its very moment counts; at a close it does not.
        opened = self._before(opens_at + 1)
        closed = self._before(opens_at + timeframe_ms(bars.timeframe))
        surely = np.where(fills.exit_kind == _AT_CLOSE, closed, opened)
        owed = fills.side * (self.owed[surely] - self.owed[self._entered(fills, bars)])
        perhaps = np.where(fills.at_open, 0.0, self._charges(fills.side, surely, closed))
        return owed + perhaps + 0.0  # no -0.0 for shorts

    def _charges(self, side: Int8Array, first: IntArray, last: IntArray) -> FloatArray:
        """Return what each side (k,) pays at those moments from `first` to `last` that cost it."""
        of_longs = self.charged[last] - self.charged[first]
        return np.where(side > 0, of_longs, of_longs - (self.owed[last] - self.owed[first]))

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


NO_SETTLEMENTS = Settlements(np.empty(0, dtype=np.int64), np.zeros(1), np.zeros(1))


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
    paid = known.rate * price
    return Settlements(at_ms, _summed(paid), _summed(np.maximum(paid, 0.0)))


def _summed(paid: FloatArray) -> FloatArray:
    """Return the sum before each of (e,) and in the end (e + 1,)."""
    return np.concatenate([[0.0], np.cumsum(paid)])
