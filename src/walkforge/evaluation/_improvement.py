"""What a model gains over a baseline on the very same rows.

Shapes: n rows of the model, k of the baseline (one per time, symbol and fold), C classes, K blocks
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from walkforge.base import EvaluationError, FloatArray, IntArray

from ._blocks import BlockPlan
from ._bootstrap import measured, resample
from ._rows import Rows, new_keys, place_of
from ._scores import log_losses, mean_over_classes
from ._tally import grid_sums, top_class

# Quarters of the tested time: where there is one fold only, stability is asked of them.
_PERIODS = 4
_UNITS = {"log_loss": "nats", "accuracy": "fraction", "balanced_accuracy": "fraction"}


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Model and baseline side by side, one pair per row of the model or per decision (n,)."""

    label: IntArray
    saved: FloatArray
    """Log loss of the baseline less that of the model, nats."""
    gained: FloatArray
    """Hit of the model less hit of the baseline, -1 to 1."""

    def sums(self, group: IntArray, n_groups: int, n_classes: int) -> FloatArray:
        """Return per group: log loss saved, then hits gained (C,), then rows (C,) per class."""
        shape = (n_groups, n_classes)
        saved = np.bincount(group, self.saved, minlength=n_groups)[:, None]
        gained = grid_sums(group, self.label, self.gained, shape)
        counts = grid_sums(group, self.label, np.ones(len(self.label)), shape)
        return np.concatenate([saved, gained, counts], axis=1)


def improvement(
    model: Rows, baseline: Rows, plan: BlockPlan, *, name: str, n_resamples: int, seed: int
) -> dict[str, Any]:
    """Return the gain in log loss, accuracy and balanced accuracy; above 0 the model is better.

    The losses of a decision are averaged over the model's seeds, then set against the
    baseline's. Each gain has a paired block-bootstrap interval, and plain values `by_fold`,
    `by_period` (quarters of the tested time), `by_symbol` and `by_seed`.
    Decisions with a probability that is not finite are left out.
    """
    decision = _match(model, baseline, name)
    per_row, per_decision = _pairs(model, baseline, decision)
    finite_rows, finite = np.isfinite(per_row.saved), np.isfinite(per_decision.saved)
    rows, kept = _take(per_row, finite_rows), _take(per_decision, finite)
    blocks, block = np.unique(plan.block_of(baseline.time_ms[finite]), return_inverse=True)
    n_classes, n = model.n_classes, int(finite.sum())
    per_block = kept.sums(block, len(blocks), n_classes)
    drawn = _gains(resample(per_block, n_resamples=n_resamples, seed=seed))
    period = plan.block_of(baseline.time_ms[finite]) * _PERIODS // plan.n_blocks
    apart = {
        "by_period": _apart(kept, period, n_classes),
        "by_fold": _apart(kept, baseline.fold[finite], n_classes),
        "by_symbol": _named(_apart(kept, baseline.symbol[finite], n_classes), model.symbols),
        "by_seed": _apart(rows, model.seed[finite_rows], n_classes),
    }
    return {
        kind: measured(
            float(value[0]),
            drawn[kind],
            n=n,
            n_blocks=len(blocks),
            unit=_UNITS[kind],
            undefined="fewer than two classes came true on these rows",
        )
        | {
            way: {key: gains[kind] for key, gains in groups.items()}
            for way, groups in apart.items()
        }
        for kind, value in _gains(per_block.sum(axis=0, keepdims=True)).items()
    }


def _match(model: Rows, baseline: Rows, name: str) -> IntArray:
    """Return the baseline's row of each row of the model (n,), or refuse what does not match."""
    first = new_keys(model, with_seed=False)
    decision = np.cumsum(first) - 1
    ours, theirs = _keys(model)[first], _keys(baseline)
    if not np.array_equal(ours, theirs):
        missing = len({*map(tuple, ours.tolist())} - {*map(tuple, theirs.tolist())})
        strange = len({*map(tuple, theirs.tolist())} - {*map(tuple, ours.tolist())})
        raise EvaluationError(
            f"baseline {name!r}: {len(theirs)} rows where the model has {len(ours)} "
            f"(timestamp, symbol, fold); {missing} of the model's are missing there, {strange} "
            "are only there. Give both the same test rows, the baseline once and not per seed."
        )
    differs = model.label != baseline.label[decision]
    if differs.any():
        raise EvaluationError(
            f"baseline {name!r}: {int(differs.sum())} labels differ from the model's, the first "
            f"for {place_of(model, int(np.argmax(differs)))}. Give both the same labels."
        )
    return decision


def _keys(rows: Rows) -> np.ndarray:
    """Return time, symbol and fold of every row (n, 3)."""
    return np.column_stack([rows.time_ms, rows.symbol, rows.fold])


def _pairs(model: Rows, baseline: Rows, decision: IntArray) -> tuple[_Pairs, _Pairs]:
    """Return the pairs per row of the model, and per decision with the seeds averaged."""
    model_loss, model_hit = _losses_and_hits(model)
    loss, hit = _losses_and_hits(baseline)
    n_seeds = np.bincount(decision)
    per_row = _Pairs(model.label, loss[decision] - model_loss, model_hit - hit[decision])
    per_decision = _Pairs(
        baseline.label,
        loss - np.bincount(decision, model_loss) / n_seeds,
        np.bincount(decision, model_hit) / n_seeds - hit,
    )
    return per_row, per_decision


def _losses_and_hits(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """Return log loss and hit (n,); both NaN where a probability is not finite."""
    finite = rows.finite
    safe = np.where(finite[:, None], rows.p, 1.0 / rows.n_classes)
    loss = np.where(finite, log_losses(safe, rows.label), np.nan)
    hit = (top_class(safe)[0] == rows.label).astype(np.float64)
    return loss, np.where(finite, hit, np.nan)


def _gains(sums: Float[np.ndarray, "lead S"]) -> dict[str, FloatArray]:
    """Return the three gains for each leading entry of sums as `_Pairs.sums` lays them out."""
    n_classes = (sums.shape[1] - 1) // 2
    saved, gained, counts = sums[:, 0], sums[:, 1 : 1 + n_classes], sums[:, 1 + n_classes :]
    n = np.maximum(counts.sum(axis=1), 1.0)
    return {
        "log_loss": np.where(counts.any(axis=1), saved / n, np.nan),
        "accuracy": np.where(counts.any(axis=1), gained.sum(axis=1) / n, np.nan),
        "balanced_accuracy": mean_over_classes(gained, counts),
    }


def _apart(pairs: _Pairs, group: IntArray, n_classes: int) -> dict[str, dict[str, Any]]:
    """Return the plain gains of every group, each with its number of rows."""
    values, position = np.unique(group, return_inverse=True)
    gains = _gains(pairs.sums(position, len(values), n_classes))
    counts = np.bincount(position)
    return {
        str(value): {
            kind: {
                "value": float(gain[row]) if np.isfinite(gain[row]) else None,
                "n": int(counts[row]),
            }
            for kind, gain in gains.items()
        }
        for row, value in enumerate(values)
    }


def _named(groups: Mapping[str, dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    return {names[int(number)]: gains for number, gains in groups.items()}


def _take(pairs: _Pairs, chosen: np.ndarray) -> _Pairs:
    return _Pairs(pairs.label[chosen], pairs.saved[chosen], pairs.gained[chosen])
