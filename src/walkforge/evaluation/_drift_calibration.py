"""How well probabilities mean what they say, and whether later ones mean it less.

Shapes: n rows, K blocks, B bins, R resamples
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from walkforge.base import FloatArray

from ._blocks import BlockPlan
from ._bootstrap import block_signs, measured, resample
from ._measure import finite_rows, plan_of
from ._rows import Rows, classes_of, rows_of
from ._scores import calibration_error, log_losses
from ._tally import CALIBRATION_BINS, equal_mass_bins, grid_sums, top_class

_RESAMPLES = 1000
_TWO_SIDED_95 = 1.959963984540054
_SUMS = ("n", "log_loss", "entropy", "confidence", "hit")


def calibration_state(predictions: pl.DataFrame, *, seed: int = 0) -> dict[str, Any]:
    """Return how a table of predictions with outcomes is calibrated.

    `log_loss` (nats); `excess_log_loss`: that less the entropy of the same probabilities, the log
    loss that they claim, so that a market that is harder to foretell, and known to be, moves it
    not; `overconfidence`: mean confidence in the top class less its hit rate; `ece`, as of
    `measure`. Each with the 95 % interval of a bootstrap of blocks of time. `mean_confidence`,
    `hit_rate`, `n`, `n_blocks`; `reliability`: `confidence`, `hit_rate` and `n` of every bin.
    Raises PredictionsError for an impossible table, EvaluationError where no row is left.
    """
    rows = finite_rows(rows_of(predictions, classes_of(predictions)))
    plan = plan_of(rows)
    sums, gaps, sizes = _sums(rows, plan)
    whole = sums.sum(axis=0)
    every = np.concatenate([sums, gaps], axis=1)
    drawn = resample(every, n_resamples=_RESAMPLES, seed=seed)
    points = _values(every.sum(axis=0)[None])
    draws = _values(drawn)
    draws["ece"] = np.maximum(draws["ece"] - draws["ece"].mean() + points["ece"], 0.0)
    units = {"log_loss": "nats", "excess_log_loss": "nats"}
    n, n_blocks = len(rows), len(sums)
    state: dict[str, Any] = {
        name: measured(
            float(points[name][0]),
            draws[name],
            n=n,
            n_blocks=n_blocks,
            unit=units.get(name, "fraction"),
        )
        for name in points
    }
    noise = _noise(gaps, sizes, n, seed=seed)
    state["ece"] |= {"bins": CALIBRATION_BINS, "if_calibrated": noise}
    if state["ece"]["low"] is not None:
        state["ece"]["low"] = max(0.0, state["ece"]["low"] - noise)
    return state | {
        "mean_confidence": float(whole[_SUMS.index("confidence")] / n),
        "hit_rate": float(whole[_SUMS.index("hit")] / n),
        "n": n,
        "n_blocks": n_blocks,
        "reliability": _reliability(rows),
    }


def calibration_drift(reference: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two states of `calibration_state` differ by; above 0 the later one is worse.

    Per measure `value`, and `low`, the lower end of a 95 % interval of the difference, made of the
    intervals of both (Zou and Donner 2008); `p_value` is one-sided, of excess log loss
    and ece, the smaller one doubled. None, with `reason`, where one has no interval.
    """
    for state, prefix in ((reference, "in the test "), (later, "")):
        if "ece" not in state:
            return {"p_value": None, "reason": f"{prefix}{state['reason']}"}
    found: dict[str, Any] = {
        name: _difference(reference[name], later[name])
        for name in ("log_loss", "excess_log_loss", "ece")
    }
    deciding = [found[name]["p_value"] for name in ("excess_log_loss", "ece")]
    if any(p is None for p in deciding):
        few = next(one for one in (later, reference) if one["ece"]["low"] is None)
        of = "later" if few is later else "tested"
        reason = f"{few['n']} {of} rows: {few['ece'].get('reason', 'no interval')}"
        return found | {"p_value": None, "reason": reason}
    return found | {"p_value": min(1.0, 2.0 * min(deciding))}


def _difference(reference: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    from scipy.stats import norm

    if reference["high"] is None or later["low"] is None:
        return {"value": None, "low": None, "p_value": None}
    value = later["value"] - reference["value"]
    half = np.hypot(later["value"] - later["low"], reference["high"] - reference["value"])
    deviation = max(half / _TWO_SIDED_95, 1e-12)
    p_value = float(norm.sf(value / deviation))
    return {"value": value, "low": float(value - half), "p_value": p_value}


def _sums(rows: Rows, plan: BlockPlan) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return sums per block (K, 5), gaps per block and bin (K, B), and rows likewise."""
    present, block = np.unique(plan.block_of(rows.time_ms), return_inverse=True)
    predicted, confidence = top_class(rows.p)
    hit = (predicted == rows.label).astype(np.float64)
    clipped = np.clip(rows.p, np.finfo(np.float64).tiny, 1.0)
    entropy = -(rows.p * np.log(clipped)).sum(axis=1)
    columns = [np.ones(len(rows)), log_losses(rows.p, rows.label), entropy, confidence, hit]
    per_block = [np.bincount(block, one, len(present)) for one in columns]
    sums = np.stack(per_block, axis=1).astype(np.float64)
    bins = equal_mass_bins(confidence, CALIBRATION_BINS)
    grid = (len(present), int(bins.max()) + 1)
    gaps = grid_sums(block, bins, confidence - hit, grid)
    return sums, gaps, grid_sums(block, bins, np.ones(len(rows)), grid)


def _values(sums: Float[np.ndarray, "R S"]) -> dict[str, FloatArray]:
    """Return every measure for each row of sums."""
    n, log_loss, entropy, confidence, hit = sums[:, : len(_SUMS)].T
    return {
        "log_loss": log_loss / n,
        "excess_log_loss": (log_loss - entropy) / n,
        "overconfidence": (confidence - hit) / n,
        "ece": calibration_error(sums[:, len(_SUMS) :], n),
    }


def _noise(gaps: FloatArray, sizes: FloatArray, n: int, *, seed: int) -> float:
    """Return the error that a calibrated model would show here: see `_measure`, likewise."""
    noise = gaps - gaps.sum(axis=0) / sizes.sum(axis=0) * sizes
    signs = block_signs(len(noise), _RESAMPLES, seed)
    return float(calibration_error(signs @ noise, np.full(_RESAMPLES, float(n))).mean())


def _reliability(rows: Rows) -> list[dict[str, Any]]:
    predicted, confidence = top_class(rows.p)
    hit = predicted == rows.label
    bins = equal_mass_bins(confidence, CALIBRATION_BINS)
    return [
        {
            "confidence": float(confidence[bins == one].mean()),
            "hit_rate": float(hit[bins == one].mean()),
            "n": int((bins == one).sum()),
        }
        for one in range(int(bins.max()) + 1)
    ]
