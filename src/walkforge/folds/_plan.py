"""Where the slices of every fold begin and end, on one calendar for all symbols.

    folds = make_folds(common_calendar(decided_at_by_symbol), FoldPlan(kind="ratio"))

A slice holds the decisions of [from_ms, to_ms). Slices follow each other in time order: train,
validation, calibration, test. Nothing here sees a price.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from itertools import pairwise

import numpy as np

from walkforge.base import FoldError, IntArray, utc_text

SLICES = ("train", "validation", "calibration", "test")
_MEAN_MONTH_MS = 365.25 / 12 * 86_400_000


@dataclass(frozen=True, slots=True)
class Slice:
    """A half-open range of decision times in ms UTC."""

    from_ms: int
    to_ms: int

    def as_text(self) -> list[str]:
        """Return `[from, to]` as `folds.json` holds them."""
        return [utc_text(self.from_ms), utc_text(self.to_ms)]


@dataclass(frozen=True, slots=True)
class Fold:
    """One walk-forward window."""

    index: int
    train: Slice
    validation: Slice
    calibration: Slice
    test: Slice


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldPlan:
    """How a calendar is cut.

    `ratio`: one fold; the shares are fractions of the calendar's decision moments.
    `walk_forward`: `count` folds whose test windows follow each other without overlap and end
    with the calendar; lengths are calendar months (UTC) or decision moments.
    """

    kind: str = "ratio"
    calendar: str = "common"
    """`common`: one calendar for all series, of the moments at which each has a row. `own`: every
    series is cut on its own, as models that learn from one series alone may be."""
    train_frac: float = 0.70
    validation_frac: float = 0.075
    calibration_frac: float = 0.075
    test_frac: float = 0.15
    count: int = 6
    unit: str = "months"
    train: int | None = None
    """Length of a rolling train slice in `unit`; None makes it expand from the first bar."""
    validation: int = 1
    calibration: int = 1
    test: int = 1
    embargo_bars: int = 10
    """Every slice but the first begins this many bars' time after the slice before it ends."""

    def __post_init__(self) -> None:
        if self.kind not in ("ratio", "walk_forward"):
            raise FoldError(f"folds.kind is {self.kind!r}; choose ratio or walk_forward")
        if self.calendar not in ("common", "own"):
            raise FoldError(f"folds.calendar is {self.calendar!r}; choose common or own")
        if self.unit not in ("months", "bars"):
            raise FoldError(f"folds.unit is {self.unit!r}; choose months or bars")
        shares = self.shares
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise FoldError(
                f"the shares {' + '.join(f'{share:g}' for share in shares)} of train, validation, "
                f"calibration and test make {sum(shares):g}; each must be positive, their sum 1"
            )
        lengths = {"count": self.count, "validation": self.validation, "test": self.test}
        lengths |= {"calibration": self.calibration}
        lengths |= {} if self.train is None else {"train": self.train}
        for name, length in lengths.items():
            if length < 1:
                raise FoldError(f"folds.{name} is {length}; it must be at least 1")
        if self.embargo_bars < 0:
            raise FoldError(f"folds.embargo_bars is {self.embargo_bars}; it must be at least 0")

    @property
    def shares(self) -> tuple[float, float, float, float]:
        """Return the four shares of `ratio` in time order."""
        return (self.train_frac, self.validation_frac, self.calibration_frac, self.test_frac)


def common_calendar(decided_at: Mapping[str, IntArray]) -> IntArray:
    """Return the sorted decision moments, ms UTC, at which every symbol has a row.

    Slices that are cut on these moments hold rows of every symbol, however their histories and
    holes differ. Raises FoldError where a symbol has no rows, or where there is no such moment.
    """
    empty = [symbol for symbol, times in decided_at.items() if len(times) == 0]
    if empty or not decided_at:
        raise FoldError(
            f"{', '.join(empty) or 'no symbol'}: no row has both features and a label; "
            "use more bars or a shorter look-back"
        )
    shared = reduce(np.intersect1d, decided_at.values())
    if len(shared) == 0:
        late = max(decided_at, key=lambda symbol: int(decided_at[symbol][0]))
        early = min(decided_at, key=lambda symbol: int(decided_at[symbol][-1]))
        raise FoldError(
            f"{', '.join(decided_at)} share no decision moment: {late} begins at "
            f"{utc_text(int(decided_at[late][0]))}, {early} ends at "
            f"{utc_text(int(decided_at[early][-1]))}. Leave one of them out, or set "
            "folds.calendar=own."
        )
    return shared


