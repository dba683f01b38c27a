"""Squared calibration error without its bias, and what a Brier score is made of.

Bins are sums as `bin_sums` makes them: stated less came, rows, came.
Shapes: n rows, C classes, B bins, K blocks; `...` any leading axes, such as R resamples
"""

import numpy as np
from jaxtyping import Float

from walkforge.base import FloatArray

from ._rows import Rows
from ._tally import Tally


def squared_error(bins: Float[np.ndarray, "*lead 3 B"]) -> FloatArray:
    """Return the mean over rows of (stated - came)^2 of their bin: the square of the L2 error.

    It is the reliability of Murphy (1973, A New Vector Partition of the Probability Score), and
    too high: noise cannot make a square negative.
    """
    gaps, counts = bins[..., 0, :], bins[..., 1, :]
    per_bin = gaps**2 / np.where(counts > 0, counts, 1.0)
    return per_bin.sum(axis=-1) / np.maximum(counts.sum(axis=-1), 1.0)


def noise_of_blocks(bins: Float[np.ndarray, "K 3 B"]) -> float:
    """Return by how much `squared_error` of all blocks together is too high on average.

    That is the mean over rows of the variance of their bin's mean gap. Blocks, not rows, are taken
    as independent: see `_variance_of_sums`. NaN where a bin lies in a single block.
    """
    counts = bins[:, 1].sum(axis=0)
    variance = _variance_of_sums(bins[:, 0], bins[:, 1])
    return float((variance[counts > 0] / counts[counts > 0]).sum() / counts.sum())


def noise_of_rows(bins: Float[np.ndarray, "3 B"]) -> float:
    """Return the same if every row were independent: came (1 - came) / (rows - 1) of its bin.

    Kumar, Liang and Ma (2019, Verified Uncertainty Calibration) take it off the square of the L2
    error, Ferro and Fricker (2012, A Bias-Corrected Decomposition of the Brier Score) off the
    reliability; that is one and the same. NaN where a bin has a single row.
    """
    _, counts, hits = bins[:, bins[1] > 0]
    rate, others = hits / counts, np.where(counts > 1, counts - 1.0, np.nan)
    return float((counts * rate * (1.0 - rate) / others).sum() / counts.sum())


def design_effect(
    bins: Float[np.ndarray, "K 3 B"], spread_of_rows: Float[np.ndarray, " B"]
) -> float:
    """Return how many rows say as little as one independent row does, 1 at least.

    It is the design effect of Kish (1965, Survey Sampling): the variance of the gaps as blocks show
    it over the variance if rows were independent, all bins together. `spread_of_rows` is per bin
    the sum of squares of stated less came around its mean. 1 where no bin can tell.
    """
    counts = bins[:, 1].sum(axis=0)
    told = ((bins[:, 1] > 0).sum(axis=0) > 1) & (counts > 1)
    alone = (spread_of_rows[told] * counts[told] / (counts[told] - 1.0)).sum()
    shown = _variance_of_sums(bins[:, 0], bins[:, 1])[told].sum()
    # Where every gap is the same, both are rounding, and their quotient is anything.
    return max(1.0, float(shown / alone)) if alone > 1e-9 * counts.sum() else 1.0


def uncertainty(sums: Tally) -> FloatArray:
    """Return the Brier score of who always states the shares of the classes that came (lead,)."""
    shares = sums.confusion.sum(axis=2) / sums.n[:, None]
    return brier_scale(sums) * (shares * (1.0 - shares)).sum(axis=1)


def noise_of_shares(per_block: Tally) -> float:
    """Return by how much `uncertainty` of all blocks together is too low on average."""
    came, n = per_block.confusion.sum(axis=2), per_block.n
    variance = _variance_of_sums(came, np.broadcast_to(n[:, None], came.shape))
    return brier_scale(per_block) * float(variance.sum() / n.sum() ** 2)


def reliability(sums: Tally) -> FloatArray:
    """Return the reliability of all classes together (lead,), on the scale of the Brier score."""
    return brier_scale(sums) * squared_error(sums.each_class).sum(axis=1)


def brier_scale(sums: Tally) -> float:
    """Return what the squared distance of a class counts: half where two share one Brier score."""
    return 0.5 if sums.confusion.shape[1] == 2 else 1.0


def plain_parts(rows: Rows, whole: Tally) -> dict[str, float]:
    """Return the parts as they come out of the bins, with all their bias.

    reliability - resolution + uncertainty + within_bin_variance - within_bin_covariance is the
    Brier score: Murphy's three (1973), and the two that bins of unequal forecasts need
    (Stephenson, Coelho and Jolliffe 2008, Two Extra Components in the Brier Score Decomposition).
    """
    n, scale = len(rows), brier_scale(whole)
    gaps, counts, hits = (whole.each_class[0, :, part] for part in range(3))
    filled = np.where(counts > 0, counts, 1.0)
    stated = gaps + hits
    overall = hits.sum(axis=1, keepdims=True) / n
    true = np.take_along_axis(rows.p, rows.label[:, None], axis=1)
    within_variance = (rows.p**2).sum() - (stated**2 / filled).sum()
    within_covariance = 2.0 * (true.sum() - (stated * hits / filled).sum())
    return {
        "reliability": float(reliability(whole)[0]),
        "resolution": scale * float((counts * (hits / filled - overall) ** 2).sum()) / n,
        "uncertainty": float(uncertainty(whole)[0]),
        "within_bin_variance": scale * float(within_variance) / n,
        "within_bin_covariance": scale * float(within_covariance) / n,
    }


def _variance_of_sums(
    sums: Float[np.ndarray, "K B"], counts: Float[np.ndarray, "K B"]
) -> Float[np.ndarray, " B"]:
    """Return per bin the variance of a sum over all blocks, as the blocks themselves show it.

    A block is set against its share c of the bin's rows: the sum over blocks of
    (sum - c * whole sum)^2, over 1 - the sum of c^2, which is what the deviations lose where a
    block's variance grows with its rows; for m equal blocks that is the common m / (m - 1). NaN
    where a single block holds all rows, 0 where there are none.
    """
    rows = counts.sum(axis=0)
    share = counts / np.where(rows > 0, rows, 1.0)
    left = 1.0 - (share**2).sum(axis=0)
    spread = ((sums - share * sums.sum(axis=0)) ** 2).sum(axis=0)
    return spread / np.where((counts > 0).sum(axis=0) == 1, np.nan, left)
