"""What the model takes for what: the confusion matrix, and how often it says each class."""

from __future__ import annotations

from typing import Any

from ._blocks import Section, absent, beside, heading, join, prose, source, table
from ._html import Html, tag
from ._run import Run, at, entries
from ._words import NOTHING, exact, is_number, number, percent

_TRADES = {"down": "SHORT", "hold": "NO_TRADE", "up": "LONG"}
"""What a class is called where it means the trade that would have won."""


def confusion(run: Run) -> Section:
    """Return the confusion matrix: counts and each row's shares, pooled and symbol by symbol."""
    matrix = at(run.metrics, "model", "pooled", "confusion_matrix")
    labels, counts = at(matrix, "labels"), at(matrix, "counts")
    if not _is_square(labels, counts):
        body: Html = absent("No confusion matrix in this run.")
    else:
        body = join(
            prose(
                "Each row is what happened, each column what the model said; a row's shares make "
                "100 %. Good is a dark diagonal. A single dark column is a model that says one "
                "thing whatever happens."
            ),
            beside(_matrix(_titles(run, labels), counts), _class_shares(run)),
            _by_symbol(run, labels),
        )
    return Section("confusion", "Confusion", body)


def _titles(run: Run, labels: list[Any]) -> list[str]:
    """Return the classes' names; where a class is a trade, what traders call it beside."""
    trades = at(run.study, "labels", "kind") == "triple_barrier"
    return [f"{_TRADES[name]} ({name})" if trades and name in _TRADES else name for name in labels]


def _by_symbol(run: Run, labels: list[Any]) -> Html | None:
    """Return each row's shares for every symbol, in the order of the pooled matrix."""
    found = {
        name: at(block, "confusion_matrix", "counts")
        for name, block in entries(run.metrics, "model", "by_symbol").items()
    }
    squares = {name: counts for name, counts in found.items() if _is_square(labels, counts)}
    if len(squares) < 2:
        return None
    heads = [f"{came} as {said}" for came in labels for said in labels]
    return join(
        heading("Symbol by symbol"),
        table(
            label="Shares of what the model said, of every class that came, for every symbol",
            head=("Symbol", *heads, "Rows"),
            rows=[
                [
                    name,
                    *(
                        percent(n / sum(row)) if sum(row) else NOTHING
                        for row in counts
                        for n in row
                    ),
                    number(sum(map(sum, counts))),
                ]
                for name, counts in squares.items()
            ],
            origin=source("metrics.json", "model.by_symbol.*.confusion_matrix"),
        ),
    )


def _is_square(labels: Any, counts: Any) -> bool:
    if not (isinstance(labels, list) and isinstance(counts, list) and labels):
        return False
    rows = [row for row in counts if isinstance(row, list) and len(row) == len(labels)]
    return len(rows) == len(labels) and all(is_number(n) for row in rows for n in row)


def _matrix(labels: list[Any], counts: list[list[float]]) -> Html:
    """Return the matrix as a table whose cells are tinted by their share of the row."""
    head = tag(
        "thead",
        tag("tr", tag("td"), tag("th", "the model said", scope="colgroup", colspan=len(labels))),
        tag("tr", tag("td", "it went"), [tag("th", str(name), scope="col") for name in labels]),
    )
    body = [
        tag("tr", tag("th", str(name), scope="row"), [_cell(n, sum(row)) for n in row])
        for name, row in zip(labels, counts, strict=True)
    ]
    grid = tag(
        "table",
        tag("caption", "Confusion matrix: counts, and shares of each row", class_="unseen"),
        head,
        tag("tbody", body),
        class_="matrix",
    )
    return tag(
        "div",
        heading("What came, and what the model said"),
        tag("div", grid, class_="scroll"),
        source("metrics.json", "model.pooled.confusion_matrix"),
    )


def _cell(n: float, total: float) -> Html:
    share = n / total if total else 0.0
    return tag(
        "td",
        tag("b", percent(share)),
        tag("small", exact(n, number(n))),
        # Not the full colour at 100 %: words must stay readable on it, in both schemes.
        style=f"--tint:{60 * share:.1f}%",
    )


def _class_shares(run: Run) -> Html | None:
    shares = entries(run.diagnostics, "class_shares")
    said, came = entries(shares, "predicted"), entries(shares, "true")
    if not said:
        return None
    grid = table(
        label="Share of every class",
        head=("Class", "Said", "Came"),
        rows=[[name, percent(said[name]), percent(came.get(name))] for name in said],
        origin=source("diagnostics.json", "class_shares"),
    )
    return tag("div", heading("Share of every class"), grid)
