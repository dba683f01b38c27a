"""Time stamps as files hold them, brought to milliseconds UTC.

A file's stamps are ISO text, or typed dates and times, or numbers since 1970. Numbers carry no
unit; it is told from their size, which is safe because for every moment between 1990 and 2100
the four units give numbers of different size. Outside these years numbers are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from walkforge.base import BoolArray, IntArray

from ._findings import Finding

UNITS_PER_S = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FIRST_S = 631_152_000  # 1990-01-01
_LAST_S = 4_102_444_800  # 2100-01-01

_TEXT_FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%z",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M%z",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f%z",
)
_EXPECTED = "expected ISO text such as 2024-01-31 12:00, or a number since 1970 in s, ms, us or ns"

Place = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Stamps:
    """Stamps (n,) in ms UTC, null where they make no sense, and what is wrong with those."""

    ms: pl.Series
    form: str  # "text", "time" or the unit of the numbers
    problems: tuple[Finding, ...]


def read_stamps(column: pl.Series, place: Place) -> Stamps:
    """Bring a column of any type to milliseconds UTC; times without a zone are taken as UTC."""
    column = column.rename("timestamp")
    if column.dtype.is_temporal() and not isinstance(column.dtype, pl.Duration | pl.Time):
        return _read_times(column, place)
    if column.dtype.is_numeric():
        whole = column.cast(pl.Int64, strict=False)
        if column.dtype.is_float():
            whole = whole.set(column != whole, None)
        return _read_numbers(whole, column, place)
    text = column.cast(pl.String, strict=False).str.strip_chars()
    first = _whole_numbers(text.drop_nulls().head(1))
    if len(first) and not first.null_count():
        return _read_numbers(_whole_numbers(text), text, place)
    return _read_text(text, place)


def _whole_numbers(text: pl.Series) -> pl.Series:
    return text.str.replace(r"\.0+$", "").cast(pl.Int64, strict=False)


def unit_of_all(numbers: pl.Series) -> str | None:
    """Return the unit that all numbers share as stamps, none of them with parts of a millisecond.

    None where one is missing, has another unit or none, or is no whole number of milliseconds.
    """
    if not len(numbers) or numbers.null_count():
        return None
    # A unit is a span of numbers: what lies between two of one unit is of that unit, too.
    lowest, highest = _unit_of(np.array([numbers.min(), numbers.max()], dtype=np.int64))
    if lowest != highest or lowest < 0:
        return None
    unit, per_s = list(UNITS_PER_S.items())[lowest]
    return None if per_s > 1000 and (numbers % (per_s // 1000) != 0).any() else unit


def _read_times(column: pl.Series, place: Place) -> Stamps:
    times = column.cast(pl.Datetime("ms")) if column.dtype == pl.Date else column
    ms = times.dt.epoch("ms")
    problems = [*_empty(column, place), *_parts_of_ms(times, ms, place)]
    filled = ms.drop_nulls()
    if len(filled):
        low, high = int(filled.min()), int(filled.max())  # type: ignore[arg-type]
        # Seconds stored as milliseconds (and so on for the finer units) all land in the first
        # seven weeks of 1970; milliseconds stored as seconds land tens of millennia ahead.
        if (low >= 0 and high < _LAST_S) or high >= 1000 * _LAST_S:
            words = (
                f"{place(0)} holds the time {column.cast(pl.String, strict=False)[0] or low!s}, "
                "expected one before 2100 and not all in early 1970; its number was stored in "
                "another unit (s, ms, us, ns) than its type says"
            )
            problems.append(Finding("stamps", len(filled), place(0), words))
            ms = pl.Series("timestamp", [None] * len(ms), dtype=pl.Int64)
    return Stamps(ms, "time", tuple(problems))


def _parts_of_ms(times: pl.Series, ms: pl.Series, place: Place) -> list[Finding]:
    if getattr(times.dtype, "time_unit", "ms") == "ms":
        return []
    parts = (times.dt.epoch("ns") % 1_000_000 != 0).fill_null(value=False).to_numpy()
    return _first(parts, place, lambda row: f"the time {times[row]}, expected whole milliseconds")


def _read_numbers(whole: pl.Series, shown: pl.Series, place: Place) -> Stamps:
    """Tell the unit of each number; the first one that makes sense sets the file's unit."""
    shared = unit_of_all(whole)
    if shared is not None:
        return Stamps(_in_ms(whole, UNITS_PER_S[shared]), shared, ())
    values = whole.fill_null(-1).to_numpy()
    unit = _unit_of(values)
    known = np.flatnonzero(unit >= 0)
    names = list(UNITS_PER_S)
    empty = shown.is_null().to_numpy()
    problems = _empty(shown, place)
    problems += _first(
        (unit < 0) & ~empty,
        place,
        lambda row: f"timestamp {shown[row]!r}, {_EXPECTED}, between 1990 and 2100",
    )
    if not len(known):
        return Stamps(whole.clear(len(whole)), "unknown", tuple(problems))
    main = int(unit[known[0]])
    mixed = (unit >= 0) & (unit != main)
    problems += _first(
        mixed,
        place,
        lambda row: (
            f"timestamp {shown[row]} in {names[unit[row]]}, expected {names[main]} as in "
            f"{place(int(known[0]))}; the stamps of one file share one unit"
        ),
    )
    good = (unit == main) & ~empty
    per_s = UNITS_PER_S[names[main]]
    broken = good & (values % max(1, per_s // 1000) != 0)
    problems += _first(
        broken, place, lambda row: f"timestamp {shown[row]}, expected whole milliseconds"
    )
    ms = _in_ms(whole, per_s).set(pl.Series(~good), None)
    return Stamps(ms, names[main], tuple(problems))


def _in_ms(numbers: pl.Series, per_s: int) -> pl.Series:
    if per_s == 1:
        return numbers * 1000
    return numbers if per_s == 1000 else numbers // (per_s // 1000)


def _unit_of(values: IntArray) -> np.ndarray:
    """Return for each number (n,) the index of its unit, -1 where it fits none."""
    unit = np.full(len(values), -1, dtype=np.int8)
    for index, per_s in enumerate(UNITS_PER_S.values()):
        unit[(values >= _FIRST_S * per_s) & (values < _LAST_S * per_s)] = index
    return unit


def _read_text(text: pl.Series, place: Place) -> Stamps:
    plain = text.str.replace(r"(\d)T(\d)", "$1 $2").str.replace(r" ?(Z|UTC)$", "+00:00")
    ms = pl.Series("timestamp", [None] * len(text), dtype=pl.Int64)
    # What has two of the forms means one moment in both, so that the first cell's may go first.
    first = plain.drop_nulls().head(1)
    for form in sorted(_TEXT_FORMATS, key=lambda form: _in_form(first, form).null_count()):
        if ms.null_count() == text.null_count():
            break
        ms = ms.fill_null(_in_form(plain, form))
    wrong = (ms.is_null() & text.is_not_null()).to_numpy()
    problems = _empty(text, place)
    problems += _first(wrong, place, lambda row: f"timestamp {text[row]!r}, {_EXPECTED}")
    return Stamps(ms, "text", tuple(problems))


def _in_form(text: pl.Series, form: str) -> pl.Series:
    time = text.str.to_datetime(form, strict=False, time_unit="ms", ambiguous="null")
    return time.dt.epoch("ms")


def _empty(column: pl.Series, place: Place) -> list[Finding]:
    if not column.null_count():
        return []
    return _first(column.is_null().to_numpy(), place, lambda row: "no timestamp, expected one")


def _first(bad: BoolArray, place: Place, words: Callable[[int], str]) -> list[Finding]:
    if not bad.any():
        return []
    row, count = int(np.argmax(bad)), int(bad.sum())
    more = f" ({count} such rows)" if count > 1 else ""
    return [Finding("stamps", count, place(row), f"{place(row)} has {words(row)}{more}")]
