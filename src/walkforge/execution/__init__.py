"""How a bar fills an order: brackets, costs, sizing, and one kernel of fills for everybody."""

from ._atr import average_true_range
from ._bracket import Bracket, Charges, Costs, own_fee
from ._fills import (
    DECISION_STATES,
    EXIT_KINDS,
    BracketOutcomes,
    Decisions,
    Fills,
    SideOutcomes,
    bracket_outcomes,
    fill,
    fill_at_random,
    slipped,
)
from ._sizing import order_sizes, sizes_for_notional
from ._tape import Tape, make_tape

__all__ = [
    "DECISION_STATES",
    "EXIT_KINDS",
    "Bracket",
    "BracketOutcomes",
    "Charges",
    "Costs",
    "Decisions",
    "Fills",
    "SideOutcomes",
    "Tape",
    "average_true_range",
    "bracket_outcomes",
    "fill",
    "fill_at_random",
    "make_tape",
    "order_sizes",
    "own_fee",
    "sizes_for_notional",
    "slipped",
]
