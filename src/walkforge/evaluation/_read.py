"""Anybody's table of predictions, checked before a number is taken from it."""

from pathlib import Path

import numpy as np
import polars as pl

from walkforge.base import PredictionsError

from ._rows import KEY, classes_of, require_columns, rows_of

# 2001 to 2286 in milliseconds; the same span in seconds, micro- or nanoseconds lies outside.
_EARLIEST_MS, _LATEST_MS = 10**12, 10**13
_UNITS = {10**9: "seconds", 10**15: "microseconds", 10**18: "nanoseconds"}
_TIME = pl.Datetime("ms", "UTC")
_ANSWERS = ("timestamp", "symbol", "timeframe")


def read_predictions(path: Path) -> pl.DataFrame:
    """Read and check a Parquet or CSV table of out-of-sample predictions of any model.

    Needs `timestamp` (opening time of the bar decided on: a date-time, taken as UTC where it
    names no zone, or whole milliseconds since 1970), `symbol`, `label` (0, 1, 2 or the class's
    name) and `p_down`, `p_hold`, `p_up`, or `p_down` and `p_up`, summing to 1 within 0.001.
    May have `timeframe`, `fold`, `seed` (0 where missing) and `resolved_at`. Rows in any order.
    Returns the table sorted by timestamp, symbol, fold and seed, with `label` as int8, `fold` and
    `seed` as int32, times as Datetime("ms", "UTC"); other columns are kept as they are.
    Raises PredictionsError, one line with the file and the row, for anything else.
    """
    return _checked(_read(path), path)


def read_answers(path: Path) -> pl.DataFrame:
    """Read and check a table as `walkforge predict` writes it: no outcome stands beside it yet.

    Needs what `read_predictions` does but the label, with one row per `timestamp`, `symbol` and,
    where there is one, `timeframe`. Returns these columns and the probabilities, sorted by
    timestamp and symbol. Raises PredictionsError, one line with the file and the row, for
    anything else, EvaluationError for an empty table.
    """
    table = _read(path)
    known = [name for name in table.columns if name in _ANSWERS or name.startswith("p_")]
    unknown = table.select(known).with_columns(pl.lit(0, dtype=pl.Int8).alias("label"))
    return _checked(unknown, path).select(known)


def _checked(table: pl.DataFrame, path: Path) -> pl.DataFrame:
    require_columns(table, (), str(path))
    classes = _classes(table, path)
    checked = table.with_columns(
        _times(table["timestamp"], path),
        *([_times(table["resolved_at"], path)] if "resolved_at" in table.columns else []),
        _symbols(table["symbol"], path),
        _labels(table["label"], classes, path),
        *(_whole(table, name, path) for name in ("fold", "seed")),
        *(_probability(table[f"p_{name}"], path) for name in classes),
    ).sort(KEY)
    rows_of(checked, classes, what=str(path))
    return checked


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise PredictionsError(f"{path}: no such file; expected a table of predictions")
    if path.stat().st_size == 0:
        raise PredictionsError(f"{path}: the file is empty; expected a table of predictions")
    try:
        if path.suffix.lower() == ".csv":
            table = pl.read_csv(path, infer_schema_length=None, try_parse_dates=True)
        else:
            table = pl.read_parquet(path, glob=False)
        return table.rename({name: name.strip() for name in table.columns})
    except (pl.exceptions.PolarsError, OSError) as error:
        raise PredictionsError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); expected a Parquet or CSV file"
        ) from None


def _classes(table: pl.DataFrame, path: Path) -> tuple[str, ...]:
    try:
        return classes_of(table)
    except PredictionsError as error:
        raise PredictionsError(f"{path}: {error}") from None


def _times(column: pl.Series, path: Path) -> pl.Series:
    if column.name == "timestamp":
        _refuse_missing(column, path)
    if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
        moments = column if column.dtype != pl.Date else column.cast(pl.Datetime("ms"))
        zone = getattr(moments.dtype, "time_zone", None)
        in_utc = (
            moments.dt.convert_time_zone("UTC") if zone else moments.dt.replace_time_zone("UTC")
        )
        return in_utc.cast(_TIME)
    if not column.dtype.is_integer():
        if column.null_count() == len(column):
            return column.cast(_TIME)
        raise PredictionsError(
            f"{path}: column {column.name!r} holds {column.dtype}, expected date-times or whole "
            f"milliseconds; the first is {column.drop_nulls()[0]!r}"
        )
    strange = ~column.is_between(_EARLIEST_MS, _LATEST_MS)
    if strange.any():
        row = int(strange.arg_max() or 0)
        raise PredictionsError(
            f"{path}: row {row} has {column.name} {column[row]}, expected milliseconds since 1970"
            f"{_likely_unit(int(column[row]))}"
        )
    return column.cast(pl.Int64).cast(_TIME)


def _likely_unit(value: int) -> str:
    near = [name for size, name in _UNITS.items() if size <= abs(value) < 10 * size]
    return f"; these look like {near[0]}" if near else ""


def _symbols(column: pl.Series, path: Path) -> pl.Series:
    _refuse_missing(column, path)
    return column.cast(pl.String)


def _labels(column: pl.Series, classes: tuple[str, ...], path: Path) -> pl.Series:
    """Return labels as int8: the number of the class, or its name."""
    _refuse_missing(column, path)
    numbers = {str(k): k for k in range(len(classes))} | {name: k for k, name in enumerate(classes)}
    if column.dtype.is_float() and (column.is_finite() & (column == column.round())).all():
        column = column.cast(pl.Int64)
    words = column.cast(pl.String)
    known = words.replace_strict(numbers, default=None, return_dtype=pl.Int8)
    if known.null_count():
        row = int(np.argmax(known.is_null().to_numpy()))
        raise PredictionsError(
            f"{path}: row {row} has label {words[row]!r}, expected "
            f"{', '.join(f'{k} ({name})' for k, name in enumerate(classes))}; "
            "leave out rows whose outcome is not known"
        )
    return known


def _whole(table: pl.DataFrame, name: str, path: Path) -> pl.Series:
    if name not in table.columns:
        return pl.Series(name, np.zeros(len(table)), dtype=pl.Int32)
    _refuse_missing(table[name], path)
    if not table[name].dtype.is_integer():
        raise PredictionsError(
            f"{path}: column {name!r} holds {table[name].dtype}, expected whole numbers"
        )
    return table[name].cast(pl.Int32)


def _probability(column: pl.Series, path: Path) -> pl.Series:
    if not column.dtype.is_numeric():
        raise PredictionsError(
            f"{path}: column {column.name!r} holds {column.dtype}, expected numbers from 0 to 1"
        )
    values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise PredictionsError(
            f"{path}: row {row} has {column.name} {column[row]}, expected a number from 0 to 1 "
            f"({int(bad.sum())} such rows)"
        )
    return pl.Series(column.name, values)


def _refuse_missing(column: pl.Series, path: Path) -> None:
    if column.null_count():
        row = int(np.argmax(column.is_null().to_numpy()))
        raise PredictionsError(f"{path}: row {row} has no {column.name}, expected one in every row")
