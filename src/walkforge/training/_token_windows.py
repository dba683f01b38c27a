"""Which windows of a token table are read: drawn ones to train on, all of them to measure with.

A window has T inputs at most, rows s ... s + T - 1, and predicts rows s + 1 ... s + T. It never
leaves its run. Near an edge it is moved inwards; only where a run has fewer rows is it shorter.

Shapes: W windows, K targets, R runs (with targets of the piece asked for), G groups
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from walkforge.base import FloatArray, IntArray, TrainingError, concatenate_ranges, derive_seed

from ._token_table import TokenTable

SAMPLING = ("rows", "equal_assets", "equal_categories")
"""By what assets weigh in training: their targets, all alike, or all categories alike."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows in the order in which they are read."""

    places_W5: IntArray
    """First input row, first and last target row that count, asset, category."""
    n_targets_W: IntArray
    """How many targets of its piece each window counts."""

    def __len__(self) -> int:
        return len(self.n_targets_W)


@dataclass(frozen=True, slots=True, eq=False)
class _Targets:
    """The targets of one piece, run after run."""

    rows_K: IntArray
    begin_R: IntArray
    """Place of each run's first target in `rows_K`."""
    count_R: IntArray
    first_R: IntArray
    """Row of each run's first target."""
    last_R: IntArray

    @classmethod
    def of(cls, table: TokenTable, piece: str) -> "_Targets":
        rows_K = table.target_rows(piece)
        if len(rows_K) == 0:
            raise TrainingError(
                f"no token has its piece {piece} and a token right before it; use more bars or "
                f"a longer {piece} slice"
            )
        _, begin_R, count_R = np.unique(
            table.run_first[rows_K], return_index=True, return_counts=True
        )
        first_R, last_R = rows_K[begin_R], rows_K[begin_R + count_R - 1]
        return cls(rows_K, begin_R, count_R, first_R, last_R)

    def windows(
        self, table: TokenTable, first: IntArray, begin: IntArray, last: IntArray
    ) -> Windows:
        """Return the windows that begin at `first` and count from `begin` to `last`."""
        columns = (first, begin, last, table.asset[first], table.category[first])
        places_W5 = np.stack([column.astype(np.int64) for column in columns], axis=1)
        through = np.searchsorted(self.rows_K, last, side="right")
        return Windows(places_W5, through - np.searchsorted(self.rows_K, begin))


class TrainingWindows:
    """Draws windows whose targets are training rows, an epoch at a time.

    All targets of all runs stand in one line, each as long as it weighs. An epoch of D draws cuts
    the line into D equal parts from a random start, and the target at each cut becomes the middle
    of a window; the windows come in random order. So assets come up in an epoch exactly as often
    as they weigh, to within one window, and where cuts are a context apart every target inside a
    run is learned once. Near the edge of a run's training rows, where windows are moved inwards,
    targets come up less often, down to half as often at the edge itself.
    """

    def __init__(self, table: TokenTable, *, context: int, weights: str, seed: int) -> None:
        self._table = table
        self._targets = _Targets.of(table, "train")
        self._context = context
        self._seed = seed
        self._through_R = _line(table, self._targets, weights)

    @property
    def n_targets(self) -> int:
        """Return how many training targets there are."""
        return len(self._targets.rows_K)

    def draw(self, epoch: int, n_windows: int) -> Windows:
        """Return the windows of an epoch; they follow from the seed and the epoch alone."""
        random = np.random.default_rng(derive_seed(self._seed, "windows", epoch))
        start, order_W = random.random(), random.permutation(n_windows)
        return self._around(*self._targets_at((order_W + start) / n_windows))

    def _targets_at(self, place_W: FloatArray) -> tuple[IntArray, IntArray]:
        """Return the run, and the target row, at each place of the line in [0, 1)."""
        targets, through_R = self._targets, self._through_R
        last_run = len(through_R) - 1
        run_W = np.minimum(np.searchsorted(through_R, place_W, side="right"), last_run)
        from_R = np.concatenate([[0.0], through_R[:-1]])
        within_W = (place_W - from_R[run_W]) / (through_R - from_R)[run_W]
        count_W = targets.count_R[run_W]
        number_W = np.clip((within_W * count_W).astype(np.int64), 0, count_W - 1)
        return run_W, targets.rows_K[targets.begin_R[run_W] + number_W]

    def _around(self, run_W: IntArray, middle_W: IntArray) -> Windows:
        targets, context = self._targets, self._context
        first_W, last_W = targets.first_R[run_W], targets.last_R[run_W]
        latest_W = last_W - context
        # Rows before the first training target, if there are any, are past that may be read, but
        # only where there are too few training rows to fill a window.
        earliest_W = np.maximum(self._table.run_first[middle_W], np.minimum(first_W - 1, latest_W))
        start_W = np.minimum(middle_W - (context + 1) // 2, latest_W)
        start_W = np.maximum(start_W, earliest_W)
        last_W = np.minimum(start_W + context, last_W)
        return targets.windows(self._table, start_W, start_W + 1, last_W)


def covering_windows(table: TokenTable, piece: str, context: int) -> Windows:
    """Return windows that count every target of a slice once, in the order of their rows.

    Windows overlap by half a context: a target has at least half a context of past, where its run
    has that much, rows of earlier pieces included.
    """
    targets = _Targets.of(table, piece)
    stride = max(context // 2, 1)
    span_R = targets.last_R - targets.first_R + 1
    blocks_R = -(-span_R // stride)
    run_W = np.repeat(np.arange(len(blocks_R)), blocks_R)
    block_W = concatenate_ranges(np.zeros_like(blocks_R), blocks_R)
    begin_W = targets.first_R[run_W] + block_W * stride
    last_W = np.minimum(begin_W + stride - 1, targets.last_R[run_W])
    start_W = np.maximum(table.run_first[targets.first_R][run_W], last_W - context)
    found = targets.windows(table, start_W, begin_W, last_W)
    counts = found.n_targets_W > 0  # a piece may have holes of other pieces in one run
    return Windows(found.places_W5[counts], found.n_targets_W[counts])


def _line(table: TokenTable, targets: _Targets, weights: str) -> FloatArray:
    """Return where each run ends on the line, which ends at 1 (R,)."""
    weight_R = targets.count_R.astype(np.float64)
    if weights != "rows":
        column = table.asset if weights == "equal_assets" else table.category
        weight_R /= _totals(column[targets.first_R], weight_R)
    through_R = np.cumsum(weight_R)
    return through_R / through_R[-1]


def _totals(group_R: NDArray[np.int16], weight_R: FloatArray) -> FloatArray:
    """Return the weight of the whole group that each run belongs to (R,)."""
    _, number_R = np.unique(group_R, return_inverse=True)
    total_G = np.zeros(number_R.max() + 1)
    np.add.at(total_G, number_R, weight_R)
    return total_G[number_R]
