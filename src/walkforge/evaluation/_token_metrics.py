"""Losses and hits of next tokens to measures beside their baselines.

Shapes: n tokens that were foretold, A assets, K blocks, G groups of tokens
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from walkforge.base import BoolArray, EvaluationError, FloatArray, IntArray

from ._blocks import BlockPlan, plan_times
from ._bootstrap import LEVEL, measured, p_value, resample
from ._forecast_sums import GroupSums
from ._pairs import Pairs, add_parts, gains_apart, gains_of

_PERIODS = 4
_UNITS = {
    "log_loss": "nats",
    "perplexity": "tokens",
    "accuracy": "fraction",
    "best_constant": "fraction",
}
# A hit is a hit, whichever of the thousands of tokens it was.
_ONE_CLASS = 1


@dataclass(frozen=True, slots=True, eq=False)
class TokenScores:
    """How one model did on every token."""

    loss: Float[np.ndarray, " n"]
    """-log of the probability that it gave the token that came, nats."""
    hit: Bool[np.ndarray, " n"]
    """Whether the token that it held for likeliest came."""

    def take(self, chosen: BoolArray | IntArray) -> "TokenScores":
        """Return the scores of a mask (n,), or of places in their order."""
        return TokenScores(self.loss[chosen].astype(np.float64), self.hit[chosen])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TokenRows:
    """A model and its baselines on the very same tokens, in any order."""

    time_ms: Int[np.ndarray, " n"]
    """Opening time of the bar that the token stands for, ms UTC."""
    asset: Int[np.ndarray, " n"]
    """Number in `symbols`."""
    symbols: tuple[str, ...]
    """Name of each asset (A,)."""
    categories: tuple[str, ...] | None = None
    """Category of each asset (A,)."""
    model: TokenScores
    baselines: Mapping[str, TokenScores]
    constant_hit: Bool[np.ndarray, " n"]
    """Whether the best constant guess, the most frequent training token, came."""


def token_metrics(rows: TokenRows, *, n_resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Return what `metrics.json` holds of tokens, see `docs/evaluation.md`.

    `model` and each of `baselines`: `pooled` and, where categories are known, `by_category`:
    `log_loss`, `perplexity` and `accuracy` with intervals from a bootstrap of blocks of time; the
    model's with `best_constant`, the accuracy of the best guess that never changes. `improvement`:
    what the model gains over each baseline in `log_loss` and `accuracy`, above 0 it is better.
    Tokens without a finite loss on every side are left out and counted in `n_not_finite`.
    Raises EvaluationError where none is left.
    """
    kept = _finite(rows)
    plan = plan_times(kept.time_ms, _no_span(kept), kept.model.loss)
    nothing = np.zeros(len(kept.time_ms), dtype=np.int64)
    ways = {"pooled": _Way(nothing, ("pooled",)), **_by_category(kept)}
    drawing = {"n_resamples": n_resamples, "seed": seed}
    constant = {"best_constant": kept.constant_hit}
    return {
        "model": _measures(kept.model, constant, ways, plan.block_of(kept.time_ms), **drawing),
        "baselines": {
            name: _measures(scores, {}, ways, plan.block_of(kept.time_ms), **drawing)
            for name, scores in kept.baselines.items()
        },
        "improvement": {
            name: _improvement(kept, scores, plan, **drawing)
            for name, scores in kept.baselines.items()
        },
        "n_not_finite": len(rows.time_ms) - len(kept.time_ms),
        "bootstrap": plan.as_dict() | {"level": LEVEL, **drawing},
    }


def _finite(rows: TokenRows) -> TokenRows:
    every = (rows.model, *rows.baselines.values())
    finite = np.logical_and.reduce([np.isfinite(scores.loss) for scores in every])
    if not finite.any():
        raise EvaluationError(
            f"none of {len(finite)} tokens has a finite loss; expected at least 1. Give more bars, "
            "or lower the learning rate of a network that diverged."
        )
    return TokenRows(
        time_ms=rows.time_ms[finite],
        asset=rows.asset[finite],
        symbols=rows.symbols,
        categories=rows.categories,
        model=rows.model.take(finite),
        baselines={name: scores.take(finite) for name, scores in rows.baselines.items()},
        constant_hit=rows.constant_hit[finite],
    )


