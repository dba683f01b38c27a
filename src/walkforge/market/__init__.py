"""Bars: where they come from, how they are kept, checked and repaired, and their instruments."""

from ._bars import PROVENANCES, Bars

__all__ = ["PROVENANCES", "Bars"]
