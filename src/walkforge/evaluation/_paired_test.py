"""Is one model better than another? Tested on the decisions that both made out of sample.

Shapes: k common decisions
"""

from typing import Any

import numpy as np
import polars as pl

from walkforge.base import FloatArray, IntArray, utc_text

from ._blocks import plan_times
from ._bootstrap import measured, p_value, resample
from ._decisions import LABEL_UNCLEAR, Decisions, decisions_of, symbols_of
from ._pairs import Pairs, add_parts, gains_apart, gains_of
from ._rows import classes_of

LABELS_MAY_DIFFER_FRAC = 0.05
"""Limits fitted on other training slices move a few labels near them; more is another question."""


def paired_test(
    reference: pl.DataFrame,
    other: pl.DataFrame,
    *,
    labels_may_differ_frac: float = LABELS_MAY_DIFFER_FRAC,
    n_resamples: int = 4000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return what `other` gains over `reference` on common decisions; above 0 it is better.

    A decision is a timestamp, symbol and timeframe; its losses are averaged over seeds. Gains in
    `log_loss` (nats), `accuracy` and `balanced_accuracy` have an interval from a bootstrap of
    blocks of time, drawn in pairs, a two-sided `p_value`, and plain values `by_symbol`.
    `comparable` is False, with the `reason`, where nothing is common, the classes are not the
    same, or more labels differ than allowed; rows whose labels differ are otherwise left out and
    counted. Raises PredictionsError or EvaluationError for an impossible table.
    """
    names, symbols = (classes_of(reference), classes_of(other)), symbols_of(reference, other)
    ours, theirs = (
        decisions_of(table, classes, symbols)
        for table, classes in zip((reference, other), names, strict=True)
    )
    both = _common(ours, theirs, len(symbols))
    result = _counts(ours, theirs, *both)
    reason = _why_not(result, names, labels_may_differ_frac)
    if reason:
        return result | {"comparable": False, "reason": reason}
    return result | _tested(*both, symbols, len(names[0]), n_resamples=n_resamples, seed=seed)


def paired_mean(
    time_ms: IntArray, difference: FloatArray, *, unit: str, n_resamples: int = 4000, seed: int = 0
) -> dict[str, Any]:
    """Return the mean of finite differences (n,) at rising times, with interval and `p_value`.

    For what two models earned on the same days: blocks as long as the memory of the differences.
    """
    plan = plan_times(time_ms, np.full(len(time_ms), -1), difference)
    block = plan.block_of(time_ms)
    sums = np.column_stack(
        [np.bincount(block, values, plan.n_blocks) for values in (difference, np.ones(len(block)))]
    )
    drawn = resample(sums, n_resamples=n_resamples, seed=seed)
    means = drawn[:, 0] / drawn[:, 1]
    n, n_blocks = len(difference), plan.n_blocks
    entry = measured(float(difference.mean()), means, n=n, n_blocks=n_blocks, unit=unit)
    return entry | {"n_blocks": n_blocks, "p_value": p_value(means, n_blocks)}


def _common(ours: Decisions, theirs: Decisions, n_symbols: int) -> tuple[Decisions, Decisions]:
    """Return the decisions (k,) that both made, in the same order."""
    one, other = (side.time_ms * n_symbols + side.symbol for side in (ours, theirs))
    _, left, right = np.intersect1d(one, other, assume_unique=True, return_indices=True)
    return ours.take(left), theirs.take(right)


def _agree(left: Decisions, right: Decisions) -> np.ndarray:
    return (left.label == right.label) & (left.label != LABEL_UNCLEAR)


def _counts(
    ours: Decisions, theirs: Decisions, left: Decisions, right: Decisions
) -> dict[str, Any]:
    """Return how much is common, and what share of each table that is."""
    finite = np.isfinite(left.loss) & np.isfinite(right.loss)
    agree = _agree(left, right)
    return {
        "n_common": len(left),
        "share_of_reference": len(left) / len(ours),
        "share_of_other": len(left) / len(theirs),
        "n_labels_differ": int((~agree).sum()),
        "n_not_finite": int((agree & ~finite).sum()),
        "n": int((agree & finite).sum()),
        "from": utc_text(int(left.time_ms[0])) if len(left) else None,
        "to": utc_text(int(left.time_ms[-1])) if len(left) else None,
    }


def _why_not(
    counts: dict[str, Any], names: tuple[tuple[str, ...], ...], labels_may_differ_frac: float
) -> str:
    """Return why the losses cannot be compared, or nothing."""
    if not counts["n_common"]:
        return "no row is common to both: no symbol, timeframe and time that both predicted"
    if names[0] != names[1]:
        return f"the classes are not the same: {', '.join(names[0])} and {', '.join(names[1])}"
    frac = counts["n_labels_differ"] / counts["n_common"]
    if frac > labels_may_differ_frac:
        return (
            f"{frac:.1%} of the common rows have another label in the other run; "
            "a loss against one outcome says nothing about the other"
        )
    if not counts["n"]:
        return "no common row has finite probabilities in both"
    return ""


def _tested(
    left: Decisions,
    right: Decisions,
    symbols: tuple[str, ...],
    n_classes: int,
    *,
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    whole = Pairs(left.label, left.loss - right.loss, right.hit - left.hit)
    usable = whole.finite & _agree(left, right)
    pairs, left, right = whole.take(usable), left.take(usable), right.take(usable)
    plan = plan_times(left.time_ms, np.maximum(left.span_ms, right.span_ms), pairs.saved)
    block = plan.block_of(left.time_ms)
    gains = gains_of(pairs, block, n_classes, n_resamples=n_resamples, seed=seed)
    for kind, entry in gains.entries.items():
        entry["p_value"] = p_value(gains.drawn[kind], gains.n_blocks)
    add_parts(gains.entries, {"by_symbol": gains_apart(pairs, left.symbol, n_classes, symbols)})
    return {
        "comparable": True,
        "identical": not (pairs.saved.any() or pairs.gained.any()),
        "bootstrap": plan.as_dict() | {"n_resamples": n_resamples, "seed": seed},
        **gains.entries,
    }
