"""What is summed per block of time, so that every measure can be drawn again from the sums.

Shapes: n rows, K blocks, C classes, B bins, R resamples
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from walkforge.base import BoolArray, FloatArray, IntArray

from ._rows import Rows
from ._scores import area_shares, brier_losses, direction_odds, log_losses

CALIBRATION_BINS = 10
"""Bins of equal mass over the confidence in the top class. Ten and not more: noise alone makes a
calibrated model's error grow with the root of the number of bins."""

_SCORE_BINS = 64
"""Edges at this many quantiles of a class's scores, and as many of its hits' scores, which
keeps the bins fine where a rare class has them."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Sums per block, or per resample: the leading axis is either K or R."""

    confusion: Float[np.ndarray, "lead C C"]
    log_loss: Float[np.ndarray, " lead"]
    brier: Float[np.ndarray, " lead"]
    confidence: Float[np.ndarray, "lead 3 B"]
    """`bin_sums` of the confidence in the top class."""
    each_class: Float[np.ndarray, "lead C 3 B"]
    """`bin_sums` of the probability of each class."""
    direction: Float[np.ndarray, "lead 2"]
    """Sum and number of the rows' shares of the area of up against down."""
    scores: list[FloatArray]
    """Per class (lead, 2, bins): misses and hits per bin of that class's probability."""

    @property
    def n(self) -> FloatArray:
        """Return the number of rows (lead,)."""
        return self.confusion.sum(axis=(1, 2))

    def flat(self) -> Float[np.ndarray, "lead S"]:
        """Return all sums side by side."""
        return np.concatenate([part.reshape(len(part), -1) for part in self._parts()], axis=1)

    def shaped(self, flat: Float[np.ndarray, "lead S"]) -> "Tally":
        """Return sums that lie side by side in the shapes of this tally."""
        widths = [int(np.prod(part.shape[1:])) for part in self._parts()]
        pieces = np.split(flat, np.cumsum(widths)[:-1], axis=1)
        confusion, log_loss, brier, confidence, each_class, direction, *scores = [
            piece.reshape(len(flat), *part.shape[1:])
            for piece, part in zip(pieces, self._parts(), strict=True)
        ]
        return Tally(
            confusion=confusion,
            log_loss=log_loss,
            brier=brier,
            confidence=confidence,
            each_class=each_class,
            direction=direction,
            scores=scores,
        )

    def _parts(self) -> list[FloatArray]:
        sums = [self.confusion, self.log_loss, self.brier, self.confidence, self.each_class]
        return [*sums, self.direction, *self.scores]

    def total(self) -> "Tally":
        """Return the sums over all blocks, with a leading axis of one."""
        return self.shaped(self.flat().sum(axis=0, keepdims=True))


def tally(rows: Rows, block: Int[np.ndarray, " n"], n_blocks: int) -> Tally:
    """Return the sums per block of rows with finite probabilities; block counts from 0."""
    n_classes = rows.n_classes
    predicted, confidence = top_class(rows.p)
    hit = predicted == rows.label
    cell = (block * n_classes + rows.label) * n_classes + predicted
    confusion = np.bincount(cell, minlength=n_blocks * n_classes**2).astype(np.float64)
    classes = range(n_classes)
    each_class = [bin_sums(rows.p[:, k], rows.label == k, block, n_blocks) for k in classes]
    return Tally(
        confusion=confusion.reshape(n_blocks, n_classes, n_classes),
        log_loss=np.bincount(block, log_losses(rows.p, rows.label), minlength=n_blocks),
        brier=np.bincount(block, brier_losses(rows.p, rows.label), minlength=n_blocks),
        confidence=bin_sums(confidence, hit, block, n_blocks),
        each_class=np.stack(each_class, axis=1),
        direction=direction_sums(rows, block, n_blocks),
        scores=[_score_histogram(rows.p[:, k], rows.label == k, block, n_blocks) for k in classes],
    )


