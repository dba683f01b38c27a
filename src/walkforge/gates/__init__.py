"""Measures to verdicts: the only place where a number becomes yes or no."""

from ._judge import PROFILES, judge

__all__ = ["PROFILES", "judge"]
