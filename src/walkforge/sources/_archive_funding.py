"""Funding rates as the archive's monthly zips hold them."""

from __future__ import annotations

import io

import polars as pl

from walkforge.base import FetchError, listed
from walkforge.market import csv_of_zip

_COLUMNS = ("calc_time", "last_funding_rate")


def funding_frame(content: bytes, name: str) -> pl.DataFrame:
    """Return `timestamp` (Datetime ms UTC) and `rate` (Float64) of a zip, rising.

    Moments are rounded to the second: the archive has the milliseconds at which each rate was
    worked out. Raises BarsError for a damaged zip, FetchError for other cells than expected.
    """
    cells, _ = csv_of_zip(content, name)
    try:
        found = pl.read_csv(io.BytesIO(cells), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).split("\n")[0][:200]
        raise FetchError(f"{name}: not a proper CSV file: {reason}") from None
    if not set(_COLUMNS) <= set(found.columns):
        raise FetchError(
            f"{name}: the columns are {listed([own[:40] for own in found.columns])}, expected "
            f"{', '.join(_COLUMNS)} among them"
        )
    frame = found.select(
        ((pl.col("calc_time").cast(pl.Int64, strict=False) + 500) // 1000 * 1000)
        .cast(pl.Datetime("ms", "UTC"))
        .alias("timestamp"),
        pl.col("last_funding_rate").cast(pl.Float64, strict=False).alias("rate"),
    )
    _refuse_odd_rows(frame, found, name)
    frame = frame.unique().sort("timestamp")
    if frame["timestamp"].is_duplicated().any():
        moment = frame.filter(pl.col("timestamp").is_duplicated())["timestamp"][0]
        raise FetchError(f"{name}: two funding rates for {moment:%Y-%m-%d %H:%M}, expected one")
    return frame


def no_funding() -> pl.DataFrame:
    """Return a table of funding rates without a row."""
    return pl.DataFrame(schema={"timestamp": pl.Datetime("ms", "UTC"), "rate": pl.Float64})


def _refuse_odd_rows(frame: pl.DataFrame, found: pl.DataFrame, name: str) -> None:
    odd = frame.select(
        pl.col("timestamp").is_null() | ~pl.col("rate").is_finite().fill_null(value=False)
    ).to_series()
    if odd.any():
        row = int(odd.arg_max() or 0)
        shown = ", ".join(str(cell)[:40] for cell in found.select(_COLUMNS).row(row))
        raise FetchError(f"{name}: row {row} holds {shown}, expected milliseconds and a number")
