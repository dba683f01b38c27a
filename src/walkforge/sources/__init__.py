"""Where bars come from: one small interface, and the fetch that brings what is missing home."""

from ._source import Delivery, Listing, Piece, Source, Span

__all__ = ["Delivery", "Listing", "Piece", "Source", "Span"]