def _no_span(rows: TokenRows) -> IntArray:
    """Return -1 for every token: it is known when its bar closes, and overlaps with no other."""
    return np.full(len(rows.time_ms), -1, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """One way to set tokens apart."""

    group: IntArray
    """Number in `names` (n,)."""
    names: tuple[str, ...]


def _by_category(rows: TokenRows) -> dict[str, _Way]:
    if rows.categories is None:
        return {}
    names, of_asset = np.unique(rows.categories, return_inverse=True)
    return {"by_category": _Way(of_asset[rows.asset], tuple(map(str, names)))}


def _measures(
    scores: TokenScores,
    more_hits: Mapping[str, BoolArray],
    ways: Mapping[str, _Way],
    block: IntArray,
    *,
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return the blocks of measures of every way."""
    found: dict[str, Any] = {}
    for name, way in ways.items():
        sums = GroupSums(block, way.group, int(block.max()) + 1)
        sums.add("log_loss", scores.loss)
        for kind, hit in {"accuracy": scores.hit, **more_hits}.items():
            sums.add(kind, hit.astype(np.float64))
        found[name] = {
            way.names[int(group)]: _block(sums, place, n_resamples=n_resamples, seed=seed)
            for place, group in enumerate(sums.groups)
        }
    return found | {"pooled": found["pooled"]["pooled"]}


def _block(sums: GroupSums, group: int, *, n_resamples: int, seed: int) -> dict[str, Any]:
    """Return every measure of a group (its place in `groups`), `n` tokens and `n_blocks`."""
    present = sums.n_rows[:, group] > 0
    columns = [total[:, group] for total in sums.sums.values()]
    both, names = np.column_stack([*columns, sums.n_rows[:, group]])[present], tuple(sums.sums)
    points = _means(both.sum(axis=0, keepdims=True), names)
    drawn = _means(resample(both, n_resamples=n_resamples, seed=seed), names)
    common: dict[str, Any] = {"n": int(both[:, -1].sum()), "n_blocks": len(both)}
    entries = {
        name: measured(float(points[name][0]), drawn[name], unit=unit, **common)
        for name, unit in _UNITS.items()
        if name in points
    }
    return entries | common


def _means(sums: Float[np.ndarray, "lead S"], names: tuple[str, ...]) -> dict[str, FloatArray]:
    """Return the mean of each sum (lead,), and the perplexity; the last column counts tokens."""
    means = {name: sums[:, column] / sums[:, -1] for column, name in enumerate(names)}
    return means | {"perplexity": np.exp(means["log_loss"])}


def _improvement(
    rows: TokenRows, baseline: TokenScores, plan: BlockPlan, *, n_resamples: int, seed: int
) -> dict[str, Any]:
    """Return the gains over a baseline; intervals are on blocks that suit the difference."""
    model, time_ms = rows.model, rows.time_ms
    gained = model.hit.astype(np.float64) - baseline.hit
    nothing = np.zeros(len(time_ms), dtype=np.int64)
    pairs = Pairs(nothing, baseline.loss - model.loss, gained)
    block = plan_times(time_ms, _no_span(rows), pairs.saved).block_of(time_ms)
    gains = gains_of(pairs, block, _ONE_CLASS, n_resamples=n_resamples, seed=seed)
    entries = {kind: gains.entries[kind] for kind in ("log_loss", "accuracy")}
    for kind, entry in entries.items():
        entry["p_value"] = p_value(gains.drawn[kind], gains.n_blocks)
    period = _Way(plan.block_of(time_ms) * _PERIODS // plan.n_blocks, tuple("0123"))
    by_symbol = _Way(rows.asset.astype(np.int64), rows.symbols)
    apart = {"by_period": period, "by_symbol": by_symbol, **_by_category(rows)}
    parts = {
        name: gains_apart(pairs, way.group, _ONE_CLASS, way.names) for name, way in apart.items()
    }
    add_parts(entries, parts)
    return entries
