"""The same tokens category by category, and the assets at both ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._blocks import beside, heading, join, prose, source, table
from ._html import Child, Html, tag
from ._run import at, entries
from ._scores import measure_cell
from ._words import count, decimals, is_number, number, spoken

_WHOLE = 20
"""So many assets stand in one table; of more only both ends do."""
_END = 10

_MEASURES = (
    ("log_loss", "Loss", 4),
    ("perplexity", "Perplexity", 1),
    ("accuracy", "Accuracy", 4),
    ("best_constant", "Best constant guess", 4),
)


def by_category(found: dict[str, Any], best: str | None) -> Html | None:
    """Return the measures of every category, None where there are not several."""
    blocks = entries(found, "model", "by_category")
    if len(blocks) < 2:
        return None
    saved = entries(found, "improvement", best, "log_loss", "by_category")
    return join(
        heading("Category by category"),
        table(
            label="Measures of the next token of every category",
            head=("Category", _saved_head(best), *(name for _, name, _ in _MEASURES), "Tokens"),
            rows=[
                [
                    spoken(name),
                    measure_cell(saved.get(name), signed=True),
                    *(measure_cell(at(block, key), digits) for key, _, digits in _MEASURES),
                    number(at(block, "n")),
                ]
                for name, block in blocks.items()
            ],
            origin=source(
                "metrics.json",
                "tokens.model.by_category",
                f"tokens.improvement.{best}.log_loss.by_category",
            ),
        ),
    )


def by_asset(found: dict[str, Any], best: str | None) -> Html | None:
    """Return what is saved on every asset, or of many on those at both ends."""
    saved = {
        name: part
        for name, part in entries(found, "improvement", best, "log_loss", "by_symbol").items()
        if is_number(at(part, "value"))
    }
    if len(saved) < 2:
        return None
    names = sorted(saved, key=lambda name: -saved[name]["value"])
    hits = entries(found, "improvement", best, "accuracy", "by_symbol")

    def some(what: str, chosen: list[str]) -> Html:
        return table(
            label=f"What the model saves: {what}",
            head=(what, _saved_head(best), "Accuracy gained", "Tokens"),
            rows=[_row(name, saved[name], hits.get(name)) for name in chosen],
            origin=source("metrics.json", f"tokens.improvement.{best}.*.by_symbol"),
        )

    tables = (
        some("Asset", names)
        if len(names) <= _WHOLE
        else beside(some("Saves most", names[:_END]), some("Saves least", names[: -_END - 1 : -1]))
    )
    return join(heading("Asset by asset"), prose(_spread(saved, best)), tables)


def _row(name: str, saved: Any, gained: Any) -> list[Child]:
    return [
        tag("span", name, class_="name"),
        measure_cell(saved, signed=True),
        measure_cell(gained, signed=True),
        number(at(saved, "n")),
    ]


def _spread(saved: dict[str, Any], best: str | None) -> str:
    values = np.array([part["value"] for part in saved.values()])
    return (
        f"Of {count(len(values), 'asset')} the model saves loss against {spoken(best)} on "
        f"{number(int((values > 0).sum()))}; the median saving is "
        f"{decimals(float(np.median(values)), 4, signed=True)} nats a token. Single assets have "
        "no interval: the ends of many are far out by luck alone."
    )


def _saved_head(best: str | None) -> Child:
    return ["Loss saved", tag("small", f"against {spoken(best)}")]
