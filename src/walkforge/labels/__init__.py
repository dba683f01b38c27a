"""Bars to outcomes: what came after each decision, when it was known, and which class it is."""

from ._limits import Limits, fit_limits
from ._outcomes import NEVER, Outcomes, outcomes
from ._own import EarlyClaim, check_resolved, own_outcomes
from ._rule import KINDS, LabelRule, class_names
from ._targets import BAND_BARS, BAND_WIDTH, Targets, forecast_moves, forecast_targets

__all__ = [
    "BAND_BARS",
    "BAND_WIDTH",
    "KINDS",
    "NEVER",
    "EarlyClaim",
    "LabelRule",
    "Limits",
    "Outcomes",
    "Targets",
    "check_resolved",
    "class_names",
    "fit_limits",
    "forecast_moves",
    "forecast_targets",
    "outcomes",
    "own_outcomes",
]
