"""One block of measures: what `metrics.json` says of one set of rows."""

from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from walkforge.base import EvaluationError, FloatArray

from . import _scores as scores
from ._blocks import BlockPlan, plan_blocks
from ._bootstrap import block_signs, measured, resample
from ._calibration_measures import brier_entries, nothing_of_calibration, squared_error_entry
from ._rows import Rows, rows_of
from ._tally import CALIBRATION_BINS, Tally, tally

UNITS = {
    "accuracy": "fraction",
    "balanced_accuracy": "fraction",
    "mcc": "correlation",
    "log_loss": "nats",
    "brier": "squared distance",
    "ece": "fraction",
    "roc_auc": "fraction",
    "pr_auc": "fraction",
    "direction_auc": "fraction",
}

_ONE_CLASS = "only one class came true on these rows"
_UNDEFINED = {
    "balanced_accuracy": _ONE_CLASS,
    "mcc": "only one class came true, or only one was predicted, on these rows",
    "roc_auc": _ONE_CLASS,
    "pr_auc": _ONE_CLASS,
    "direction_auc": "down and up did not both come true on these rows",
}


def measure(
    predictions: pl.DataFrame,
    *,
    classes: tuple[str, ...],
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure one table of out-of-sample predictions.

    Every measure is `{"value", "low", "high", "n", "unit"}`, a number with its 95 % interval from
    a bootstrap of blocks of time; where it is undefined `value` is None and `reason` says why.
    `brier_parts` holds three of them, which add up to `brier`.
    Beside them `confusion_matrix` (`counts[true][predicted]`), `n` rows, `n_blocks` and
    `n_not_finite`: rows with NaN or infinite probabilities, which are left out.
    Point values are exact; the intervals of `roc_auc` and `pr_auc` come from histograms of the
    scores.
    The order of rows does not matter. Raises PredictionsError for an impossible table,
    EvaluationError where no row is left.
    """
    rows = rows_of(predictions, classes)
    plan = plan_of(rows)
    return block_of_measures(rows, plan, classes=classes, n_resamples=n_resamples, seed=seed)


def plan_of(rows: Rows) -> BlockPlan:
    """Return the blocks of time of the rows whose probabilities are finite."""
    finite = finite_rows(rows)
    return plan_blocks(finite, scores.log_losses(finite.p, finite.label))


def finite_rows(rows: Rows) -> Rows:
    """Return the rows with finite probabilities; raise EvaluationError where there are none."""
    finite = rows.finite
    if not finite.any():
        raise EvaluationError(
            f"none of {len(rows)} rows has finite probabilities; the network diverged. "
            "Lower its learning rate."
        )
    return rows if finite.all() else rows.take(finite)


def block_of_measures(
    rows: Rows, plan: BlockPlan, *, classes: tuple[str, ...], n_resamples: int, seed: int
) -> dict[str, Any]:
    """Return the block M of DESIGN for some rows; those that are not finite are left out."""
    n_all = len(rows)
    finite = rows.finite
    if not finite.any():
        reason = f"none of {n_all} rows has finite probabilities"
        return _nothing(classes, n_all, reason)
    rows = rows if finite.all() else rows.take(finite)
    present, block = np.unique(plan.block_of(rows.time_ms), return_inverse=True)
    per_block = tally(rows, block, len(present))
    whole = per_block.total()
    drawn = per_block.shaped(resample(per_block.flat(), n_resamples=n_resamples, seed=seed))
    points, draws = _values(whole), _values(drawn)
    _make_areas_exact(rows, points, draws)
    _centre_calibration_error(points, draws)
    common = {"n": len(rows), "n_blocks": len(present)}
    chance = {"balanced_accuracy": 1.0 / len(classes), "direction_auc": 0.5}
    result: dict[str, Any] = {
        name: measured(
            float(points[name][0]),
            draws[name],
            unit=unit,
            undefined=_UNDEFINED.get(name, ""),
            above=chance.get(name),
            **common,
        )
        for name, unit in UNITS.items()
    }
    _widen_by_noise(result["ece"], per_block, n_resamples=n_resamples, seed=seed)
    result["ece_squared"] = squared_error_entry(per_block, whole, drawn, **common)
    result["brier_parts"] = brier_entries(rows, per_block, whole, drawn, **common)
    counts = whole.confusion[0].astype(np.int64).tolist()
    result["confusion_matrix"] = {"labels": list(classes), "counts": counts}
    return result | common | {"n_not_finite": n_all - len(rows)}


def _values(sums: Tally) -> dict[str, FloatArray]:
    """Return every measure for each leading entry of the sums."""
    areas = [scores.binned_areas(counts[:, 1], counts[:, 0]) for counts in sums.scores]
    return {
        "accuracy": scores.accuracy(sums.confusion),
        "balanced_accuracy": scores.balanced_accuracy(sums.confusion),
        "mcc": scores.matthews(sums.confusion),
        "log_loss": sums.log_loss / sums.n,
        "brier": sums.brier / sums.n,
        "ece": scores.calibration_error(sums.confidence[:, 0], sums.n),
        "roc_auc": _mean_where_defined(np.stack([roc for roc, _ in areas])),
        "pr_auc": _mean_where_defined(np.stack([pr for _, pr in areas])),
        "direction_auc": scores.ratio(sums.direction[:, 0], sums.direction[:, 1]),
    }


def _mean_where_defined(per_class: Float[np.ndarray, "C lead"]) -> FloatArray:
    """Return the mean over the classes present; NaN where there is none."""
    defined = np.isfinite(per_class)
    total = np.where(defined, per_class, 0.0).sum(axis=0)
    return np.where(defined.any(axis=0), total / np.maximum(defined.sum(axis=0), 1), np.nan)


def _make_areas_exact(
    rows: Rows, points: dict[str, FloatArray], draws: dict[str, FloatArray]
) -> None:
    """Put exact areas in place of binned ones and move the resamples by the difference."""
    areas = [
        scores.exact_areas(rows.p[:, k], (rows.label == k).astype(np.int64))
        for k in range(rows.n_classes)
    ]
    exact_points = {
        name: _mean_where_defined(np.array([[area[column]] for area in areas]))
        for name, column in (("roc_auc", 0), ("pr_auc", 1))
    }
    for name, exact in exact_points.items():
        draws[name] = draws[name] + (exact - points[name])
        points[name] = exact


def _centre_calibration_error(points: dict[str, FloatArray], draws: dict[str, FloatArray]) -> None:
    """Move the resamples so that they lie around the value.

    A resample adds noise to noise, and noise can only widen |confidence - hit rate|: uncentred,
    the value would often lie below its own interval.
    """
    if len(draws["ece"]):
        shifted = draws["ece"] - draws["ece"].mean() + points["ece"]
        draws["ece"] = np.maximum(shifted, 0.0)


def _widen_by_noise(ece: dict[str, Any], per_block: Tally, *, n_resamples: int, seed: int) -> None:
    """Add what noise alone would show, and let the interval reach down by it.

    The value stands too high by up to that much, so that without this the interval of a
    well-calibrated model would hardly ever hold its true error (measured: 15 to 50 in 100).
    """
    noise = _noise_of_calibration_error(per_block, n_resamples=n_resamples, seed=seed)
    ece |= {"bins": CALIBRATION_BINS, "if_calibrated": noise}
    if noise is not None and ece["low"] is not None:
        ece["low"] = max(0.0, ece["low"] - noise)


def _noise_of_calibration_error(per_block: Tally, *, n_resamples: int, seed: int) -> float | None:
    """Return the error that a perfectly calibrated model would show on these rows.

    Without each bin's own gap only noise is left of confidence less hit, and noise is as likely
    to come out the other way round: turning the sign of whole blocks keeps its size and memory.
    """
    if not n_resamples:
        return None
    gaps, counts = per_block.confidence[:, 0], per_block.confidence[:, 1]
    share = gaps.sum(axis=0) / np.maximum(counts.sum(axis=0), 1.0)
    noise = gaps - share * counts
    signs = block_signs(len(noise), n_resamples, seed)
    n = np.full(n_resamples, per_block.n.sum())
    return float(scores.calibration_error(signs @ noise, n).mean())


def _nothing(classes: tuple[str, ...], n_all: int, reason: str) -> dict[str, Any]:
    """Return a block without numbers."""
    nothing = {"value": None, "low": None, "high": None, "n": 0, "reason": reason}
    zeros = [[0] * len(classes) for _ in classes]
    measures = {name: nothing | {"unit": unit} for name, unit in UNITS.items()}
    return (
        measures
        | nothing_of_calibration(nothing)
        | {
            "confusion_matrix": {"labels": list(classes), "counts": zeros},
            "n": 0,
            "n_blocks": 0,
            "n_not_finite": n_all,
        }
    )
