"""All that is known of one stored series, as a person reads it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from walkforge.base import counted

from ._info_words import PIPED_STRIP, STRIP_STYLE, date, holes, say, size
from ._strips import axis_text, common_axis, strip

if TYPE_CHECKING:
    from rich.console import Console

    from walkforge.market import Funding, Instrument, SeriesInfo

_SHOWN_HOLES = 10

Lines = list[str]


def print_details(
    console: "Console",
    info: "SeriesInfo",
    instrument: "Instrument | None",
    funding: "Funding | None",
) -> None:
    """Print a series, its strip as wide as the terminal, and line by line what is known of it."""
    axis = common_axis([info])
    width = console.width if console.is_terminal else 2 * PIPED_STRIP
    say(console, info.stored.summary(), style="bold")
    say(console, axis_text(axis, width), style="dim")
    say(console, strip(info, axis, width), style=STRIP_STYLE)
    one = info.stored
    facts: list[tuple[str, Lines]] = [
        ("provenance", [one.provenance]),
        ("calendar", [info.calendar]),
        ("holes", [holes(info), *_largest(info)]),
        ("on disk", [f"{size(one.size_bytes)}, {one.path}"]),
        ("sources", _sources(info.sources) or ["nobody wrote them down"]),
        ("columns", [", ".join(info.columns)]),
        ("history", list(info.history) or ["nothing was done to the bars"]),
        ("instrument", _instrument(instrument)),
        ("funding", [_funding(funding)]),
    ]
    _print_facts(console, facts)


def _largest(info: "SeriesInfo") -> Lines:
    from walkforge.base import utc_text

    largest = sorted(info.holes, key=lambda hole: -hole.missing_bars)[:_SHOWN_HOLES]
    about = "" if info.calendar == "24/7" else "about "
    lines = [
        f"{utc_text(hole.after_ms)} to {utc_text(hole.before_ms)}, "
        f"{about}{counted(hole.missing_bars, 'bar')}"
        for hole in largest
    ]
    more = len(info.holes) - len(largest)
    return [*lines, f"and {counted(more, 'smaller one')}"] if more else lines


def _sources(entries: Sequence[dict[str, Any]]) -> Lines:
    """Return a line per source: how many files or pieces it brought, and when."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        by_name.setdefault(str(entry.get("source", "file")), []).append(entry)
    lines = []
    for name, own in by_name.items():
        moments = sorted(str(entry["fetched_at"]) for entry in own if entry.get("fetched_at"))
        ends = dict.fromkeys(_minute(moments[end]) for end in (0, -1) if moments)
        pieces = counted(sum(entry.get("pieces", 1) for entry in own), "piece")
        lines.append(f"{name}: {pieces}" + (f", {' to '.join(ends)}" if ends else ""))
    return lines


def _minute(moment: str) -> str:
    """Return an ISO time of UTC as `2024-01-31 12:00`."""
    return moment[:16].replace("T", " ")


def _instrument(one: "Instrument | None") -> Lines:
    if one is None:
        return ["nobody told it"]
    fees = [
        f"{name} fee {100 * frac:g} %"
        for name, frac in (("maker", one.maker_fee_frac), ("taker", one.taker_fee_frac))
        if frac is not None
    ]
    hours = one.funding_interval_h
    every = [] if hours is None else [f"funding every {hours:g} h"]
    return [
        f"tick {one.tick_size:g}, lot step {one.lot_step:g}, minimum notional "
        f"{one.min_notional:g}, contract size {one.contract_size:g}",
        *([", ".join([*fees, *every])] if fees or every else []),
        f"by {one.source}",
    ]


def _funding(funding: "Funding | None") -> str:
    if funding is None or not len(funding):
        return "none stored"
    first, last = (date(int(funding.timestamp[end])) for end in (0, -1))
    return f"{counted(len(funding), 'rate')}, {first} to {last}, {funding.provenance}"


def _print_facts(console: "Console", facts: Sequence[tuple[str, Lines]]) -> None:
    """Print names and what they are; on a terminal what does not fit goes on below itself."""
    from rich.table import Table
    from rich.text import Text

    if not console.is_terminal:
        for name, lines in facts:
            for number, line in enumerate(lines):
                print(f"{'' if number else name:<12}{line}")
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, lines in facts:
        table.add_row(name, Text("\n".join(lines)))
    console.print(table)
