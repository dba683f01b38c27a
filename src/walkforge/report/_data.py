"""Which bars the run saw, where they came from, and what was done to them."""

from __future__ import annotations

from typing import Any

from ._blocks import Section, absent, folded, join, listing, prose, source, table
from ._coverage import coverage_picture
from ._html import Child, Html, tag
from ._run import Run, at, entries
from ._words import NOTHING, day, exact, is_number, listed, moment, number

_COLUMNS = (
    (("venue",), "Venue"),
    (("timeframe",), "Timeframe"),
    (("calendar",), "Calendar"),
    (("provenance",), "Provenance"),
    (("first",), "First bar"),
    (("last",), "Last bar"),
    (("rows",), "Bars"),
    (("segments",), "Segments"),
    (("holes", "missing_bars"), "Missing bars"),
    (("digest",), "Digest"),
)
"""Where a column stands in the facts of a symbol, and its heading."""

_NAMED = 12
"""So many of a list of names stand open."""

_IN_WORDS = ("venue", "timeframe", "calendar", "provenance", "first", "last", "digest")


def data(run: Run) -> Section:
    """Return one row per symbol of what data_info.json tells."""
    by_symbol = symbols_of(run)
    if not by_symbol:
        sentence = "No account of the bars: data_info.json is not there."
        return Section("data", "Data", absent(sentence))
    columns = [
        (path, name)
        for path, name in _COLUMNS
        if any(at(facts, *path) is not None for facts in by_symbol.values())
    ]
    body = join(
        prose(
            "Holes cut a series into segments: no feature window, label or trade runs across one, "
            "and bars are never invented. Equal digests mean equal bars."
        ),
        coverage_picture(by_symbol),
        table(
            label="Bars of every symbol",
            head=("Symbol", *(name for _, name in columns)),
            rows=[
                [symbol, *(_cell(path[-1], at(facts, *path)) for path, _ in columns)]
                for symbol, facts in by_symbol.items()
            ],
            words=[
                place for place, (path, _) in enumerate(columns, start=1) if path[0] in _IN_WORDS
            ],
            origin=source("data_info.json"),
        ),
        _liquid(by_symbol),
        _survivorship(run),
        _not_judged(run, by_symbol),
        _repairs(by_symbol),
    )
    return Section("data", "Data", body)


def symbols_of(run: Run) -> dict[str, Any]:
    """Return what data_info.json tells of each symbol."""
    whole = entries(run.data_info)
    return {symbol: facts for symbol, facts in whole.items() if isinstance(facts, dict)}


def span_of(run: Run) -> str:
    """Return `first to last` bar over all symbols, or nothing where it is not known."""
    firsts, lasts = (
        [moment(facts[end]) for facts in symbols_of(run).values() if facts.get(end) is not None]
        for end in ("first", "last")
    )
    return f"{day(min(firsts))} to {day(max(lasts))}" if firsts and lasts else ""


def _cell(key: str, value: Any) -> Child:
    if value is None:
        return NOTHING
    if key in ("first", "last"):
        return tag("span", day(value), class_="part")
    if key == "digest":
        return tag("code", str(value)[:10], title=str(value))
    return exact(value, number(value)) if is_number(value) else str(value)


def _repairs(by_symbol: dict[str, Any]) -> Html | None:
    """Return what was done to the bars before the run saw them, symbol by symbol."""
    lines = [
        f"{symbol}: {line}"
        for symbol, facts in by_symbol.items()
        for line in _list(facts.get("repairs"))
    ]
    if not lines:
        return None
    return join(
        prose("What was done to the bars before the run saw them:"),
        listing(lines),
        source("data_info.json", "*.repairs"),
    )


def _liquid(by_symbol: dict[str, Any]) -> Html | None:
    """Return when each symbol was among the most liquid, where that decided who took part."""
    told = {
        symbol: facts["most_liquid"]
        for symbol, facts in by_symbol.items()
        if "most_liquid" in facts
    }
    if not told:
        return None
    lines = [
        f"{symbol}: {number(at(one, 'decisions'))} decisions, {day(at(one, 'first'))} to "
        f"{day(at(one, 'last'))}"
        for symbol, one in told.items()
        if at(one, "decisions")
    ]
    return join(
        prose(
            f"{number(len(lines))} of {number(len(told))} symbols took part, each while it was "
            "among the most liquid by what was known then."
        ),
        folded("When", listing(lines)),
        source("data_info.json", "*.most_liquid"),
    )


def _survivorship(run: Run) -> Html | None:
    """Return by what the choice of symbols knew the future."""
    told = str(at(run.run, "survivorship") or "")
    if not told:
        return None
    words = tag("b", f"{told[:1].upper()}{told[1:]}.")
    return join(prose(words), source("run.json", "survivorship"))


def _not_judged(run: Run, by_symbol: dict[str, Any]) -> Html | None:
    """Return what teaches without being judged, what was left out, and what had no bars."""
    reasons = entries(run.run, "left_out")
    teaches = at(run.study, "model", "name") == "marketgpt"
    taught = [name for name in reasons if teaches and name in by_symbol]
    gone = [name for name in reasons if name not in taught]
    missing = [str(name) for name in _list(at(run.run, "missing_assets"))]
    universe = at(run.study, "data", "universe") or "that was asked for"
    keys = ["left_out"] * bool(reasons) + ["missing_assets"] * bool(missing)
    if not keys:
        return None
    return join(
        _named(taught, "teach but are not judged", reasons),
        _named(gone, "left out", reasons),
        _named(missing, f"of the universe {universe} without bars", {}),
        source("run.json", *keys),
    )


def _named(names: list[str], what: str, reasons: dict[str, Any]) -> Html | None:
    """Return how many and the first of them; all of them, and why, are folded."""
    if not names:
        return None
    told = [f"{name}: {reasons[name]}" for name in names if name in reasons]
    whole = tag("ul", [tag("li", line) for line in told], class_="lines")
    return join(
        prose(tag("b", f"{number(len(names))} {what}"), f": {listed(names, _NAMED)}."),
        folded("Why", whole) if told else None,
        folded("All of them", prose(", ".join(names))) if len(names) > _NAMED > len(told) else None,
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
