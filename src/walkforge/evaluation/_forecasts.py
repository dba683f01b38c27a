"""Price forecasts to measures beside their baselines: what `metrics.json` holds of them."""

from typing import Any

import numpy as np
import polars as pl

from walkforge.base import FloatArray, PredictionsError, timeframe_ms
from walkforge.statistics import holm

from ._blocks import BlockPlan, plan_times
from ._bootstrap import LEVEL
from ._forecast_ensemble import ensemble_forecast
from ._forecast_gain import diebold_mariano
from ._forecast_losses import losses
from ._forecast_match import refuse_other_keys, refuse_other_levels, refuse_other_truth, truth_of
from ._forecast_quantiles import BELOW, levels_of
from ._forecast_rows import BPS, Forecasts, forecasts_of, require_columns
from ._forecast_series import SeriesIndex, index_of
from ._forecast_sums import block_of_forecast_measures, shares_below, sums_by_way

GAINS = {
    "crps": ("crps_bps", "bps"),
    "squared_error": ("rmse_bps", "bps²"),
    "absolute_error": ("mae_bps", "bps"),
}
"""What is tested against each baseline: the losses it is taken from, and the unit."""


def forecast_metrics(
    forecasts: pl.DataFrame,
    baselines: pl.DataFrame | None,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the measures of price forecasts, those of every baseline, and who is better.

    The tables have a row per decision and step ahead, see `docs/evaluation.md`; the baselines'
    one also the column `baseline`. `model` and each of `baselines`: blocks of measures `pooled`,
    `by_symbol` (by series), `by_step` and `by_fold`, and `quantiles`, the share of closes at or
    below each. `ensemble`: the same of the median of all seeds, where there are several.
    `better_than`: per baseline the test of Diebold and Mariano for `crps`,
    `squared_error` and `absolute_error`.
    Raises PredictionsError for an impossible table and where the rows of the model and of a
    baseline do not match, EvaluationError for an empty table, UsageError for a timeframe that
    has no length.
    """
    require_columns(forecasts, "forecasts")
    named = _by_baseline(baselines)
    index = index_of(forecasts, *named.values())
    model = forecasts_of(forecasts, index, what="forecasts")
    plan, truth = _plan_of(model), truth_of(model)
    drawing = {"n_resamples": n_resamples, "seed": seed}
    of_model, paid = _measured(model, plan, **drawing)
    of_baselines, gains = {}, {}
    overlap = max(int(model.step.max()) - 1, round(plan.label_span_times))
    for name, table in named.items():
        rows = forecasts_of(table, index, what=f"baseline {name!r}")
        refuse_other_keys(model, rows)
        refuse_other_truth(truth, rows)
        refuse_other_levels(model, rows)
        of_baselines[name], theirs = _measured(rows, plan, **drawing)
        gains[name] = {
            kind: diebold_mariano(theirs[kind] - paid[kind], overlap_times=overlap, unit=unit)
            for kind, (_, unit) in GAINS.items()
        }
        gains[name]["crps"]["baseline_has_quantiles"] = bool(levels_of(rows))
    _adjust(gains)
    return {
        "model": of_model,
        **_ensemble(forecasts, index, plan, **drawing),
        "baselines": of_baselines,
        "better_than": gains,
        "horizon_bars": int(model.step.max()),
        "levels": list(levels_of(model).values()),
        "bootstrap": plan.as_dict() | {"level": LEVEL, **drawing},
    }


def _ensemble(
    forecasts: pl.DataFrame, index: SeriesIndex, plan: BlockPlan, *, n_resamples: int, seed: int
) -> dict[str, Any]:
    """Return the measures of the seeds' median, under `ensemble`; nothing for a single seed."""
    if "seed" not in forecasts.columns or forecasts["seed"].n_unique() < 2:
        return {}
    rows = forecasts_of(ensemble_forecast(forecasts), index, what="ensemble")
    return {"ensemble": _measured(rows, plan, n_resamples=n_resamples, seed=seed)[0]}


def _by_baseline(baselines: pl.DataFrame | None) -> dict[str, pl.DataFrame]:
    """Return the rows of each baseline; a baseline whose rows lie together is not copied."""
    if baselines is None or baselines.is_empty():
        return {}
    if "baseline" not in baselines.columns:
        raise PredictionsError("baselines: no column 'baseline', expected the name of each there")
    require_columns(baselines, "baselines")
    column = baselines["baseline"]
    if column.null_count():
        raise PredictionsError(f"baselines: {column.null_count()} rows have no baseline's name")
    found = {}
    for name in column.unique(maintain_order=True):
        mine = column == name
        start, n = int(mine.arg_max() or 0), int(mine.sum())
        whole = bool(mine.slice(start, n).all())
        found[str(name)] = baselines.slice(start, n) if whole else baselines.filter(mine)
    return found


def _plan_of(rows: Forecasts) -> BlockPlan:
    """Return blocks of time that hold whole horizons and the memory of the absolute error."""
    error = BPS * np.abs(rows.needed_log_price("f_close") - rows.needed_log_price("close"))
    bar_ms = np.array([timeframe_ms(timeframe) for _, timeframe in rows.index.pairs])
    span_ms = np.maximum.reduceat(rows.step * bar_ms[rows.series], rows.row_starts)
    return plan_times(rows.time_ms[rows.row_starts], span_ms, rows.per_time(error))


def _measured(
    rows: Forecasts, plan: BlockPlan, *, n_resamples: int, seed: int
) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Return all blocks of a table, and its mean loss at each decision time (T,) by `GAINS`."""
    ways = sums_by_way(rows, plan)
    paid = {}
    for name, values in losses(rows):
        for kind, (loss, _) in GAINS.items():
            if name == loss:
                paid[kind] = rows.per_time(values)
        for way, sums in ways.items():
            if way == "pooled" or not name.startswith(BELOW):
                sums.add(name, values)
    drawing = {"n_resamples": n_resamples, "seed": seed}
    blocks: dict[str, Any] = {
        way: {
            _called(rows, way, int(group)): block_of_forecast_measures(sums, place, **drawing)
            for place, group in enumerate(sums.groups)
        }
        for way, sums in ways.items()
    }
    pooled = blocks["pooled"].popitem()[1]
    quantiles = shares_below(ways["pooled"], **drawing)
    return blocks | {"pooled": pooled, "quantiles": quantiles}, paid


def _called(rows: Forecasts, way: str, group: int) -> str:
    return rows.index.names[group] if way == "by_symbol" else str(group)


def _adjust(gains: dict[str, dict[str, Any]]) -> None:
    """Add Holm's adjusted p-value to every test: there is one for each baseline."""
    for kind in GAINS:
        tests = [of_baseline[kind] for of_baseline in gains.values()]
        for test, adjusted in zip(tests, holm([t["p_value"] for t in tests]), strict=True):
            test["p_holm"] = adjusted
