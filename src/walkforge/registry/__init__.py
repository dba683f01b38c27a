"""Bundles on disk: everything that is needed to predict with one model, and nothing that runs."""

from ._bundle import Bundle, read_bundle, write_bundle

__all__ = ["Bundle", "read_bundle", "write_bundle"]
