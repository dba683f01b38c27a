"""Anybody's signals: reading and checking a table of intentions.

| column | what it holds |
|---|---|
| timestamp | opening time of the decision's bar: a time, ISO text or whole ms since 1970, UTC |
| symbol | one of the symbols of the bars |
| side | 1, -1, 0, or a word of SIDES: long, short, or nothing |
| size | contracts; may be missing: the setup's size where empty |
| stop, target | prices; may be missing: the bracket's where empty |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl

from walkforge.base import IntentionsError, UsageError, nearest, parse_utc_ms, utc_text
from walkforge.market import Bars

SIDES = {
    **dict.fromkeys(("1", "+1", "1.0", "long", "buy", "up"), 1),
    **dict.fromkeys(("-1", "-1.0", "short", "sell", "down"), -1),
    **dict.fromkeys(("0", "0.0", "-0.0", "flat", "none", "hold", "no_trade"), 0),
}
"""Every word for a side, in small letters."""

_REQUIRED = ("timestamp", "symbol", "side")
_OPTIONAL = ("size", "stop", "target")

# Between these, whole numbers are milliseconds of the years 1973 to 5138 and nothing else.
_LEAST_MS, _MOST_MS = 10**11, 10**14


def read_intentions(path: Path) -> pl.DataFrame:
    """Return the table of a Parquet or CSV file as it is; `run` checks it against the bars.

    Raises IntentionsError where the file is missing, empty or unreadable.
    """
    if not path.is_file():
        raise IntentionsError(f"{path}: no such file; expected a Parquet or CSV of intentions")
    if path.stat().st_size == 0:
        raise IntentionsError(f"{path}: the file is empty; expected columns {_wanted()}")
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path, glob=False)
        # As text first, so that nothing is guessed from the first rows.
        return pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        first_line = str(error).splitlines()[0]
        raise IntentionsError(f"{path}: no readable Parquet or CSV ({first_line})") from None


def check_intentions(
    intentions: pl.DataFrame, bars: Mapping[str, Bars], *, source: str = "intentions"
) -> pl.DataFrame:
    """Return the table in one shape: symbol, row of the bar, side, size, stop, target.

    Sorted by symbol and row; side is -1, 0 or 1 (Int8); size, stop and target are Float64, NaN
    where not given. Raises IntentionsError naming `source`, the row (counted from 0), what was
    found and what was expected.
    """
    _refuse_columns(intentions, source)
    table = pl.DataFrame(
        {
            "symbol": _symbols(intentions["symbol"], bars, source),
            "time_ms": _times(intentions["timestamp"], source),
            "side": _sides(intentions["side"], source),
            **{name: _numbers(intentions, name, source) for name in _OPTIONAL},
        }
    ).with_row_index("at")
    checked = []
    for (symbol,), part in table.group_by("symbol", maintain_order=True):
        checked.append(_rows_of_bars(part, bars[str(symbol)], source))
    return pl.concat(checked).sort("symbol", "row").drop("at", "time_ms")


def _refuse_columns(table: pl.DataFrame, source: str) -> None:
    for name in _REQUIRED:
        if name not in table.columns:
            raise IntentionsError(
                f"{source}: no column {name!r}{nearest(name, table.columns)}, found "
                f"{', '.join(table.columns) or 'none'}; expected {_wanted()}"
            )
    if table.height == 0:
        raise IntentionsError(f"{source}: the table has no rows; expected one per decision")


def _wanted() -> str:
    return f"{', '.join(_REQUIRED)} and optionally {', '.join(_OPTIONAL)}"


def _symbols(column: pl.Series, bars: Mapping[str, Bars], source: str) -> pl.Series:
    symbols = column.cast(pl.String)
    for symbol in symbols.unique(maintain_order=True):
        if symbol not in bars:
            at = int((symbols == symbol).arg_max() or 0) if symbol is not None else _null(symbols)
            known = nearest(symbol or "", bars)
            _refuse(source, at, f"symbol {symbol!r}{known}", f"one of {_some(list(bars))}")
    return symbols


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _times(column: pl.Series, source: str) -> pl.Series:
    if column.null_count():
        _refuse(source, _null(column), "no timestamp", "the opening time of a bar")
    if column.dtype == pl.String:
        return pl.Series([_parsed(text, at, source) for at, text in enumerate(column)])
    if isinstance(column.dtype, pl.Datetime):
        return (
            column.dt.replace_time_zone("UTC").dt.epoch("ms")
            if (column.dtype.time_zone is None)
            else column.dt.epoch("ms")
        )
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("ms")).dt.epoch("ms")
    if column.dtype.is_integer():
        for at in np.flatnonzero(_not_ms(column.to_numpy()))[:1]:
            _refuse(source, int(at), f"timestamp {column[int(at)]}", "milliseconds since 1970")
        return column.cast(pl.Int64)
    raise IntentionsError(
        f"{source}: column 'timestamp' holds {column.dtype}, expected times, ISO text or whole "
        "milliseconds since 1970 (UTC)"
    )


def _not_ms(stamps: np.ndarray) -> np.ndarray:
    return (stamps < _LEAST_MS) | (stamps > _MOST_MS)


def _parsed(text: str, at: int, source: str) -> int:
    word = text.strip()
    if word.lstrip("-").isdigit():
        if _not_ms(np.array(int(word))):
            _refuse(source, at, f"timestamp {word}", "milliseconds since 1970")
        return int(word)
    try:
        return parse_utc_ms(word)
    except UsageError:
        _refuse(source, at, f"timestamp {text!r}", "a time such as 2024-01-31T12:00")


def _sides(column: pl.Series, source: str) -> pl.Series:
    if column.dtype == pl.Boolean:
        _refuse(source, 0, f"side {column[0]}", "1, -1, 0, long, short or flat")
    words = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    sides = words.replace_strict(SIDES, default=None, return_dtype=pl.Int8)
    if sides.null_count():
        at = _null(sides)
        _refuse(source, at, f"side {column[at]!r}", "1, -1, 0, long, short, buy, sell or flat")
    return sides


def _numbers(table: pl.DataFrame, name: str, source: str) -> pl.Series:
    """Return an optional column as Float64, NaN where the cell is empty."""
    if name not in table.columns:
        return pl.repeat(np.nan, table.height, dtype=pl.Float64, eager=True)
    column = table[name]
    if column.dtype == pl.String:
        column = column.str.strip_chars().replace("", None)
    numbers = column.cast(pl.Float64, strict=False)
    bad = column.is_not_null() & ~(numbers.is_finite() & (numbers > 0)).fill_null(False)
    for at in bad.arg_true()[:1]:
        _refuse(source, at, f"{name} {column[at]!r}", "a positive number, or an empty cell")
    return numbers.fill_null(np.nan)


def _rows_of_bars(part: pl.DataFrame, bars: Bars, source: str) -> pl.DataFrame:
    """Return one symbol's intentions with the row of each one's bar."""
    times = part["time_ms"].to_numpy()
    row = np.searchsorted(bars.timestamp, times)
    found = row < len(bars)
    found[found] = bars.timestamp[row[found]] == times[found]
    if not found.all():
        at = int(np.argmin(found))
        _refuse(
            source,
            part["at"][at],
            f"timestamp {utc_text(int(times[at]))}, which is no bar of {bars.name}",
            f"the opening time of a bar; {_closest(bars, int(row[at]))}",
        )
    placed = part.with_columns(pl.Series("row", row, dtype=pl.Int64))
    twice = placed["row"].is_duplicated()
    if twice.any():
        at = int(twice.arg_true()[1])
        when = utc_text(int(times[at]))
        _refuse(
            source, part["at"][at], f"another intention for {bars.symbol} at {when}", "one a bar"
        )
    _refuse_levels(placed, bars, source)
    return placed


def _closest(bars: Bars, row: int) -> str:
    if len(bars) == 0:
        return "there are no bars"
    near = [bars.timestamp[at] for at in (row - 1, row) if 0 <= at < len(bars)]
    return "the nearest open at " + " and ".join(utc_text(int(moment)) for moment in near)


def _refuse_levels(placed: pl.DataFrame, bars: Bars, source: str) -> None:
    """Refuse a stop on the winning side of the decision's close, or a target on the losing one."""
    side = placed["side"].to_numpy()
    close = bars.close[placed["row"].to_numpy()]
    for name, sign in (("stop", -1), ("target", 1)):
        level = placed[name].to_numpy()
        wrong = np.flatnonzero((side != 0) & (sign * side * (level - close) <= 0))
        for at in wrong[:1]:
            beyond = "above" if sign * side[at] > 0 else "below"
            word = "long" if side[at] > 0 else "short"
            _refuse(
                source,
                placed["at"][int(at)],
                f"{name} {level[at]:g} of a {word} decided at {close[at]:g}",
                f"a price {beyond} that close",
            )


def _null(column: pl.Series) -> int:
    return int(column.is_null().arg_max() or 0)


def _refuse(source: str, at: Any, found: str, expected: str) -> NoReturn:
    raise IntentionsError(f"{source}: row {at} has {found}; expected {expected}")
