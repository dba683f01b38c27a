"""Calibrated probabilities as rows of `predictions.parquet`."""

import polars as pl

from walkforge.base import FloatArray, IntArray

from ._prepare import Part, Prepared


def prediction_table(
    prepared: Prepared,
    part: Part,
    rows: IntArray,
    *,
    seed: int,
    logits: FloatArray | None,
    probabilities: FloatArray,
) -> pl.DataFrame:
    """Return one row per row (n,) of a series, with logits and probabilities (n, C) of each."""
    data = prepared.series[part.series]
    table = pl.DataFrame(
        {
            "timestamp": _moments(data.bars.timestamp[rows]),
            "symbol": [data.bars.symbol] * len(rows),
            "timeframe": [data.bars.timeframe] * len(rows),
            "fold": pl.Series([part.fold.index] * len(rows), dtype=pl.Int32),
            "seed": pl.Series([seed] * len(rows), dtype=pl.Int32),
            "label": pl.Series(part.labels[rows], dtype=pl.Int8),
            "resolved_at": _moments(data.outcomes.resolved_at[rows]),
        }
    )
    if part.series != data.bars.symbol:
        table = table.with_columns(series=pl.lit(part.series))
    for kind, values in (("logit", logits), ("p", probabilities)):
        if values is not None:
            columns = zip(prepared.classes, values.T, strict=True)
            table = table.with_columns(
                [pl.Series(f"{kind}_{name}", column) for name, column in columns]
            )
    return table


def _moments(times_ms: IntArray) -> pl.Series:
    return pl.Series(times_ms).cast(pl.Datetime("ms", "UTC"))
