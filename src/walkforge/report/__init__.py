"""Pages for people: a run folder, or a comparison of several, in; one self-contained page out."""

from ._comparison import write_comparison
from ._page import write_report

__all__ = ["write_comparison", "write_report"]
