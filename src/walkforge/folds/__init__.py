"""Decision and resolution times to the rows that teach, stop, calibrate and test."""

from ._plan import SLICES, Fold, FoldPlan, Slice, common_calendar, make_folds
from ._rows import FoldRows, rows_of

__all__ = [
    "SLICES",
    "Fold",
    "FoldPlan",
    "FoldRows",
    "Slice",
    "common_calendar",
    "make_folds",
    "rows_of",
]
