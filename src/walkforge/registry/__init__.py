"""Bundles on disk: everything that is needed to predict with one model, and nothing that runs."""

from ._bundle import Bundle, read_bundle, write_bundle, write_market, write_trees
from ._description import KnownSeries, known_series
from ._ensemble_bundle import write_ensemble
from ._reference import expired_words, expires_ms

__all__ = [
    "Bundle",
    "KnownSeries",
    "expired_words",
    "expires_ms",
    "known_series",
    "read_bundle",
    "write_bundle",
    "write_ensemble",
    "write_market",
    "write_trees",
]
