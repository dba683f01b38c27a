"""Zips of klines as an archive serves them, in memory."""

from __future__ import annotations

import io
import zipfile

import polars as pl

from walkforge.base import BarsError

from ._columns import VALUES
from ._metadata import one_line
from ._raw_files import ZIP_DAMAGE, _read_csv
from ._refuse import refuse_errors
from ._tables import read_table


def bars_frame_of_zip(content: bytes, name: str, timeframe: str) -> pl.DataFrame:
    """Return the bars of a zip that holds one CSV of klines of a 24/7 market.

    Columns `timestamp` (Datetime ms UTC), `open`, `high`, `low`, `close`, `volume` (Float64), in
    time order; no row where the CSV has a header and nothing below. `name` is what messages call
    the zip. Raises BarsError where it is damaged, holds another kind of file, or for the first
    thing that `check_bars` calls an error.
    """
    cells, inside = csv_of_zip(content, name)
    part = _read_csv(cells, f"{name}/{inside}", False)
    if part.has_header and not len(part.frame):
        return _frame({column: [] for column in ("timestamp", *VALUES)})
    table = read_table(part)
    refuse_errors(table, timeframe, "24/7")
    values = {column: table.values[:, index] for index, column in enumerate(VALUES)}
    return _frame({"timestamp": table.timestamp, **values})


def csv_of_zip(content: bytes, name: str) -> tuple[bytes, str]:
    """Return the one CSV file of a zip, and its name; raise BarsError where there is no such."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside = [each for each in archive.namelist() if each.lower().endswith(".csv")]
            if len(inside) == 1:
                return archive.read(inside[0]), inside[0]
    except ZIP_DAMAGE as error:
        raise BarsError(f"{name}: damaged or not a zip: {one_line(error)}") from None
    raise BarsError(f"{name}: {len(inside)} CSV files inside, expected one")


def _frame(columns: dict) -> pl.DataFrame:
    return pl.DataFrame(columns).select(
        pl.col("timestamp").cast(pl.Int64).cast(pl.Datetime("ms", "UTC")),
        pl.col(*VALUES).cast(pl.Float64),
    )
