"""Is any of several models better than a reference, and which are, when all are asked at once?

Shapes: n decisions that all models made, k other models, C cells of time
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from walkforge.base import EvaluationError, FloatArray, IntArray, utc_text
from walkforge.statistics import superior_trials

from ._blocks import plan_times
from ._decisions import LABEL_UNCLEAR, Decisions, decisions_of, symbols_of
from ._rows import classes_of

MOST_CELLS = 2000
"""The test's time grows with the square of its times; longer blocks than a cell keep their sum."""

FEWEST_STRETCHES = 40
"""On 20 stretches of twice the label, worthless models seemed better in 12 to 16 of 100 worlds
where 5 are meant; on 40 in 7."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shared:
    """The decisions that all models made, and what each lost there."""

    time_ms: IntArray
    """Rising (n,)."""
    span_ms: IntArray
    loss: FloatArray
    """(n, 1 + k), nats; the reference first."""


def superior_models(
    reference: pl.DataFrame,
    others: Iterable[tuple[str, pl.DataFrame]],
    *,
    n_resamples: int = 4000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return whether any of the named `others` has a lower log loss than `reference`, and which.

    Asked of all at once, on the decisions that every table has with one label and finite
    probabilities, losses averaged over seeds: `p_value` is Hansen's (2005) that none is better,
    with its bounds `p_lower` and `p_upper`; `superior` names those that are, by the steps of
    Romano and Wolf (2005), any wrong one in at most 5 of 100 cases; see `superior_trials`.
    `untested` names those that lose the same at every time. `log_loss_saved` is plain, by name.

    Losses are summed by decision time, and of more than MOST_CELLS times by cells of equally many
    of them. A block is at least twice the longest label. `comparable` is False, with the
    `reason`, where time holds fewer than FEWEST_STRETCHES such blocks, or no decision is shared.
    Raises PredictionsError or EvaluationError for an impossible table, for other classes than
    those of the reference, and where no other is given.
    """
    names, shared = _shared(reference, others)
    n = len(shared.time_ms)
    counts: dict[str, Any] = {"n": n, "n_times": len(np.unique(shared.time_ms))}
    if not n:
        return counts | {"comparable": False, "reason": "no row is common to all of them"}
    counts |= {"from": utc_text(int(shared.time_ms[0])), "to": utc_text(int(shared.time_ms[-1]))}
    span = plan_times(shared.time_ms, shared.span_ms, shared.loss[:, 0]).label_span_times
    stretches = int(counts["n_times"] / max(1.0, 2.0 * span))
    if stretches < FEWEST_STRETCHES:
        return counts | {"comparable": False, "reason": _too_few(stretches, span)}
    return counts | _tested(names, shared, span, n_resamples=n_resamples, seed=seed)


def _shared(
    reference: pl.DataFrame, others: Iterable[tuple[str, pl.DataFrame]]
) -> tuple[list[str], _Shared]:
    """Return the names, and the losses on decisions that all tables have with one label."""
    classes, symbols = classes_of(reference), symbols_of(reference)
    ours = decisions_of(reference, classes, symbols)
    usable = np.isfinite(ours.loss) & (ours.label != LABEL_UNCLEAR)
    span, losses, names = ours.span_ms, [ours.loss], []
    for name, table in others:
        if classes_of(table) != classes:
            raise EvaluationError(
                f"{name}: the classes are {', '.join(classes_of(table))}, those of the reference "
                f"{', '.join(classes)}; leave it out"
            )
        at, theirs = _matched(ours, table, classes, symbols)
        loss = np.full(len(ours), np.nan)
        loss[at] = np.where(theirs.label == ours.label[at], theirs.loss, np.nan)
        usable &= np.isfinite(loss)
        span[at] = np.maximum(span[at], theirs.span_ms)
        losses.append(loss)
        names.append(name)
    table = np.column_stack(losses)[usable]
    return names, _Shared(ours.time_ms[usable], span[usable], table)


def _matched(
    ours: Decisions, table: pl.DataFrame, classes: tuple[str, ...], symbols: tuple[str, ...]
) -> tuple[IntArray, Decisions]:
    """Return the places in `ours` of the decisions that the table has too, and those."""
    own = symbols_of(table)
    number = np.array([symbols.index(name) if name in symbols else -1 for name in own])
    theirs = decisions_of(table, classes, own)
    theirs = theirs.take(number[theirs.symbol] >= 0)
    wanted = ours.time_ms * len(symbols) + ours.symbol
    found = theirs.time_ms * len(symbols) + number[theirs.symbol]
    _, at, of = np.intersect1d(wanted, found, assume_unique=True, return_indices=True)
    return at, theirs.take(of)


def _too_few(stretches: int, span: float) -> str:
    unit = "stretches of twice the longest label" if span else "decision times"
    return f"{stretches} {unit} in common, at least {FEWEST_STRETCHES} needed"


def _tested(
    names: list[str], shared: _Shared, span: float, *, n_resamples: int, seed: int
) -> dict[str, Any]:
    loss, times_per_cell = _by_cell(shared)
    found = superior_trials(
        loss[:, 0],
        loss[:, 1:],
        names,
        n_resamples=n_resamples,
        seed=seed,
        least_block=math.ceil(max(1.0, 2.0 * span / times_per_cell)),
    )
    saved = (shared.loss[:, :1] - shared.loss[:, 1:]).mean(axis=0)
    return {
        "comparable": True,
        "p_value": found.p_value,
        "p_lower": found.p_lower,
        "p_upper": found.p_upper,
        "superior": list(found.superior),
        "untested": list(found.untested),
        "log_loss_saved": {name: float(one) for name, one in zip(names, saved, strict=True)},
        "bootstrap": {
            "block_times": found.block_length * times_per_cell,
            "label_span_times": span or None,
            "n_resamples": n_resamples,
            "seed": seed,
        },
    }


def _by_cell(shared: _Shared) -> tuple[FloatArray, float]:
    """Return losses summed by cell (C, 1 + k), over the rows of a mean cell, and a cell's times.

    Sums, not means of each time: every decision counts alike, as in a paired test.
    """
    times, position = np.unique(shared.time_ms, return_inverse=True)
    n_cells = min(len(times), MOST_CELLS)
    cell = position * n_cells // len(times)
    sums = np.zeros((n_cells, shared.loss.shape[1]))
    for place, column in enumerate(shared.loss.T):
        sums[:, place] = np.bincount(cell, column, n_cells)
    return sums * (n_cells / len(cell)), len(times) / n_cells
