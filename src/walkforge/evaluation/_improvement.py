"""What a model gains over a baseline on the very same rows.

Shapes: n rows of the model, k of the baseline (one per time, symbol and fold)
"""

from dataclasses import replace
from typing import Any

import numpy as np

from walkforge.base import EvaluationError, IntArray

from ._blocks import BlockPlan
from ._pairs import Pairs, add_parts, gains_apart, gains_of, losses_and_hits
from ._rows import Rows, new_keys, place_of
from ._scores import direction_odds

PRIOR = "prior"
"""What costs nothing, and is hardest to beat in log loss of what needs no learning: the shares of
the classes in the training rows."""

# Quarters of the tested time: where there is one fold only, stability is asked of them.
_PERIODS = 4


def improvement(
    model: Rows, baseline: Rows, plan: BlockPlan, *, name: str, n_resamples: int, seed: int
) -> dict[str, Any]:
    """Return the gain in log loss, accuracy and balanced accuracy; above 0 the model is better.

    The losses of a decision are averaged over the model's seeds, then set against the
    baseline's. Each gain has a paired block-bootstrap interval, and plain values `by_fold`,
    `by_period` (quarters of the tested time), `by_symbol` and `by_seed`.
    Decisions with a probability that is not finite are left out.
    """
    per_row, per_decision = paired(model, baseline, name)
    rows, kept = per_row.take(per_row.finite), per_decision.take(per_decision.finite)
    asked = baseline.take(per_decision.finite)
    block, n_classes = plan.block_of(asked.time_ms), model.n_classes
    gains = gains_of(kept, block, n_classes, n_resamples=n_resamples, seed=seed)
    add_parts(
        gains.entries,
        {
            "by_period": gains_apart(kept, block * _PERIODS // plan.n_blocks, n_classes),
            "by_fold": gains_apart(kept, asked.fold, n_classes),
            "by_symbol": gains_apart(kept, asked.symbol, n_classes, model.symbols),
            "by_seed": gains_apart(rows, model.seed[per_row.finite], n_classes),
        },
    )
    return gains.entries


def paired(model: Rows, baseline: Rows, name: str) -> tuple[Pairs, Pairs]:
    """Return the pairs per row of the model (n,), and per decision with the seeds averaged (k,).

    Raises EvaluationError where the rows or the labels of the two do not match.
    """
    return _pairs(model, baseline, _match(model, baseline, name))


def less_prior(model: Rows, prior: Rows) -> Rows:
    """Return rows that know the odds of their network's training rows, those of `prior` (k,).

    Raises EvaluationError where the rows or the labels of the two do not match.
    """
    odds = direction_odds(prior.p)
    return replace(model, prior_odds=odds[_match(model, prior, PRIOR)])


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


def _pairs(model: Rows, baseline: Rows, decision: IntArray) -> tuple[Pairs, Pairs]:
    model_loss, model_hit = losses_and_hits(model)
    loss, hit = losses_and_hits(baseline)
    n_seeds = np.bincount(decision)
    per_row = Pairs(model.label, loss[decision] - model_loss, model_hit - hit[decision])
    per_decision = Pairs(
        baseline.label,
        loss - np.bincount(decision, model_loss) / n_seeds,
        np.bincount(decision, model_hit) / n_seeds - hit,
    )
    return per_row, per_decision
