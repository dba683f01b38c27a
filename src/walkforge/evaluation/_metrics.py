"""All blocks of measures of a run: the model and every baseline, pooled and apart."""

from typing import Any

import numpy as np
import polars as pl

from walkforge.base import IntArray, PredictionsError

from ._blocks import BlockPlan
from ._bootstrap import LEVEL
from ._ensemble import seeds_together
from ._improvement import PRIOR, improvement, less_prior
from ._measure import block_of_measures, plan_of
from ._rows import Rows, rows_of
from ._series import series_names
from ._symbol_tests import symbol_tests


def metrics(
    predictions: pl.DataFrame,
    baselines: pl.DataFrame | None,
    *,
    classes: tuple[str, ...],
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return everything that `metrics.json` holds.

    `model`: blocks as from `measure`, `pooled`, `by_symbol`, `by_fold`, `by_seed`. `ensemble`:
    the same of the mean of all seeds, where there are several. `baselines`: the same for every
    name in the column `baseline`, but for the seeds. `improvement`: per baseline what the model
    gains over it on the same rows. `by_symbol_tests`: which symbols are better than nothing, their
    number counted; see `docs/evaluation.md`.
    `bootstrap`: the blocks of time, which are the same for all.
    Raises PredictionsError for an impossible table, EvaluationError where the rows of the model
    and of a baseline do not match.
    """
    names = _baseline_names(baselines)
    symbols = _symbols_of(predictions, baselines)
    model = rows_of(predictions, classes, symbols=symbols)
    plan = plan_of(model)
    prior = _rows_of_baseline(baselines, PRIOR, classes, symbols) if PRIOR in names else None
    if prior is not None:
        model = less_prior(model, prior)
    drawing = {"n_resamples": n_resamples, "seed": seed}
    apart = {"by_symbol": model.symbol, "by_fold": model.fold, "by_seed": model.seed}
    of_model = _measures(model, apart, plan, classes=classes, **drawing)
    of_baselines, gains = {}, {}
    for name in names:  # one by one: the rows of all are several times those of the model
        if prior is not None and name == PRIOR:
            rows = prior
        else:
            rows = _rows_of_baseline(baselines, name, classes, symbols)
        gains[name] = improvement(model, rows, plan, name=name, **drawing)
        if prior is not None:
            rows = less_prior(rows, prior)
        apart = {"by_symbol": rows.symbol, "by_fold": rows.fold}
        of_baselines[name] = _measures(rows, apart, plan, classes=classes, **drawing)
    return {
        "model": of_model,
        **_ensemble(model, plan, classes=classes, **drawing),
        "baselines": of_baselines,
        "improvement": gains,
        "by_symbol_tests": symbol_tests(model, prior, plan),
        "bootstrap": plan.as_dict() | {"level": LEVEL, **drawing},
    }


def _ensemble(
    model: Rows, plan: BlockPlan, *, classes: tuple[str, ...], n_resamples: int, seed: int
) -> dict[str, Any]:
    """Return the blocks of all seeds together, under `ensemble`; nothing for a single seed."""
    if len(np.unique(model.seed)) < 2:
        return {}
    rows = seeds_together(model)
    apart = {"by_symbol": rows.symbol, "by_fold": rows.fold}
    return {
        "ensemble": _measures(
            rows, apart, plan, classes=classes, n_resamples=n_resamples, seed=seed
        )
    }


def _baseline_names(baselines: pl.DataFrame | None) -> list[str]:
    if baselines is None or baselines.is_empty():
        return []
    if "baseline" not in baselines.columns:
        raise PredictionsError("baselines: no column 'baseline', expected the name of each there")
    return [str(name) for name in baselines["baseline"].unique(maintain_order=True)]


def _rows_of_baseline(
    baselines: pl.DataFrame | None, name: str, classes: tuple[str, ...], symbols: tuple[str, ...]
) -> Rows:
    assert baselines is not None  # it has a name
    table = baselines.filter(pl.col("baseline").cast(pl.String) == name)
    return rows_of(table, classes, what=f"baseline {name!r}", symbols=symbols)


def _symbols_of(*tables: pl.DataFrame | None) -> tuple[str, ...]:
    known = [series_names(t).unique() for t in tables if t is not None and "symbol" in t]
    return tuple(sorted({str(name) for names in known for name in names.drop_nulls()}))


def _measures(
    rows: Rows,
    apart: dict[str, IntArray],
    plan: BlockPlan,
    *,
    classes: tuple[str, ...],
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return the pooled block, and one per value of each column that sets rows apart."""
    drawing = {"n_resamples": n_resamples, "seed": seed}
    blocks: dict[str, Any] = {"pooled": block_of_measures(rows, plan, classes=classes, **drawing)}
    for name, column in apart.items():
        names = rows.symbols if name == "by_symbol" else None
        blocks[name] = {
            names[value] if names else str(value): block_of_measures(
                rows.take(column == value), plan, classes=classes, **drawing
            )
            for value in np.unique(column)
        }
    return blocks