def make_folds(
    calendar: IntArray, plan: FoldPlan, span_ms: tuple[int, int] | None = None
) -> list[Fold]:
    """Return the folds of `plan` on `calendar` (n,), sorted decision moments in ms UTC.

    `span_ms` is what the bars cover, first opening to last close: a calendar month is whole if the
    bars cover it, though its first rows may lack features and its last ones a label. Raises
    FoldError with the arithmetic where the folds do not fit.
    """
    if plan.kind == "ratio":
        return [_ratio_fold(calendar, plan)]
    if plan.unit == "bars":
        return _folds_by_bars(calendar, plan)
    return _folds_by_months(calendar, plan, span_ms or (int(calendar[0]), _end_of(calendar)))


def _ratio_fold(calendar: IntArray, plan: FoldPlan) -> Fold:
    edges = np.round(np.cumsum([0.0, *plan.shares]) * len(calendar)).astype(int)
    if np.diff(edges).min() < 1:
        raise FoldError(
            f"{len(calendar)} decision moments are too few for shares of "
            f"{', '.join(f'{share:g}' for share in plan.shares)}; use more bars"
        )
    return _fold_between(0, [int(calendar[edge]) for edge in edges[:-1]] + [_end_of(calendar)])


def _folds_by_bars(calendar: IntArray, plan: FoldPlan) -> list[Fold]:
    ahead = plan.validation + plan.calibration
    needed = (plan.train or 1) + ahead + plan.count * plan.test
    if len(calendar) < needed:
        raise FoldError(
            f"{plan.count} test windows of {plan.test} bars + {plan.validation} validation + "
            f"{plan.calibration} calibration + {plan.train or 'at least 1'} train = {needed} "
            f"decision moments, but there are {len(calendar)}. "
            "Use more bars, fewer folds or shorter slices."
        )
    stamps = np.append(calendar, _end_of(calendar))
    folds = []
    for index in range(plan.count):
        test = len(calendar) - (plan.count - index) * plan.test
        validation = test - ahead
        train = 0 if plan.train is None else validation - plan.train
        edges = [train, validation, validation + plan.validation, test, test + plan.test]
        folds.append(_fold_between(index, [int(stamps[edge]) for edge in edges]))
    return folds


def _folds_by_months(calendar: IntArray, plan: FoldPlan, span_ms: tuple[int, int]) -> list[Fold]:
    first, end = span_ms
    months = _month_starts(first, end)
    ahead = plan.validation + plan.calibration
    needed = (plan.train or 1) + ahead + plan.count * plan.test
    if len(months) - 1 < needed:
        raise FoldError(
            f"{plan.count} test windows of {plan.test} months + {plan.validation} validation + "
            f"{plan.calibration} calibration + {plan.train or 'at least 1'} train = {needed} whole "
            f"months, but {utc_text(first)} to {utc_text(end)} holds {max(len(months) - 1, 0)} "
            f"({(end - first) / _MEAN_MONTH_MS:.1f} months in all). "
            "Use more bars, fewer folds, or folds.unit=bars."
        )
    folds = []
    for index in range(plan.count):
        test = len(months) - 1 - (plan.count - index) * plan.test
        validation = test - ahead
        train = first if plan.train is None else months[validation - plan.train]
        later = [validation, validation + plan.validation, test, test + plan.test]
        folds.append(_fold_between(index, [train, *(months[month] for month in later)]))
    return folds


def _month_starts(first_ms: int, end_ms: int) -> list[int]:
    """Return the starts of all calendar months within [first, end], both included."""
    start = datetime.fromtimestamp(first_ms / 1000, tz=UTC)
    count = start.year * 12 + start.month - 1
    starts: list[int] = []
    while True:
        moment = int(datetime(count // 12, count % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000)
        if moment > end_ms:
            return starts
        if moment >= first_ms:
            starts.append(moment)
        count += 1


def _end_of(calendar: IntArray) -> int:
    """Return a moment after the calendar, so that the last decision lies inside.

    A minute, the shortest timeframe: the next decision could not come sooner.
    """
    return int(calendar[-1]) + 60_000


def _fold_between(index: int, edges: list[int]) -> Fold:
    return Fold(index, *(Slice(start, stop) for start, stop in pairwise(edges)))
