"""What was cut from time for which purpose: the slices of every fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ._blocks import Key, Section, absent, join, picture, prose, source, table
from ._figure import date_axis, layout, plain, y_axis
from ._html import Child, Html, tag
from ._run import Run, at, records
from ._words import NOTHING, count, day, exact, is_number, listed, moment, moment_ms, number

SLICES = (
    ("train", "--train", "train"),
    ("validation", "--validation", "validation (stops training)"),
    ("calibration", "--calibration", "calibration"),
    ("test", "--model", "test (all scores)"),
)

_MOST_DRAWN = 40
"""More rows than these are too thin to see; the table has all of them."""

Spans = dict[str, tuple[int, int]]


@dataclass(slots=True)
class Line:
    """One fold of the symbols that share its slices."""

    fold: str
    spans: Spans
    """Beginning and end of each slice, ms UTC."""
    symbols: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Rows of all these symbols per slice, and `purged` and `embargoed`."""


def time_slices(run: Run) -> Section:
    """Return the timeline of the folds and what was purged from them."""
    lines = fold_lines(records(run.folds))
    if not lines:
        sentence = "No folds in this run: folds.json is not there."
        return Section("folds", "Folds", absent(sentence))
    body = join(
        prose(
            "Every fold walks forward: it learns on the past, stops and calibrates on what "
            "follows, and is scored on what comes last. Rows whose outcome would be known only "
            "inside the next slice are purged, and an embargo follows. Good is a test slice that "
            "nothing before it touches."
        ),
        _timeline_picture(lines),
        _table(lines),
    )
    return Section("folds", "Folds", body)


def fold_lines(folds: Sequence[dict[str, Any]]) -> list[Line]:
    """Return one line per fold, or several where its symbols have slices of their own."""
    lines: dict[str, Line] = {}
    for fold in folds:
        spans = _spans(fold)
        if not spans:
            continue
        name = str(fold.get("fold"))
        line = lines.setdefault(f"{name} {spans}", Line(name, spans))
        line.symbols.append(str(fold.get("series") or fold.get("symbol", "")))
        line.counts.update(_counts(fold))
    return list(lines.values())


def _spans(fold: dict[str, Any]) -> Spans:
    """Return the slices of a fold that have a readable beginning and end."""
    spans = {}
    for name, _, _ in SLICES:
        ends = fold.get(name)
        if isinstance(ends, list) and len(ends) == 2:
            start, end = moment_ms(ends[0]), moment_ms(ends[1])
            if start is not None and end is not None:
                spans[name] = (start, end)
    return spans


def _counts(fold: dict[str, Any]) -> dict[str, int]:
    found = {name: at(fold, "rows", name) for name, _, _ in SLICES}
    found |= {name: fold.get(name) for name in ("purged", "embargoed")}
    return {name: int(n) for name, n in found.items() if is_number(n)}


def _titled(lines: Sequence[Line]) -> list[tuple[str, Line]]:
    """Return every line with its title: the symbols only where a fold has several lines."""
    alike = Counter(line.fold for line in lines)
    return [
        (
            f"fold {line.fold}"
            if alike[line.fold] == 1
            else f"fold {line.fold}, {listed(line.symbols, 2)}",
            line,
        )
        for line in lines
    ]


def _timeline_picture(lines: Sequence[Line]) -> Html:
    tests = [line.spans["test"] for line in lines if "test" in line.spans]
    reach = (
        f"; test slices lie between {moment(min(start for start, _ in tests))} and "
        f"{moment(max(end for _, end in tests))}"
        if tests
        else ""
    )
    some = f" The first {_MOST_DRAWN} of {number(len(lines))} rows." * (len(lines) > _MOST_DRAWN)
    return picture(
        _timeline_figure(_titled(lines)[:_MOST_DRAWN]),
        name="timeline",
        title="What each fold learned from, and what it was tested on",
        reading=f"Each row is a fold; time runs to the right, in UTC.{some}",
        keys=[Key(role, "bar", meaning) for _, role, meaning in SLICES],
        alt=f"{count(len(lines), 'fold')}{reach}.",
        origin=source("folds.json", *(f"*.{name}" for name, _, _ in SLICES)),
    )


def _timeline_figure(lines: Sequence[tuple[str, Line]]) -> dict[str, Any]:
    return {
        "data": [_bars(name, role, lines) for name, role, _ in SLICES],
        "layout": layout(
            height=min(900, 70 + 30 * len(lines)),
            margin={"l": 8, "r": 12, "t": 4, "b": 40},
            barmode="overlay",
            bargap=0.35,
            xaxis=date_axis(),
            yaxis=y_axis(autorange="reversed", showgrid=False, type="category"),
        ),
    }


def _bars(name: str, role: str, lines: Sequence[tuple[str, Line]]) -> dict[str, Any]:
    here = {title: line.spans[name] for title, line in lines if name in line.spans}
    return {
        "type": "bar",
        "orientation": "h",
        "y": [plain(title) for title in here],
        "base": [start for start, _ in here.values()],
        "x": [end - start for start, end in here.values()],
        "marker": {"color": role, "line": {"width": 1, "color": "--paper"}},
        "customdata": [f"{moment(start)} to {moment(end)}" for start, end in here.values()],
        "hovertemplate": f"{name}: %{{customdata}}<extra>%{{y}}</extra>",
    }


def _table(lines: Sequence[Line]) -> Html:
    slices = [name for name, _, _ in SLICES]
    return table(
        label="Slices of every fold in UTC, and the rows left out between them",
        head=("Fold", *(name.capitalize() for name in slices), "Purged", "Embargoed"),
        rows=[
            [
                tag("span", title, class_="part"),
                *(_slice_cell(line, name) for name in slices),
                *(_count_cell(line, name) for name in ("purged", "embargoed")),
            ]
            for title, line in _titled(lines)
        ],
        words=(1, 2, 3, 4),
        origin=source(
            "folds.json", *(f"*.{name}" for name in (*slices, "rows", "purged", "embargoed"))
        ),
    )


def _slice_cell(line: Line, name: str) -> Child:
    if name not in line.spans:
        return NOTHING
    start, end = (day(end) for end in line.spans[name])
    n = line.counts.get(name)
    return [
        tag("span", f"{start} to", class_="part"),
        tag("span", end, class_="part"),
        tag("small", count(n, "row")) if n is not None else None,
    ]


def _count_cell(line: Line, name: str) -> Child:
    n = line.counts.get(name)
    return exact(n, number(n)) if n is not None else NOTHING
