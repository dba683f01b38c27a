"""Bars to outcomes: what came after each decision, when it was known, and which class it is."""

from ._limits import Limits, fit_limits
from ._outcomes import NEVER, Outcomes, outcomes
from ._rule import KINDS, LabelRule, class_names

__all__ = [
    "KINDS",
    "NEVER",
    "LabelRule",
    "Limits",
    "Outcomes",
    "class_names",
    "fit_limits",
    "outcomes",
]
