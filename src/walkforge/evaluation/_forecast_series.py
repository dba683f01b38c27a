"""Series: a symbol over one timeframe, how it is called, and its number in a table."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from walkforge.base import IntArray

from ._series import series_names


@dataclass(frozen=True, slots=True)
class SeriesIndex:
    """Every pair of symbol and timeframe of some tables, in the order of their names."""

    pairs: tuple[tuple[str, str], ...]
    names: tuple[str, ...]

    def codes(self, table: pl.DataFrame) -> IntArray:
        """Return the number of each row's series (n,); every pair must be known."""
        symbols = sorted({symbol for symbol, _ in self.pairs})
        timeframes = sorted({timeframe for _, timeframe in self.pairs})
        number = np.full((len(symbols), len(timeframes)), -1, dtype=np.int64)
        for place, (symbol, timeframe) in enumerate(self.pairs):
            number[symbols.index(symbol), timeframes.index(timeframe)] = place
        return number[_codes(table["symbol"], symbols), _codes(table["timeframe"], timeframes)]


def index_of(*tables: pl.DataFrame) -> SeriesIndex:
    """Return the series of all tables, which have `symbol` and `timeframe` in every row."""
    named_in_all = all("series" in table.columns for table in tables)
    wanted = ["symbol", "timeframe", *(["series"] if named_in_all else [])]
    columns = [table.select(pl.col(wanted).cast(pl.String)) for table in tables]
    pairs = pl.concat([column.unique() for column in columns]).unique()
    of_pairs = pairs.select("symbol", "timeframe").iter_rows()
    named = sorted(zip(series_names(pairs), of_pairs, strict=True))
    return SeriesIndex(tuple(pair for _, pair in named), tuple(name for name, _ in named))


def _codes(column: pl.Series, names: list[str]) -> IntArray:
    numbers = column.cast(pl.String).cast(pl.Enum(names)).to_physical()
    return numbers.to_numpy().astype(np.int64)
