"""Pages for people: a run folder, several of them, or an audit in; one self-contained page out."""

from ._audit import write_audit
from ._audit_limits import write_limits
from ._comparison import write_comparison
from ._page import write_report

__all__ = ["write_audit", "write_comparison", "write_limits", "write_report"]
