"""Does one model forecast better than another? Tested on the forecasts that both made."""

from typing import Any

import polars as pl

from walkforge.base import PredictionsError

from ._forecast_gain import diebold_mariano
from ._forecast_losses import losses
from ._forecast_match import refuse_other_levels, refuse_other_truth, truth_of
from ._forecast_rows import Forecasts, forecasts_of, require_columns
from ._forecast_series import index_of

_LOSSES = {"crps": "crps_bps", "absolute_error": "mae_bps"}
_KEPT = ("low", "high", "unit", "n", "reason")
_COMMON = ("timestamp", "symbol", "timeframe", "step")


def paired_forecasts(reference: pl.DataFrame, other: pl.DataFrame) -> dict[str, Any]:
    """Return what `other` saves over `reference` on common forecasts; above 0 it is better.

    Both tables are those of `forecast_metrics`; a forecast is a timestamp, symbol, timeframe and
    step ahead, its losses averaged over seeds. `crps` and `absolute_error`, basis points, have
    `value`, `low`, `high` and a two-sided `p_value` of the test of Diebold and Mariano; a loss that
    one of both has not is left out. `comparable` is False, with the `reason`, where nothing is
    common, or where truth or levels are not the same.
    """
    tables = {"the reference": reference, "the other run": other}
    for what, table in tables.items():
        require_columns(table, what)
    common = reference.join(other, on=_COMMON, how="semi").select(_COMMON).unique()
    result = {"n_common": len(common)}
    if common.is_empty():
        return result | {"comparable": False, "reason": "no forecast is in both"}
    index = index_of(*tables.values())
    # The fold is how a run was cut, not what it forecasts.
    ours, theirs = (
        forecasts_of(
            table.join(common, on=_COMMON, how="semi").with_columns(fold=pl.lit(0)),
            index,
            what=what,
        )
        for what, table in tables.items()
    )
    try:
        refuse_other_truth(truth_of(ours), theirs)
        refuse_other_levels(ours, theirs)
    except PredictionsError as error:
        return result | {"comparable": False, "reason": str(error)}
    return result | {"comparable": True} | _tests(ours, theirs)


def _tests(ours: Forecasts, theirs: Forecasts) -> dict[str, Any]:
    paid, saved = dict(losses(ours)), dict(losses(theirs))
    overlap = int(ours.step.max()) - 1
    found = {}
    for kind, loss in _LOSSES.items():
        if loss in paid and loss in saved:
            difference = ours.per_time(paid[loss]) - theirs.per_time(saved[loss])
            test = diebold_mariano(difference, overlap_times=overlap, unit="bps")
            found[kind] = _two_sided(test)
    return found


def _two_sided(test: dict[str, Any]) -> dict[str, Any]:
    p: float | None = test["p_value"]
    if p is not None and test["statistic"] is not None:
        p = 2.0 * min(p, 1.0 - p)
    kept = {key: value for key, value in test.items() if key in _KEPT}
    return {"value": test["mean_difference"], "p_value": p} | kept
