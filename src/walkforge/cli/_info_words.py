"""Stored series as a person reads them: a line and a strip of coverage each."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from walkforge.base import counted

from ._strips import LEAST_STRIP, axis_text, common_axis, strip

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from walkforge.market import SeriesInfo

STRIP_STYLE = "cyan"
# A pipe has no width, and its lines are not broken.
PIPED_STRIP = 40
_HEADS = ("", "Bars", "First", "Last", "Holes", "Missing")
GAP = 2


@dataclass(frozen=True, slots=True)
class _Group:
    """Series that share an axis of time, and what each is called among them."""

    title: str
    names: list[str]
    infos: "list[SeriesInfo]"


def print_infos(console: "Console", infos: "Sequence[SeriesInfo]") -> None:
    """Print a line per series; those of one venue and timeframe share an axis of time."""
    for number, group in enumerate(_groups(infos)):
        if console.is_terminal:
            say(console, "\n" * (number > 0) + f"{group.title}: {_series(group)}", style="bold")
            _print_table(console, group)
        else:
            _print_piped(group)


def say(console: "Console", line: str, *, style: str = "") -> None:
    """Print a line; no name in it is taken for markup, and in a pipe it is not broken."""
    from rich.text import Text

    if console.is_terminal:
        console.print(Text(line, style))
    else:
        print(line)


def grid(heads: Sequence[str], *, words: Sequence[int]) -> "Table":
    """Return a table without lines; columns hold numbers, set right, but for those in `words`."""
    from rich.table import Table

    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    for place, head in enumerate(heads):
        is_words = place in words
        table.add_column(head, justify="left" if is_words else "right", no_wrap=True)
    return table


def date(at_ms: int) -> str:
    """Return `2024-01-31`, UTC."""
    from walkforge.base import utc_text

    return utc_text(at_ms)[:10]


def size(n_bytes: int) -> str:
    """Return `834 kB` or `12.3 MB`."""
    return f"{n_bytes / 1e3:,.0f} kB" if n_bytes < 1e6 else f"{n_bytes / 1e6:,.1f} MB"


def holes(info: "SeriesInfo") -> str:
    """Return how many holes there are, and how many bars lack in them."""
    if not info.holes:
        return "no hole"
    about = "" if info.calendar == "24/7" else "about "
    return f"{counted(len(info.holes), 'hole')}, {about}{counted(info.missing_bars, 'missing bar')}"


def _groups(infos: "Sequence[SeriesInfo]") -> list[_Group]:
    from walkforge.base import timeframe_ms

    stored = [info.stored for info in infos]
    if len({(one.venue, one.symbol) for one in stored}) == 1:
        title = f"{stored[0].venue}/{stored[0].symbol}"
        return [_Group(title, [one.timeframe for one in stored], list(infos))]

    def key(info: "SeriesInfo") -> tuple[str, int, str]:
        return info.stored.venue, timeframe_ms(info.stored.timeframe), info.stored.timeframe

    return [
        _Group(f"{venue}, {timeframe}", [info.stored.symbol for info in own], own)
        for (venue, _, timeframe), group in groupby(sorted(infos, key=key), key=key)
        for own in [list(group)]
    ]


def _series(group: _Group) -> str:
    return "1 series" if len(group.infos) == 1 else f"{len(group.infos):,} series"


def _print_table(console: "Console", group: _Group) -> None:
    from rich.text import Text

    rows = [_cells(name, info) for name, info in zip(group.names, group.infos, strict=True)]
    taken = [max(map(len, column)) + GAP for column in zip(_HEADS, *rows, strict=True)]
    width = console.width - sum(taken)
    if width < LEAST_STRIP:
        _print_narrow(console, group)
        return
    axis = common_axis(group.infos)
    first, *others = _HEADS
    table = grid([first, axis_text(axis, width), *others], words=(0, 1))
    for info, (name, *cells) in zip(group.infos, rows, strict=True):
        table.add_row(Text(name), Text(strip(info, axis, width), STRIP_STYLE), *cells)
    console.print(table)


def _cells(name: str, info: "SeriesInfo") -> list[str]:
    about = "" if info.calendar == "24/7" else "~"
    return [
        name,
        f"{info.stored.rows:,}",
        date(info.stored.first_ms),
        date(info.stored.last_ms),
        f"{len(info.holes):,}" if info.holes else "-",
        f"{about}{info.missing_bars:,}" if info.holes else "-",
    ]


def _print_narrow(console: "Console", group: _Group) -> None:
    """Print a strip below every line, where it has no room beside it."""
    axis = common_axis(group.infos)
    say(console, axis_text(axis, console.width), style="dim")
    for name, info in zip(group.names, group.infos, strict=True):
        say(console, f"{name}: {_told(info)}")
        say(console, strip(info, axis, console.width), style=STRIP_STYLE)


def _print_piped(group: _Group) -> None:
    axis = common_axis(group.infos)
    stored = [info.stored for info in group.infos]
    names = [f"{one.venue}/{one.symbol}/{one.timeframe}" for one in stored]
    longest = max(map(len, names))
    print(f"{'':{longest}}   {axis_text(axis, PIPED_STRIP)}".rstrip())
    for name, info in zip(names, group.infos, strict=True):
        print(f"{name:{longest}}  |{strip(info, axis, PIPED_STRIP)}|  {_told(info)}")


def _told(info: "SeriesInfo") -> str:
    first, last = date(info.stored.first_ms), date(info.stored.last_ms)
    return f"{counted(info.stored.rows, 'bar')}, {first} to {last}, {holes(info)}"
