"""Reliability diagrams: what was stated, what came, and how far luck alone would part them.

Shapes: n rows, K blocks, B bins, R resamples
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from walkforge.base import BoolArray, FloatArray, IntArray, derive_seed

from ._blocks import BlockPlan
from ._bootstrap import FEWEST_BLOCKS, LEVEL, measured, resample
from ._calibration import design_effect
from ._tally import CALIBRATION_BINS, bin_sums, equal_mass_bins


@dataclass(frozen=True, slots=True)
class Diagram:
    """The bins of one reliability diagram, in the order of what was stated."""

    lines: list[dict[str, Any]]
    """Per bin `from`, `to`, `stated`, `came`, `low`, `high`, `band_low`, `band_high`, `n`."""
    design_effect: float | None
    """How many rows say as little as one independent row; None where no band was drawn."""

    def named(self, *, stated: str, came: str) -> list[dict[str, Any]]:
        """Return the lines with other names for what was stated and what came."""
        names = {"stated": stated, "came": came}
        return [{names.get(key, key): v for key, v in line.items()} for line in self.lines]


def reliability_diagram(
    stated: Float[np.ndarray, " n"],
    came: BoolArray,
    *,
    time_ms: IntArray,
    plan: BlockPlan,
    n_resamples: int,
    seed: int,
) -> Diagram:
    """Return the diagram of probabilities (n,) and whether what they speak of came true (n,).

    Bins hold equally many rows. The interval of `came` is from the bootstrap of blocks; the band
    is where it would lie in 95 of 100 cases if the forecasts were calibrated, see
    `consistency_band`. Both are None with fewer than 5 blocks or without resamples.
    """
    blocks, block = np.unique(plan.block_of(time_ms), return_inverse=True)
    sums = bin_sums(stated, came, block, len(blocks))
    bins = equal_mass_bins(stated, CALIBRATION_BINS)
    n_bins = int(bins.max()) + 1
    sums = sums[:, :, :n_bins]
    told = len(blocks) >= FEWEST_BLOCKS and n_resamples > 0
    effect = design_effect(sums, _spread_of_rows(stated - came, bins)) if told else None
    band = (
        consistency_band(sums.sum(axis=0), effect=effect, n_resamples=n_resamples, seed=seed)
        if effect is not None
        else None
    )
    rates = came_rates(sums, n_resamples=n_resamples, seed=seed)
    return Diagram(
        [
            {
                "from": float(stated[bins == k].min()),
                "to": float(stated[bins == k].max()),
                "stated": float(stated[bins == k].mean()),
                "came": rate["value"],
                "low": rate["low"],
                "high": rate["high"],
                "band_low": None if band is None else float(band[0, k]),
                "band_high": None if band is None else float(band[1, k]),
                "n": rate["n"],
            }
            for k, rate in enumerate(rates)
        ],
        effect,
    )


def consistency_band(
    bins: Float[np.ndarray, "3 B"], *, effect: float, n_resamples: int, seed: int
) -> Float[np.ndarray, "2 B"]:
    """Return between which rates what is stated would come in 95 of 100 calibrated worlds.

    The consistency bars of Broecker and Smith (2007, Increasing the Reliability of Reliability
    Diagrams): forecasts are drawn with replacement and an outcome from each, so that a bin's rows
    are multinomial and what comes of them is binomial with the bin's mean forecast. That takes
    rows as independent; the distances from the mean forecast are therefore stretched by the root
    of the design effect. Each bar holds by itself: of ten bins every other diagram has one outside.
    """
    gaps, counts, hits = bins
    stated = np.clip((gaps + hits) / counts, 0.0, 1.0)
    random = np.random.default_rng(derive_seed(seed, "consistency band"))
    rows = random.multinomial(int(counts.sum()), counts / counts.sum(), size=n_resamples)
    rates = random.binomial(rows, stated) / np.where(rows > 0, rows, np.nan)
    tail = (1.0 - LEVEL) / 2.0
    ends = np.nanquantile(rates, [tail, 1.0 - tail], axis=0)
    return np.clip(stated + np.sqrt(effect) * (ends - stated), 0.0, 1.0)


def came_rates(
    sums: Float[np.ndarray, "K 3 B"], *, n_resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Return the measured rate of every bin; none is empty."""
    counts, hits = sums[:, 1], sums[:, 2]
    drawn_hits = resample(hits, n_resamples=n_resamples, seed=seed)
    drawn_counts = resample(counts, n_resamples=n_resamples, seed=seed)
    rates = np.where(drawn_counts > 0, drawn_hits / np.maximum(drawn_counts, 1.0), np.nan)
    return [
        measured(
            float(hits[:, k].sum() / counts[:, k].sum()),
            rates[:, k],
            n=int(counts[:, k].sum()),
            n_blocks=int((counts[:, k] > 0).sum()),
        )
        for k in range(sums.shape[2])
    ]


def _spread_of_rows(gap: FloatArray, bins: IntArray) -> Float[np.ndarray, " B"]:
    """Return per bin the sum of squares of the gaps (n,) around their mean."""
    mean = np.bincount(bins, gap) / np.bincount(bins)
    return np.bincount(bins, (gap - mean[bins]) ** 2)
