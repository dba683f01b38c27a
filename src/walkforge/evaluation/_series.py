"""What is measured apart: a symbol, and its timeframe where a table holds several."""

import polars as pl


def series_names(table: pl.DataFrame) -> pl.Series:
    """Return the series of every row: what its column `series` says, where it has one, else
    `SYMBOL/TIMEFRAME` in a table of several timeframes and `SYMBOL` in any other."""
    if "series" in table.columns:
        return table["series"].cast(pl.String)
    symbols = table["symbol"].cast(pl.String)
    if "timeframe" not in table.columns or table["timeframe"].n_unique() < 2:
        return symbols.alias("series")
    return table.select(series=pl.format("{}/{}", "symbol", "timeframe"))["series"]
