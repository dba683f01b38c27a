"""Two tables of predictions side by side on the same rows, and what one gains over the other.

Shapes: n pairs, C classes, K blocks
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from walkforge.base import BoolArray, FloatArray, IntArray

from ._bootstrap import measured, resample
from ._rows import Rows
from ._scores import log_losses, mean_over_classes
from ._tally import grid_sums, top_class

_UNITS = {"log_loss": "nats", "accuracy": "fraction", "balanced_accuracy": "fraction"}


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Two models side by side, one pair per row or per decision (n,)."""

    label: IntArray
    saved: FloatArray
    """Log loss of the rival less that of the model, nats."""
    gained: FloatArray
    """Hit of the model less hit of the rival, -1 to 1."""

    @property
    def finite(self) -> BoolArray:
        """Tell which pairs have a loss on both sides (n,)."""
        return np.isfinite(self.saved)

    def take(self, chosen: BoolArray) -> "Pairs":
        """Return the pairs of a mask (n,)."""
        return Pairs(self.label[chosen], self.saved[chosen], self.gained[chosen])

    def sums(self, group: IntArray, n_groups: int, n_classes: int) -> FloatArray:
        """Return per group: log loss saved, then hits gained (C,), then rows (C,) per class."""
        shape = (n_groups, n_classes)
        saved = np.bincount(group, self.saved, minlength=n_groups)[:, None]
        gained = grid_sums(group, self.label, self.gained, shape)
        counts = grid_sums(group, self.label, np.ones(len(self.label)), shape)
        return np.concatenate([saved, gained, counts], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Gains:
    """The entry of each gain, and its resamples (R,)."""

    entries: dict[str, dict[str, Any]]
    drawn: dict[str, FloatArray]
    n_blocks: int


def losses_and_hits(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """Return log loss and hit (n,); both NaN where a probability is not finite."""
    finite = rows.finite
    safe = np.where(finite[:, None], rows.p, 1.0 / rows.n_classes)
    loss = np.where(finite, log_losses(safe, rows.label), np.nan)
    hit = (top_class(safe)[0] == rows.label).astype(np.float64)
    return loss, np.where(finite, hit, np.nan)


def gains_of(
    pairs: Pairs, block: IntArray, n_classes: int, *, n_resamples: int, seed: int
) -> Gains:
    """Return the gain in log loss, accuracy and balanced accuracy, each with its interval.

    `block` (n,) is the block of time of each pair; every loss must be finite.
    """
    few = "fewer than two classes came true on these rows"
    undefined = few if len(pairs.label) else "no decision of which all seeds have a finite loss"
    blocks, position = np.unique(block, return_inverse=True)
    per_block = pairs.sums(position, len(blocks), n_classes)
    drawn = _gains(resample(per_block, n_resamples=n_resamples, seed=seed))
    entries = {
        kind: measured(
            float(value[0]),
            drawn[kind],
            n=len(pairs.label),
            n_blocks=len(blocks),
            unit=_UNITS[kind],
            above=0.0,
            undefined=undefined,
        )
        for kind, value in _gains(per_block.sum(axis=0, keepdims=True)).items()
    }
    return Gains(entries, drawn, len(blocks))


def add_parts(entries: dict[str, dict[str, Any]], ways: Mapping[str, dict[str, Any]]) -> None:
    """Put the plain gains of every way to set rows apart (`gains_apart`) into each entry."""
    for kind, entry in entries.items():
        entry |= {
            way: {key: gains[kind] for key, gains in groups.items()} for way, groups in ways.items()
        }


def gains_apart(
    pairs: Pairs, group: IntArray, n_classes: int, names: tuple[str, ...] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the plain gains of every group, each with its rows; groups are numbers in `names`."""
    values, position = np.unique(group, return_inverse=True)
    gains = _gains(pairs.sums(position, len(values), n_classes))
    counts = np.bincount(position)
    return {
        names[int(value)] if names else str(value): {
            kind: {
                "value": float(gain[row]) if np.isfinite(gain[row]) else None,
                "n": int(counts[row]),
            }
            for kind, gain in gains.items()
        }
        for row, value in enumerate(values)
    }


def _gains(sums: Float[np.ndarray, "lead S"]) -> dict[str, FloatArray]:
    """Return the three gains for each leading entry of sums as `Pairs.sums` lays them out."""
    n_classes = (sums.shape[1] - 1) // 2
    saved, gained, counts = sums[:, 0], sums[:, 1 : 1 + n_classes], sums[:, 1 + n_classes :]
    n = np.maximum(counts.sum(axis=1), 1.0)
    return {
        "log_loss": np.where(counts.any(axis=1), saved / n, np.nan),
        "accuracy": np.where(counts.any(axis=1), gained.sum(axis=1) / n, np.nan),
        "balanced_accuracy": mean_over_classes(gained, counts),
    }
