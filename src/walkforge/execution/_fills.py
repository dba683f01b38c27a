"""Decisions to fills, by the one set of rules in `_kernels`."""

from dataclasses import dataclass

import numpy as np

from walkforge.base import BoolArray, FloatArray, Int8Array, IntArray, IntentionsError, UsageError
from walkforge.market import Bars

from ._bracket import Bracket
from ._tape import Tape, make_tape

EXIT_KINDS = ("none", "stop", "target", "timeout", "segment_end")
"""Names of the exit codes 0..4; 0 marks a decision that cannot enter."""

DECISION_STATES = ("entered", "not_flat", "last_bar", "no_atr", "below_minimum")
"""Names of the codes 0..4 that say what became of a decision."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decisions:
    """What somebody wants at the close of some bars of one symbol; all arrays are (m,)."""

    row: IntArray
    """Bar of the decision, rising."""
    side: Int8Array
    """+1 long, -1 short."""
    size: FloatArray
    """Contracts; 0 where the order is too small to be taken."""
    stop: FloatArray
    """Price, or NaN for the bracket's."""
    target: FloatArray
    """Price, or NaN for the bracket's."""

    def __post_init__(self) -> None:
        # Kernels do not check bounds, so what reaches them has the right types and lengths.
        types = {"row": np.int64, "side": np.int8}
        for name in ("row", "side", "size", "stop", "target"):
            values = np.ascontiguousarray(getattr(self, name), dtype=types.get(name, np.float64))
            object.__setattr__(self, name, values)
            if len(values) != len(self.row):
                raise IntentionsError(
                    f"decisions: {len(values)} values in {name!r}, expected {len(self.row)}"
                )
        if np.any(np.diff(self.row) <= 0) or not np.isin(self.side, (-1, 1)).all():
            raise IntentionsError(
                "decisions: rows must rise and sides be +1 or -1; use backtest.run, which checks"
            )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fills:
    """Positions that were entered and left, in time order; all arrays are (k,)."""

    decision: IntArray
    """Index of the decision (or of the side, for random entries) that each belongs to."""
    side: Int8Array
    entry_row: IntArray
    entry_price: FloatArray
    exit_row: IntArray
    exit_price: FloatArray
    exit_kind: Int8Array
    """Index into EXIT_KINDS."""
    at_open: BoolArray
    """True where it left at the open of the exit bar: time-outs and gaps."""
    stop: FloatArray
    target: FloatArray

    def __len__(self) -> int:
        return len(self.decision)

    @property
    def held_bars(self) -> IntArray:
        """Return in how many bars each position was open for longer than the open's moment."""
        return self.exit_row - self.entry_row + np.where(self.at_open, 0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class SideOutcomes:
    """How a decision for one side, taken at each bar's close on its own, ends; arrays are (n,)."""

    exit_kind: Int8Array
    """Index into EXIT_KINDS; 0 where no entry is possible."""
    exit_row: IntArray
    """-1 where no entry is possible."""
    exit_price: FloatArray
    entry_price: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class BracketOutcomes:
    """Both sides of every bar."""

    long: SideOutcomes
    short: SideOutcomes


def fill(
    tape: Tape, decisions: Decisions, bracket: Bracket, *, slippage_price: float
) -> tuple[Fills, Int8Array]:
    """Return the fills, and for each decision (m,) what became of it (index of DECISION_STATES).

    One position at a time: a decision counts only where the symbol is flat at that close. A
    position that leaves in or at the close of bar t is flat at the close of t; one that leaves
    at the open of t + 1 is not. `slippage_price` is in quote currency; it counts for at most 1 %
    of a fill's price, so that no fill is at zero or less.
    """
    from ._kernels import fill_decisions

    _refuse_slippage(tape.bars, slippage_price)
    _refuse_rows_outside(tape, decisions.row)
    status, which, prices, exit_row, kind, at_open = fill_decisions(
        *tape.arrays,
        decisions.row,
        decisions.side,
        decisions.size,
        decisions.stop,
        decisions.target,
        *_rules(bracket, slippage_price),
    )
    fills = _fills(
        which, decisions.side[which], decisions.row[which] + 1, prices, exit_row, kind, at_open
    )
    return fills, status


def fill_at_random(
    tape: Tape,
    sides: Int8Array,
    bracket: Bracket,
    *,
    rows: IntArray,
    stop_fracs: FloatArray,
    target_fracs: FloatArray,
    slippage_price: float,
    held_bars: float,
    random: np.random.Generator,
) -> Fills:
    """Return positions entered in the order of `sides` (k,) at random closes out of `rows`.

    The same rules as `fill`. Every flat close is as likely as any other. Own levels are
    fractions of the decision's close; NaN takes the bracket's. `held_bars` is a first guess of
    how many closes a position blocks. Fewer than k are entered where `rows` hold no more.
    """
    from . import _kernels

    _refuse_slippage(tape.bars, slippage_price)
    _refuse_rows_outside(tape, rows)
    entry_row, prices, exit_row, kind, at_open = _kernels.fill_at_random(
        *tape.arrays,
        rows,
        sides,
        stop_fracs,
        target_fracs,
        *_rules(bracket, slippage_price),
        float(held_bars),
        random,
    )
    which = np.arange(len(entry_row))
    return _fills(which, sides[which], entry_row, prices, exit_row, kind, at_open)


def slipped(price: FloatArray, side: int, *, slippage_price: float) -> FloatArray:
    """Return the fills (n,) of orders to buy (`side` +1) or sell (-1) at market at `price` (n,).

    Slippage as in `fill`: `slippage_price`, but at most MOST_SLIPPAGE_FRAC (1 %) of the price.
    """
    from ._kernels import MOST_SLIPPAGE_FRAC

    return price + side * np.minimum(slippage_price, MOST_SLIPPAGE_FRAC * price)


def bracket_outcomes(bars: Bars, bracket: Bracket, *, slippage_price: float) -> BracketOutcomes:
    """Return how a long and a short decided at each close would end, each as if it were alone.

    Looks ahead from the decision, never across a hole. No entry (kind 0) is possible at the last
    bar of a segment and where the ATR is not there yet. `slippage_price` in quote currency.
    """
    from ._kernels import outcomes_of_every_bar

    tape = make_tape(bars, bracket.atr_bars)
    _refuse_slippage(tape.bars, slippage_price)
    rules = _rules(bracket, slippage_price)
    return BracketOutcomes(
        *(SideOutcomes(*outcomes_of_every_bar(*tape.arrays, side, *rules)) for side in (1, -1))
    )


def _rules(bracket: Bracket, slippage_price: float) -> tuple[float, float, int, float]:
    return (
        float(bracket.stop_atr),
        float(bracket.target_atr),
        int(bracket.max_hold_bars),
        float(slippage_price),
    )


def _fills(
    which: IntArray,
    side: Int8Array,
    entry_row: IntArray,
    prices: FloatArray,
    exit_row: IntArray,
    kind: Int8Array,
    at_open: BoolArray,
) -> Fills:
    return Fills(
        decision=which,
        side=side,
        entry_row=entry_row,
        entry_price=prices[0],
        exit_row=exit_row,
        exit_price=prices[1],
        exit_kind=kind,
        at_open=at_open,
        stop=prices[2],
        target=prices[3],
    )


def _refuse_slippage(bars: Bars, slippage_price: float) -> None:
    if not 0.0 <= slippage_price < np.inf:
        raise UsageError(
            f"{bars.name}: slippage of {slippage_price:g} a fill, expected a finite price of at "
            "least 0; check the instrument's tick and slippage_ticks"
        )


def _refuse_rows_outside(tape: Tape, rows: IntArray) -> None:
    if len(rows) and not (rows[0] >= 0 and rows[-1] < len(tape)):
        raise IntentionsError(
            f"{tape.bars.name}: decisions at rows {rows[0]}..{rows[-1]}, expected rows of its "
            f"{len(tape)} bars, rising"
        )
