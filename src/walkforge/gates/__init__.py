"""Measures to verdicts: the only place where a number becomes yes or no."""

from ._judge import PROFILES, judge
from ._limits import LIMITS

__all__ = ["LIMITS", "PROFILES", "judge"]
