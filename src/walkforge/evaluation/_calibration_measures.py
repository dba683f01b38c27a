"""The entries of calibration in a block of measures: values without bias, and their intervals.

Shapes: K blocks, R resamples
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from walkforge.base import FloatArray

from ._bootstrap import measured
from ._calibration import (
    brier_scale,
    noise_of_blocks,
    noise_of_rows,
    noise_of_shares,
    plain_parts,
    reliability,
    squared_error,
    uncertainty,
)
from ._rows import Rows
from ._tally import CALIBRATION_BINS, Tally

_SQUARED = "squared fraction"
_DISTANCE = "squared distance"
_PARTS = ("reliability", "resolution", "uncertainty")
_NO_NOISE = "what noise adds is not known: rows of a bin lie in a single block of time"


def squared_error_entry(
    per_block: Tally, whole: Tally, drawn: Tally, **common: int
) -> dict[str, Any]:
    """Return the mean squared gap of confidence and hit rate, less what noise adds to it.

    Below 0 it is less than noise alone would show. `plain` has the noise in it; `independent`
    takes off what noise would add if rows were independent, as Kumar, Liang and Ma (2019) do.
    """
    plain = float(squared_error(whole.confidence)[0])
    value = plain - noise_of_blocks(per_block.confidence)
    around = _around(value, squared_error(drawn.confidence))
    independent = plain - noise_of_rows(whole.confidence[0])
    return measured(value, around, unit=_SQUARED, undefined=_NO_NOISE, **common) | {
        "plain": plain,
        "independent": independent if np.isfinite(independent) else None,
        "bins": CALIBRATION_BINS,
    }


def brier_entries(
    rows: Rows, per_block: Tally, whole: Tally, drawn: Tally, **common: int
) -> dict[str, Any]:
    """Return reliability - resolution + uncertainty = Brier score, each without its bias.

    The bias of the first is the noise of the gaps, of the last that of the shares of classes
    (after Ferro and Fricker 2012, but with blocks of time as what is independent). Resolution is
    the generalised one of Stephenson, Coelho and Jolliffe (2008): what bins lose is back in it.
    `plain` holds the five parts as they come out of the bins.
    """
    n_classes = per_block.each_class.shape[1]
    noise = sum(noise_of_blocks(per_block.each_class[:, k]) for k in range(n_classes))
    points = {
        "reliability": float(reliability(whole)[0]) - brier_scale(whole) * noise,
        "uncertainty": float(uncertainty(whole)[0]) + noise_of_shares(per_block),
    }
    draws = {"reliability": reliability(drawn), "uncertainty": uncertainty(drawn)}
    _add_resolution(points, float((whole.brier / whole.n)[0]))
    _add_resolution(draws, drawn.brier / drawn.n)
    entries = {
        name: measured(
            points[name],
            _around(points[name], draws[name]),
            unit=_DISTANCE,
            undefined=_NO_NOISE,
            **common,
        )
        for name in _PARTS
    }
    return {**entries, "plain": plain_parts(rows, whole), "bins": CALIBRATION_BINS}


def nothing_of_calibration(nothing: dict[str, Any]) -> dict[str, Any]:
    """Return the same keys without numbers."""
    empty = nothing | {"unit": _DISTANCE}
    return {
        "ece_squared": nothing | {"unit": _SQUARED},
        "brier_parts": dict.fromkeys(_PARTS, empty) | {"plain": None},
    }


def _add_resolution(parts: dict[str, Any], brier: Any) -> None:
    parts["resolution"] = parts["reliability"] + parts["uncertainty"] - brier


def _around(value: float, drawn: Float[np.ndarray, " R"]) -> FloatArray:
    """Return resamples that lie around the value: they add noise to noise, it has none."""
    return drawn - drawn.mean() + value if len(drawn) else drawn
