"""What the columns of bars are called, here and in files of others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from walkforge.base import BarsError, BoolArray, FloatArray, listed, nearest

PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume")
KLINE_COLUMNS = (
    "open_time",
    *VALUES,
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)

_OTHER_NAMES = {
    "timestamp": ("timestamp", "open_time", "opentime", "datetime", "date", "time"),
    "volume": ("volume", "vol"),
}
_SYMBOL_NAMES = ("symbol", "ticker")
# Others are patterns to polars, or do not come back from a CSV as they went.
_PLAIN = re.compile(r"\w(?:[\w .-]*\w)?")
# Volumes that were summed in another order differ in their last digit; that is no contradiction.
ROUNDING_FRAC = 1e-12


def find_columns(source: str, there: Sequence[str]) -> dict[str, str]:
    """Return the file's own name of each column we need; raise BarsError where one is missing."""
    plain = _plain(there)
    found = {}
    for name in ("timestamp", *VALUES):
        own = next((n for n in _OTHER_NAMES.get(name, (name,)) if n in plain), None)
        if own is None:
            raise BarsError(
                f"{source}: no column {name!r}{nearest(name, plain)}; found "
                f"{listed([n[:40] for n in there])}; expected timestamp, {', '.join(VALUES)}"
            )
        found[name] = plain[own]
    return found


def find_symbol_column(there: Sequence[str]) -> str | None:
    """Return the file's own name of the column that says whose bar a row is, None without one."""
    plain = _plain(there)
    return next((plain[name] for name in _SYMBOL_NAMES if name in plain), None)


def is_plain(column: str) -> bool:
    """Return whether a further column may be called so."""
    return _PLAIN.fullmatch(column) is not None


def refuse_odd_names(place: str, columns: Iterable[str]) -> None:
    """Raise BarsError for the first further column whose name is not a plain one."""
    for column in columns:
        if not is_plain(column):
            raise BarsError(
                f"{place}: a column is named {column[:40]!r}, expected letters, digits and `_`, "
                "with spaces, points and hyphens between them; give it another name"
            )


def _plain(there: Sequence[str]) -> dict[str, str]:
    """Return the columns by their names in lower case with underscores; the first of two stays."""
    plain: dict[str, str] = {}
    for column in there:
        plain.setdefault(column.strip().lower().replace(" ", "_"), column)
    return plain


def contradict(
    one: FloatArray, other: FloatArray, rounding_frac: float = ROUNDING_FRAC
) -> BoolArray:
    """Return which rows (n,) of finite values (n, 5) differ by more than rounding."""
    differs: BoolArray = np.abs(one - other) > rounding_frac * np.abs(one)
    return np.any(differs, axis=-1)
