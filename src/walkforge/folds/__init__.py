"""Decision and resolution times to the rows that teach, stop, calibrate and test."""

from ._combinatorial import (
    CombinatorialSplit,
    combinatorial_splits,
    over_paths,
    paths_of,
    time_groups,
)
from ._plan import SLICES, Fold, FoldPlan, Slice, common_calendar, make_folds
from ._rows import FoldRows, rows_of

__all__ = [
    "SLICES",
    "CombinatorialSplit",
    "Fold",
    "FoldPlan",
    "FoldRows",
    "Slice",
    "combinatorial_splits",
    "common_calendar",
    "make_folds",
    "over_paths",
    "paths_of",
    "rows_of",
    "time_groups",
]
