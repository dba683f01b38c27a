"""How a model behaves, apart from how well it does: ranges, shares, confidence, missing numbers.

Shapes: n rows, C classes
"""

import math
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from walkforge.base import BoolArray, FloatArray, IntArray

from ._blocks import BlockPlan, plan_blocks
from ._calibration_diagram import came_rates, reliability_diagram
from ._measure import finite_rows
from ._rows import Rows, rows_of
from ._scores import log_losses
from ._tally import bin_sums, top_class

SURE = 0.99
"""Confidence above which a prediction counts as extreme, as in the original plan."""

HISTOGRAM_BINS = 20


def diagnostics(
    predictions: pl.DataFrame,
    *,
    classes: tuple[str, ...],
    train_log_loss: float | None = None,
    train_accuracy: float | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return everything that `diagnostics.json` holds, see `docs/evaluation.md`.

    Rows with NaN or infinite numbers are counted and left out of the rest. `train_log_loss` and
    `train_accuracy` are those of the finished model on its training rows: plain cross-entropy in
    nats, without smoothing, focal or class weights. Raises PredictionsError for an impossible
    table (probabilities that do not sum to 1 among others), EvaluationError where no row is left.
    """
    everything = rows_of(predictions, classes)
    rows = finite_rows(everything)
    losses = log_losses(rows.p, rows.label)
    plan = plan_blocks(rows, losses)
    predicted, confidence = top_class(rows.p)
    hit = predicted == rows.label
    drawing = {"n_resamples": n_resamples, "seed": seed}
    logits = _logits(predictions, classes)
    return {
        "n": len(everything),
        "probabilities": _counts_of_strange(everything.p),
        "logits": logits,
        "not_finite": int((~everything.finite).sum()) + logits.get("nan", 0) + logits.get("inf", 0),
        "class_shares": {
            "predicted": _shares(predicted, classes),
            "true": _shares(rows.label, classes),
        },
        "confidence": {
            "mean": float(confidence.mean()),
            "std": float(confidence.std()),
            "histogram": _histogram(confidence),
        },
        "share_above_99": float((confidence > SURE).mean()),
        "above_99": _sure_rows(rows, plan, confidence, hit, **drawing),
        "entropy": _entropy(rows.p),
        **_reliability(rows, plan, classes, **drawing),
        "members": _members(rows),
        "train_test_gap": _gap(
            train_log_loss, train_accuracy, float(losses.mean()), float(hit.mean())
        ),
    }


def _logits(predictions: pl.DataFrame, classes: tuple[str, ...]) -> dict[str, Any]:
    names = [f"logit_{name}" for name in classes]
    if not set(names) <= set(predictions.columns):
        return {"min": None, "max": None, "reason": "the table holds no logits"}
    columns = [predictions[name].cast(pl.Float64).fill_null(math.nan) for name in names]
    values = np.column_stack([column.to_numpy() for column in columns])
    finite = values[np.isfinite(values)]
    ends = {"min": float(finite.min()), "max": float(finite.max())} if len(finite) else {}
    return {"min": None, "max": None} | ends | _counts_of_strange(values)


def _counts_of_strange(values: Float[np.ndarray, "n C"]) -> dict[str, Any]:
    return {"nan": int(np.isnan(values).sum()), "inf": int(np.isinf(values).sum())}


def _shares(which: IntArray, classes: tuple[str, ...]) -> dict[str, float]:
    counts = np.bincount(which, minlength=len(classes))
    return {name: float(counts[k] / len(which)) for k, name in enumerate(classes)}


def _histogram(confidence: FloatArray) -> dict[str, Any]:
    counts, edges = np.histogram(confidence, bins=HISTOGRAM_BINS, range=(0.0, 1.0))
    return {"edges": np.round(edges, 10).tolist(), "counts": counts.tolist()}


def _entropy(p: FloatArray) -> dict[str, Any]:
    """Return the mean entropy of the rows, nats; log C is what a shrug would have."""
    inside = np.where(p > 0, p, 1.0)
    per_row = -(inside * np.log(inside)).sum(axis=1)
    return {"mean": float(per_row.mean()), "most": math.log(p.shape[1]), "unit": "nats"}


def _sure_rows(
    rows: Rows,
    plan: BlockPlan,
    confidence: FloatArray,
    hit: BoolArray,
    *,
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return how often the rows above 99 % confidence are right, with the interval."""
    sure = confidence > SURE
    n = int(sure.sum())
    if n == 0:
        return {"n": 0, "mean_confidence": None, "hit_rate": None}
    blocks, block = np.unique(plan.block_of(rows.time_ms[sure]), return_inverse=True)
    sums = bin_sums(confidence[sure], hit[sure], block, len(blocks))
    one_bin = sums.sum(axis=2, keepdims=True)
    rate = came_rates(one_bin, n_resamples=n_resamples, seed=seed)[0]
    return {"n": n, "mean_confidence": float(confidence[sure].mean()), "hit_rate": rate}


def _reliability(
    rows: Rows, plan: BlockPlan, classes: tuple[str, ...], *, n_resamples: int, seed: int
) -> dict[str, Any]:
    """Return the diagram of the confidence, those of each class, and their design effects."""
    predicted, confidence = top_class(rows.p)
    asked = {"confidence": (confidence, predicted == rows.label)}
    asked |= {name: (rows.p[:, k], rows.label == k) for k, name in enumerate(classes)}
    drawn = {
        name: reliability_diagram(
            stated, came, time_ms=rows.time_ms, plan=plan, n_resamples=n_resamples, seed=seed
        )
        for name, (stated, came) in asked.items()
    }
    return {
        "reliability": drawn["confidence"].named(stated="confidence", came="hit_rate"),
        "reliability_by_class": {
            name: drawn[name].named(stated="probability", came="frequency") for name in classes
        },
        "design_effects": {name: diagram.design_effect for name, diagram in drawn.items()},
    }


def _members(rows: Rows) -> dict[str, Any]:
    """Return how many networks there are, and which say the same whatever the bars."""
    order = np.lexsort((rows.seed, rows.fold, rows.symbol))
    member = np.column_stack([rows.symbol, rows.fold, rows.seed])[order]
    starts = np.flatnonzero(np.append(True, (np.diff(member, axis=0) != 0).any(axis=1)))
    p = rows.p[order]
    spread = (np.maximum.reduceat(p, starts) - np.minimum.reduceat(p, starts)).max(axis=1)
    alone = np.diff(np.append(starts, len(rows))) == 1
    constant = (spread < 1e-9) & ~alone
    names = [
        f"{rows.symbols[symbol]}, fold {fold}, seed {seed}"
        for symbol, fold, seed in member[starts][constant].tolist()
    ]
    return {"n": len(starts), "n_constant": len(names), "constant": names[:20]}


def _gap(
    train_loss: float | None, train_accuracy: float | None, test_loss: float, test_accuracy: float
) -> dict[str, Any]:
    """Return losses in training and in test; the gap is above 0 where training looks better."""
    known = train_loss is not None and math.isfinite(train_loss)
    gap: dict[str, Any] = {
        "train_log_loss": train_loss if known else None,
        "test_log_loss": test_loss,
        "gap": test_loss - train_loss if known and train_loss is not None else None,
        "train_accuracy": train_accuracy,
        "test_accuracy": test_accuracy,
        "unit": "nats",
    }
    return gap if known else gap | {"reason": "no training loss was handed over"}
