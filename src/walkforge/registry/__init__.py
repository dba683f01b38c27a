"""Bundles on disk: everything that is needed to predict with one model, and nothing that runs."""

from ._bundle import Bundle, read_bundle, write_bundle, write_trees
from ._ensemble_bundle import write_ensemble

__all__ = ["Bundle", "read_bundle", "write_bundle", "write_ensemble", "write_trees"]
