"""One page for people: a run folder's files in, one self-contained `report.html` out."""

from ._page import write_report

__all__ = ["write_report"]