def top_class(p: Float[np.ndarray, "n C"]) -> tuple[IntArray, FloatArray]:
    """Return the most likely class (n,), the first of equals, and its probability (n,)."""
    predicted = p.argmax(axis=1)
    return predicted, np.take_along_axis(p, predicted[:, None], axis=1)[:, 0]


def equal_mass_bins(values: Float[np.ndarray, " n"], n_bins: int) -> IntArray:
    """Return the bin (n,) of each value; bins hold equally many, and equal values stay together."""
    return np.searchsorted(_edges(values, n_bins), values, side="right").astype(np.int64)


def bin_sums(
    stated: Float[np.ndarray, " n"], came: BoolArray, block: Int[np.ndarray, " n"], n_blocks: int
) -> Float[np.ndarray, "K 3 B"]:
    """Return per block and bin of equal mass: stated less came, rows, came.

    `stated` (n,) are probabilities, `came` (n,) tells whether what they speak of came true. Where
    equal values leave fewer than `CALIBRATION_BINS` bins, the last ones are empty.
    """
    bins = equal_mass_bins(stated, CALIBRATION_BINS)
    shape = (n_blocks, CALIBRATION_BINS)
    hits = came.astype(np.float64)
    summed = (stated - hits, np.ones(len(hits)), hits)
    sums = [grid_sums(block, bins, values, shape) for values in summed]
    return np.stack(sums, axis=1)


def grid_sums(
    row: IntArray, column: IntArray, values: FloatArray, shape: tuple[int, int]
) -> FloatArray:
    """Return the sums of values (n,) that fall into each cell of a grid."""
    cell = row * shape[1] + column
    return (
        np.bincount(cell, values, minlength=shape[0] * shape[1]).astype(np.float64).reshape(shape)
    )


def _edges(values: FloatArray, n_bins: int) -> FloatArray:
    """Return the inner edges, rising and distinct; a bin begins at its edge."""
    ordered = np.sort(values)
    starts = (np.arange(1, n_bins) * len(ordered)) // n_bins
    edges = np.unique(ordered[starts])
    return edges[edges > ordered[0]]


def direction_sums(
    rows: Rows, block: IntArray, n_blocks: int, *, group: IntArray | None = None
) -> Float[np.ndarray, "K 2"]:
    """Return per block the sum and number of shares of the area of up against down.

    Rows are ranked together, or those of each `group` (n,) by themselves, by how far their odds
    lie above `prior_odds`: a network that was trained on more ups than usual says up oftener, and
    what comes after is likely to hold fewer. That alone would show a direction, the wrong one,
    where there is none. To rank each test window by itself instead would flatter: among the rows
    of a short window, those that follow its ups have fewer ups left among their rivals.
    """
    moved = (rows.label == 0) | (rows.label == rows.n_classes - 1)
    if not moved.any():
        return np.zeros((n_blocks, 2))
    odds = direction_odds(rows.p[moved]) - rows.prior_odds[moved]
    together = np.zeros(len(rows), np.int64) if group is None else group
    shares = area_shares(odds, rows.label[moved] > 0, together[moved])
    defined = np.isfinite(shares)
    where = block[moved][defined]
    total = np.bincount(where, shares[defined], minlength=n_blocks)
    return np.stack([total, np.bincount(where, minlength=n_blocks)], axis=1).astype(np.float64)


def _score_histogram(
    score: FloatArray, hit: np.ndarray, block: IntArray, n_blocks: int
) -> FloatArray:
    edges = _edges(score, _SCORE_BINS)
    if hit.any():
        edges = np.union1d(edges, _edges(score[hit], _SCORE_BINS))
    n_bins = len(edges) + 1
    bins = np.searchsorted(edges, score, side="right")
    cell = (block * 2 + hit) * n_bins + bins
    counts = np.bincount(cell, minlength=n_blocks * 2 * n_bins).astype(np.float64)
    return counts.reshape(n_blocks, 2, n_bins)
