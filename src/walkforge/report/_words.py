"""Numbers as people read them; the exact value stays beside each in the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from walkforge.base import UsageError, parse_utc_ms, utc_text

from ._html import Child, Html, tag

NOTHING = "–"

_LATEST_MS = 253_402_300_800_000
"""The year 10000, where calendars end."""
_PROPER_NAMES = {"sharpe": "Sharpe", "lightgbm": "LightGBM", "markov": "Markov"}


def is_number(value: Any) -> bool:
    """Return whether a value from a file is a finite number; a flag is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any) -> str:
    """Return four significant digits, cents at least, thousands grouped, with a true minus."""
    if not is_number(value):
        return NOTHING
    size = abs(value)
    if float(value).is_integer() and size < 1e15:
        text = f"{int(value):,}"
    elif size >= 1e15 or size < 0.001:
        text = f"{value:.2e}"
    else:
        digits = max(2, 3 - math.floor(math.log10(size)))
        text = f"{value:,.{digits}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def decimals(value: Any, digits: int, *, signed: bool = False) -> str:
    """Return a number with a fixed count of decimals, for columns that are compared."""
    if not is_number(value):
        return NOTHING
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")  # "−0.0000" says nothing that "0.0000" does not
    return text.replace("-", "−")


def percent(frac: Any, digits: int = 1, *, signed: bool = False) -> str:
    """Return a fraction as percent."""
    if not is_number(frac):
        return NOTHING
    return f"{decimals(100 * frac, digits, signed=signed)}\u202f%"  # a space that does not break


def exact(value: Any, text: str) -> Html:
    """Return `text` with the exact value behind it, for machines and for a curious reader."""
    return tag("data", text, value=repr(value), title=repr(value))


def moment(value: Any) -> str:
    """Return a time from a file (ms or ISO text) as `2024-01-31 23:59`, UTC; else its text."""
    time_ms = moment_ms(value)
    if time_ms is None:
        return NOTHING if value is None else str(value)
    return utc_text(time_ms)


def day(value: Any) -> str:
    """Return a time from a file like `moment`, without its midnight."""
    return moment(value).removesuffix(" 00:00")


def moment_ms(value: Any) -> int | None:
    """Return a time from a file in ms UTC, or None where it is none."""
    if is_number(value):
        return int(value) if abs(value) < _LATEST_MS else None
    try:
        return parse_utc_ms(value.replace("Z", "+00:00"))
    except (AttributeError, UsageError):
        return None


def span(measure: Any, digits: int, *, signed: bool = False) -> str:
    """Return the interval of a measure as `0.31 … 0.36`, or nothing where it has none."""
    ends = [measure.get(end) for end in ("low", "high")] if isinstance(measure, dict) else [None]
    if not all(is_number(end) for end in ends):
        return ""
    return " … ".join(decimals(end, digits, signed=signed) for end in ends)


def spoken(name: Any) -> str:
    """Return a key as words: `beats_lightgbm` becomes `beats LightGBM`."""
    return " ".join(_PROPER_NAMES.get(word, word) for word in str(name).split("_"))


def titled(name: Any) -> str:
    """Return a key as words that begin a line: `Beats LightGBM`."""
    words = spoken(name)
    return words[:1].upper() + words[1:]


def listed(names: Sequence[str], most: int) -> str:
    """Return names in a row, or the first of them and how many there are."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {number(len(names) - most)} more"


def duration(seconds: Any) -> str:
    """Return `42 s`, `3 min 20 s` or `2 h 5 min`."""
    if not is_number(seconds):
        return NOTHING
    whole = round(seconds)
    if whole < 60:
        return f"{number(seconds) if seconds < 10 else whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(n: int, one: str, many: str | None = None) -> str:
    """Return `1 fold` or `3 folds`."""
    return f"{number(n)} {one if n == 1 else many or one + 's'}"


def code(text: Child) -> Html:
    """Return text set as code."""
    return tag("code", text)
