"""Several networks, one forecast: the median over seeds."""

import polars as pl

from walkforge.base import PredictionsError

from ._forecast_rows import KEY, require_columns


def ensemble_forecast(forecasts: pl.DataFrame) -> pl.DataFrame:
    """Return one row per timestamp, series, fold and step, in that order, with `seed` 0.

    Every column `f_*` and `q_*` is the median over the seeds, null where a seed has none; all
    others are the first seed's. The result is a possible bar where every seed's is: if one column
    is at least another in every seed, so is its median, for a median never falls when a number
    rises. The same holds for rising quantiles. Raises PredictionsError for missing columns and
    duplicates, EvaluationError for an empty table.
    """
    require_columns(forecasts, "forecasts")
    n_duplicates = len(forecasts) - forecasts.select(pl.struct(*KEY, "seed").n_unique()).item()
    if n_duplicates:
        raise PredictionsError(
            f"forecasts: {n_duplicates} duplicate rows, expected one per {', '.join(KEY)} and seed"
        )
    said = [name for name in forecasts.columns if name.startswith(("f_", "q_"))]
    others = [name for name in forecasts.columns if name not in (*said, *KEY, "seed")]
    merged = (
        forecasts.lazy()
        .sort(*KEY, "seed")
        .group_by(*KEY, maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in others),
            *(pl.when(pl.col(name).null_count() == 0).then(pl.col(name).median()) for name in said),
            pl.lit(0, dtype=forecasts["seed"].dtype).alias("seed"),
        )
    )
    return merged.select(forecasts.columns).collect()
