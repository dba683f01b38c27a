"""All blocks of measures of a run: the model and every baseline, pooled and apart."""

from typing import Any

import numpy as np
import polars as pl

from walkforge.base import IntArray, PredictionsError

from ._blocks import BlockPlan
from ._bootstrap import LEVEL
from ._improvement import improvement
from ._measure import block_of_measures, plan_of
from ._rows import Rows, rows_of


def metrics(
    predictions: pl.DataFrame,
    baselines: pl.DataFrame | None,
    *,
    classes: tuple[str, ...],
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return everything that `metrics.json` holds.

    `model`: blocks as from `measure`, `pooled`, `by_symbol`, `by_fold`, `by_seed`. `baselines`:
    the same for every name in the column `baseline`, but for the seeds. `improvement`: per
    baseline what the model gains over it on the same rows, see `docs/evaluation.md`.
    `bootstrap`: the blocks of time, which are the same for all.
    Raises PredictionsError for an impossible table, EvaluationError where the rows of the model
    and of a baseline do not match.
    """
    tables = _by_baseline(baselines)
    symbols = _symbols_of(predictions, *tables.values())
    model = rows_of(predictions, classes, symbols=symbols)
    rivals = {
        name: rows_of(table, classes, what=f"baseline {name!r}", symbols=symbols)
        for name, table in tables.items()
    }
    plan = plan_of(model)
    drawing = {"n_resamples": n_resamples, "seed": seed}
    apart = {"by_symbol": model.symbol, "by_fold": model.fold, "by_seed": model.seed}
    return {
        "model": _measures(model, apart, plan, classes=classes, **drawing),
        "baselines": {
            name: _measures(
                rows,
                {"by_symbol": rows.symbol, "by_fold": rows.fold},
                plan,
                classes=classes,
                **drawing,
            )
            for name, rows in rivals.items()
        },
        "improvement": {
            name: improvement(model, rows, plan, name=name, **drawing)
            for name, rows in rivals.items()
        },
        "bootstrap": plan.as_dict() | {"level": LEVEL, **drawing},
    }


def _by_baseline(baselines: pl.DataFrame | None) -> dict[str, pl.DataFrame]:
    if baselines is None or baselines.is_empty():
        return {}
    if "baseline" not in baselines.columns:
        raise PredictionsError("baselines: no column 'baseline', expected the name of each there")
    names = baselines["baseline"].unique(maintain_order=True).to_list()
    return {str(name): baselines.filter(pl.col("baseline") == name) for name in names}


def _symbols_of(*tables: pl.DataFrame) -> tuple[str, ...]:
    known = (table["symbol"].drop_nulls().unique() for table in tables if "symbol" in table.columns)
    return tuple(sorted({str(name) for names in known for name in names}))


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
