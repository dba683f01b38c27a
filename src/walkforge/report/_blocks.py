"""What sections are made of: prose, tables, pictures, and where their numbers come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._html import Child, Html, join, json_inside_script, tag
from ._words import code, count, number

_OPEN_ROWS = 40
"""A table of 600 symbols would hide the page: what is more is folded."""
_MOST_ROWS = 200
"""The file that a table names has the rest."""
_OPEN_LINES = 8


@dataclass(frozen=True, slots=True)
class Section:
    """One heading of the page and what stands under it."""

    name: str
    title: str
    body: Html


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a picture's key: the colour's role, the mark's shape, and its meaning."""

    role: str
    shape: str  # line, thin, dash, dot, ring, tick, bar or band
    meaning: str


def prose(*children: Child) -> Html:
    """Return a paragraph."""
    return tag("p", *children)


def absent(sentence: str) -> Html:
    """Return the plain sentence that stands where a run left nothing to show."""
    return tag("p", sentence, class_="absent")


def heading(title: str) -> Html:
    """Return a heading inside a section."""
    return tag("h3", title)


def source(file: str, *keys: str) -> Html:
    """Return the line that names the file in the run folder, and the keys in it.

    A `*` in a key stands for every name at its place.
    """
    return sources({file: keys})


def sources(keys_by_file: Mapping[str, Sequence[str]]) -> Html:
    """Return the line that names several files, and the keys in each."""
    origins = [_origin(file, keys) for file, keys in keys_by_file.items()]
    spread = [["; " if place else None, origin] for place, origin in enumerate(origins)]
    return tag("p", "From ", spread, class_="source")


def _origin(file: str, keys: Sequence[str]) -> Html:
    inside = [[" › " if place == 0 else " · ", code(key)] for place, key in enumerate(keys)]
    return tag("span", code(file), inside, data_file=file, data_keys=" ".join(keys))


def table(
    *,
    label: str,
    head: Sequence[Child],
    rows: Sequence[Sequence[Child]],
    origin: Child,
    words: Collection[int] = (),
    strong_column: int | None = None,
    stacked: bool = False,
) -> Html:
    """Return a table that scrolls inside its own box, with its origin under it.

    Rows beyond the first 40 are folded below them, under the same head.
    The first cell of a row is its heading. Columns hold numbers, set right, but for those in
    `words`; `strong_column` is set apart. On a phone the rows of a `stacked` table, whose head
    must be plain words, stand one below the other as small cards.
    """
    shown = rows[:_MOST_ROWS]
    labels = [str(name) for name in head] if stacked else None
    head_cells = [
        tag("th", cell, scope="col", class_=_kind(column, words, strong_column))
        for column, cell in enumerate(head)
    ]

    def box(some: Sequence[Sequence[Child]], name: str) -> Html:
        grid = tag(
            "table",
            tag("caption", name, class_="unseen"),
            tag("thead", tag("tr", head_cells)),
            tag(
                "tbody",
                [_row(row, words, strong_column=strong_column, labels=labels) for row in some],
            ),
            class_="stacked" if stacked else None,
        )
        return tag("div", grid, class_="scroll", role="region", aria_label=name, tabindex="0")

    more = shown[_OPEN_ROWS:]
    return tag(
        "div",
        box(shown[:_OPEN_ROWS], label),
        folded(f"{count(len(more), 'more row')}", box(more, f"{label}, the rest"))
        if more
        else None,
        _cut(len(shown), len(rows)),
        origin,
        class_="table",
    )


def folded(summary: str, *children: Child) -> Html:
    """Return what a reader opens."""
    return tag("details", tag("summary", summary), *children)


def listing(lines: Sequence[Child]) -> Html:
    """Return a list of lines; where there are many, the rest is folded."""
    first, more = lines[:_OPEN_LINES], lines[_OPEN_LINES:]
    return join(
        _lines(first),
        folded(count(len(more), "more line"), _lines(more)) if more else None,
    )


def _lines(lines: Sequence[Child]) -> Html:
    return tag("ul", [tag("li", line) for line in lines], class_="lines")


def picture(
    figure: dict[str, Any],
    *,
    name: str,
    title: str,
    reading: str,
    keys: Sequence[Key] = (),
    alt: str,
    origin: Child,
) -> Html:
    """Return a Plotly picture; `reading` tells how to look at it, `alt` what it shows in words.

    The figure is plain data. A text in it that starts with `--` is the name of a colour or font
    of the style sheet, so that one figure fits the light and the dark page.
    """
    height = figure["layout"]["height"]
    return tag(
        "figure",
        tag("h3", title),
        tag("p", reading, class_="reading"),
        tag("ul", [_key(key) for key in keys], class_="key") if keys else None,
        tag(
            "div",
            class_="plot",
            id=f"plot-{name}",
            data_figure=f"figure-{name}",
            role="img",
            aria_label=f"{title}. {alt}",
            style=f"height:{height}px",
        ),
        tag("script", json_inside_script(figure), type="application/json", id=f"figure-{name}"),
        tag("figcaption", origin),
    )


def facts(pairs: Sequence[tuple[str, Child]], *, compact: bool = False) -> Html:
    """Return a list of names and what they are, or `compact` ones side by side.

    Pairs without a value are left out.
    """
    return tag(
        "dl",
        [
            tag("div", tag("dt", name), tag("dd", value))
            for name, value in pairs
            if value not in (None, "")
        ],
        class_="facts compact" if compact else "facts",
    )


def beside(*blocks: Child, narrow: bool = False) -> Html:
    """Return blocks that stand side by side where there is room; three of them if `narrow`."""
    return tag("div", *blocks, class_="beside narrow" if narrow else "beside")


def _row(
    cells: Sequence[Child],
    words: Collection[int],
    *,
    strong_column: int | None,
    labels: list[str] | None,
) -> Html:
    first, *others = cells
    return tag(
        "tr",
        tag("th", first, scope="row"),
        [
            tag(
                "td",
                cell,
                class_=_kind(column, words, strong_column),
                data_label=labels[column] if labels else None,
            )
            for column, cell in enumerate(others, start=1)
        ],
    )


def _cut(n_shown: int, n_rows: int) -> Html | None:
    if n_shown == n_rows:
        return None
    return tag("p", f"The first {number(n_shown)} of {number(n_rows)} rows.", class_="source")


def _kind(column: int, words: Collection[int], strong_column: int | None) -> str | None:
    kinds = ["strong"] if column == strong_column else []
    kinds += [] if column == 0 or column in words else ["number"]
    return " ".join(kinds) or None


def _key(key: Key) -> Html:
    mark = tag("span", class_=f"mark {key.shape}", style=f"--mark:var({key.role})")
    return tag("li", mark, key.meaning)


__all__ = [
    "Key",
    "Section",
    "absent",
    "beside",
    "facts",
    "folded",
    "heading",
    "join",
    "listing",
    "picture",
    "prose",
    "source",
    "sources",
    "table",
]
