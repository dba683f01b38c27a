"""Bars and a table of intentions to trades, equity and statistics; knows no model."""

from ._edge_rule import edge_rule, intentions_from_predictions
from ._equity import PORTFOLIO, thin_equity
from ._intentions import SIDES, check_intentions, read_intentions
from ._run import BacktestResult, run
from ._setup import BacktestSetup

__all__ = [
    "PORTFOLIO",
    "SIDES",
    "BacktestResult",
    "BacktestSetup",
    "check_intentions",
    "edge_rule",
    "intentions_from_predictions",
    "read_intentions",
    "run",
    "thin_equity",
]
