"""Combinatorial purged cross-validation: many histories of one model from one history of prices.

    splits = combinatorial_splits(decided_at, resolved_at, n_groups=6, n_test_groups=2)
    paths = paths_of(6, 2)  # (5, 6)

After Lopez de Prado (2018, Advances in Financial Machine Learning, chapter 12). Time is cut into N
groups; every choice of k of them is tested by a model that learns from the rest. No walk-forward:
training lies on both sides of what is tested, so this tells how much a measure hangs on luck and
nothing of how a model would have been used.

Shapes: n rows, N groups, k of them tested, S splits, P paths
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from walkforge.base import BoolArray, FloatArray, FoldError, IntArray, utc_text


@dataclass(frozen=True, slots=True)
class CombinatorialSplit:
    """Row numbers of one split, each rising."""

    test_groups: tuple[int, ...]
    """The k groups that are tested, rising."""
    train: IntArray
    test: IntArray
    purged: int
    """Rows of the other groups whose label shares time with a tested one."""
    embargoed: int
    """Rows of the other groups that share none but lie too near."""


def time_groups(decided_at: IntArray, n_groups: int) -> IntArray:
    """Return the group (n,) of each row, 0 to N - 1 in time order.

    Groups hold equally many distinct decision moments, or one more or less; rows of one moment,
    whatever their symbols, stay together. `decided_at` (n,) is in ms UTC, in any order. Raises
    FoldError where there are fewer moments than groups.
    """
    moments, position = np.unique(decided_at, return_inverse=True)
    if n_groups < 2 or len(moments) < n_groups:
        raise FoldError(
            f"{len(moments)} decision moments cannot make {n_groups} groups; "
            "use at least 2 groups, and at least one moment for each"
        )
    return (position * n_groups // len(moments)).astype(np.int64)


def combinatorial_splits(
    decided_at: IntArray,
    resolved_at: IntArray,
    *,
    n_groups: int,
    n_test_groups: int,
    embargo_ms: int = 0,
) -> Iterator[CombinatorialSplit]:
    """Return all C(N, k) splits, in the order of their test groups: (0, 1), (0, 2) ... (N-2, N-1).

    All rows (n,) of all symbols together, in any order, times in ms UTC. Every row is tested in
    C(N - 1, k - 1) splits. A row of the other groups teaches only if it is clear of every tested
    group, whose time runs from its first decision to the last resolution of its labels:

    - purge: its label is resolved before that time begins, or it is decided after that time ends
      (section 7.4.1, by the moment of resolution and not by rows);
    - embargo (section 7.4.2): there are at least `embargo_ms` between the two, on either side.

    Raises FoldError for impossible times or counts, and at the first split that no row teaches.
    """
    _refuse_impossible_counts(n_groups, n_test_groups)
    if embargo_ms < 0:
        raise FoldError(f"embargo_ms is {embargo_ms}; it must be at least 0")
    _refuse_impossible_times(decided_at, resolved_at)
    group = time_groups(decided_at, n_groups)
    near = [_nearness(decided_at, resolved_at, group == g, embargo_ms) for g in range(n_groups)]
    chosen = combinations(range(n_groups), n_test_groups)
    return (_split(test_groups, group, near) for test_groups in chosen)


def paths_of(n_groups: int, n_test_groups: int) -> IntArray:
    """Return the split (P, N) in which each path finds its forecasts of each group.

    P = C(N, k) k / N (section 12.3). Path p takes of every group the p-th split that tests it,
    which is the order of the book's figure 12.2; every pair of split and group is in one path.
    Raises FoldError for impossible counts.
    """
    _refuse_impossible_counts(n_groups, n_test_groups)
    splits = list(combinations(range(n_groups), n_test_groups))
    testing = [[s for s, tested in enumerate(splits) if g in tested] for g in range(n_groups)]
    return np.array(testing, dtype=np.int64).T


def over_paths(
    measure: Callable[[FloatArray], float],
    forecasts: NDArray[np.float64],
    *,
    group: IntArray,
    n_test_groups: int,
) -> FloatArray:
    """Return a measure on every path (P,), the distribution that a single history hides.

    `forecasts` (S, n, ...) holds what each split says of each row, in the order of
    `combinatorial_splits`; rows that a split does not test are never read and may be NaN.
    `group` (n,) is from `time_groups`. `measure` takes the forecasts (n, ...) of one path.
    Paths share rows and training, so their spread is no standard error. Raises FoldError where
    the number of splits does not fit the groups.
    """
    n_groups = int(group.max()) + 1
    paths = paths_of(n_groups, n_test_groups)
    if len(forecasts) != comb(n_groups, n_test_groups):
        raise FoldError(
            f"forecasts of {len(forecasts)} splits, but {n_test_groups} of {n_groups} groups make "
            f"{comb(n_groups, n_test_groups)}; pass one row of forecasts per split"
        )
    rows = np.arange(len(group))
    return np.array([measure(forecasts[path[group], rows]) for path in paths], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Near:
    """Which rows (n,) a tested group keeps from teaching."""

    overlapping: BoolArray
    embargoed: BoolArray


def _nearness(
    decided_at: IntArray, resolved_at: IntArray, tested: BoolArray, embargo_ms: int
) -> _Near:
    """Return the rows too near to a group; all tested decisions between its ends are its own."""
    begins, ends = decided_at[tested].min(), resolved_at[tested].max()
    overlapping = (resolved_at >= begins) & (decided_at <= ends)
    near = (resolved_at > begins - embargo_ms) & (decided_at < ends + embargo_ms)
    return _Near(overlapping, near & ~overlapping)


def _split(test_groups: tuple[int, ...], group: IntArray, near: list[_Near]) -> CombinatorialSplit:
    tested = np.isin(group, test_groups)
    overlapping = np.any([near[g].overlapping for g in test_groups], axis=0) & ~tested
    embargoed = np.any([near[g].embargoed for g in test_groups], axis=0) & ~tested & ~overlapping
    train = np.flatnonzero(~tested & ~overlapping & ~embargoed)
    if len(train) == 0:
        raise FoldError(
            f"no row is left to learn from where groups {', '.join(map(str, test_groups))} are "
            f"tested: of {int((~tested).sum())} others {int(overlapping.sum())} are purged and "
            f"{int(embargoed.sum())} embargoed. Use more bars, fewer groups, or shorter labels."
        )
    return CombinatorialSplit(
        test_groups=test_groups,
        train=train,
        test=np.flatnonzero(tested),
        purged=int(overlapping.sum()),
        embargoed=int(embargoed.sum()),
    )


def _refuse_impossible_counts(n_groups: int, n_test_groups: int) -> None:
    if not 1 <= n_test_groups < n_groups:
        raise FoldError(
            f"{n_test_groups} test groups of {n_groups}; expected at least 1, and fewer than groups"
        )


def _refuse_impossible_times(decided_at: IntArray, resolved_at: IntArray) -> None:
    if len(decided_at) != len(resolved_at):
        raise FoldError(
            f"{len(decided_at)} decisions but {len(resolved_at)} resolutions; expected one each"
        )
    early = np.flatnonzero(resolved_at < decided_at)
    if len(early):
        row = int(early[0])
        raise FoldError(
            f"row {row}: decided at {utc_text(int(decided_at[row]))} but resolved before, at "
            f"{utc_text(int(resolved_at[row]))} ({len(early)} such rows); are the two swapped?"
        )
