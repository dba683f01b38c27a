"""What a store holds: a table on a terminal, a line per series anywhere else."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._info_words import GAP, date, grid, say, size

if TYPE_CHECKING:
    from rich.console import Console

    from walkforge.market import StoredBars

_HEADS = ("Series", "Bars", "First", "Last", "Size", "Provenance", "Sources", "Fetched")
_WORDS = (0, 5, 6, 7)
# What stands one below the other where all of it side by side is too wide.
_STACKS = ((0,), (1,), (2, 3), (4, 5), (6, 7))


def print_stored(console: "Console", stored: "Sequence[StoredBars]") -> None:
    """Print the series, side by side what has room there; nothing is wider than the terminal."""
    rows = [_cells(one) for one in stored]
    stacked = [_stacked(row) for row in rows]
    if not console.is_terminal or not stored:
        for one in stored:
            print(one.summary())
    elif _width([_HEADS, *rows]) <= console.width:
        _print_table(console, _HEADS, rows, words=_WORDS)
    elif _width([_stacked(_HEADS), *stacked]) <= console.width:
        _print_table(console, _stacked(_HEADS), stacked, words=(0, 2, 3, 4))
    else:
        for one in stored:
            say(console, one.summary())


def _stacked(row: Sequence[str]) -> list[str]:
    return ["\n".join(row[k] for k in stack) for stack in _STACKS]


def _width(rows: Sequence[Sequence[str]]) -> int:
    columns = zip(*rows, strict=True)
    widths = [max(len(line) for cell in column for line in cell.split("\n")) for column in columns]
    return sum(widths) + GAP * (len(widths) - 1)


def _print_table(
    console: "Console", heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int]
) -> None:
    from rich.text import Text

    table = grid(heads, words=words)
    for cells in rows:
        table.add_row(*map(Text, cells))
    console.print(table)


def _cells(one: "StoredBars") -> list[str]:
    return [
        f"{one.venue}/{one.symbol}/{one.timeframe}",
        f"{one.rows:,}",
        date(one.first_ms),
        date(one.last_ms),
        size(one.size_bytes),
        one.provenance,
        ", ".join(one.brought_by) or "-",
        "-" if one.fetched_at is None else one.fetched_at[:16].replace("T", " "),
    ]
