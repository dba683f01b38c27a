"""What is lost when bars become tokens, and what the parameters of the model are for."""

from __future__ import annotations

from typing import Any

from ._blocks import heading, join, prose, source, table
from ._html import Child, Html, tag
from ._run import Run, at, entries, records
from ._words import NOTHING, decimals, exact, is_number, number, percent, titled

_PRICES = ("close", "open", "high", "low")
_PIECES = (("train", "training"), ("later", "test"))
_KINDS = {"vq": "a codebook of whole bars", "bins": "products of bins"}


def losses_of_tokenizer(run: Run) -> Html | None:
    """Return a row for the training and the test bars of every fold."""
    folds = records(run.tokenizer, "folds")
    if not folds:
        return None
    several = len(folds) > 1
    return join(
        heading("What the tokenizer loses"),
        prose(
            f"{_kinds(folds)} One token stands for all bars of its kind, so a bar that is decoded "
            "from its token differs from the real one, and no sampled path can be finer. Good are "
            "test bars that lose about what training bars lose, a perplexity not far below the "
            "number of codes (some codes are then not all that ever comes), and few bars at the "
            "edge, beyond what training bars were held within."
        ),
        table(
            label="What the tokenizer loses on training and on test bars",
            head=(
                "Bars of",
                "Bars",
                "Codes used",
                ["Perplexity", tag("small", "of the tokens")],
                *([f"Error of {price}", tag("small", "bps")] for price in _PRICES),
                "At the edge",
            ),
            rows=[
                _row(f"{_fold_of(fold)}, {name}" if several else name, fold[key])
                for fold in folds
                for key, name in _PIECES
                if isinstance(fold.get(key), dict)
            ],
            origin=source("tokenizer_report.json", "folds.*.train", "folds.*.later"),
        ),
    )


def _kinds(folds: list[dict[str, Any]]) -> str:
    """Return the kind and size of the tokenizer; of several folds that of the first."""
    kind, size = folds[0].get("kind"), folds[0].get("vocabulary")
    known = _KINDS.get(str(kind), str(kind))
    return f"The tokenizer is {known} ({kind}, {number(size)} codes)."


def _fold_of(fold: dict[str, Any]) -> str:
    return f"fold {fold.get('fold')}"


def _row(name: str, piece: dict[str, Any]) -> list[Child]:
    used, edge = piece.get("codes_used_frac"), piece.get("edge_frac")
    perplexity = piece.get("perplexity")
    return [
        name,
        number(piece.get("rows")),
        exact(used, percent(used)) if is_number(used) else NOTHING,
        exact(perplexity, decimals(perplexity, 1)) if is_number(perplexity) else NOTHING,
        *(_error(at(piece, "error_bps", price)) for price in _PRICES),
        exact(edge, percent(edge)) if is_number(edge) else NOTHING,
    ]


def _error(error: Any) -> Child:
    """Return the mean, and the median beneath it."""
    mean, median = at(error, "mean"), at(error, "median")
    if not is_number(mean):
        return NOTHING
    beneath = tag("small", f"median {decimals(median, 1)}") if is_number(median) else None
    return [exact(mean, decimals(mean, 1)), beneath]


def parameters(run: Run) -> Html | None:
    """Return how many numbers each part of the model holds."""
    parts = {k: n for k, n in entries(run.market, "parameters").items() if is_number(n) and n > 0}
    total = sum(parts.values())
    if not parts:
        return None
    tied = at(run.market, "shape", "tied") is True
    return join(
        heading("Parameters"),
        prose(
            f"{number(total)} trained numbers in each model{_sizes(run.market)}."
            + (" The head is the token embedding, used a second time." if tied else "")
        ),
        table(
            label="Parameters of every part of the model",
            head=("Part", "Parameters", "Share"),
            rows=[
                [titled(name), exact(n, number(n)), percent(n / total)] for name, n in parts.items()
            ],
            origin=source(run.market_file, "parameters"),
        ),
    )


def _sizes(market: Any) -> str:
    names = ("d_model", "layers", "heads", "d_ff", "context")
    sizes = {name: at(market, "shape", name) for name in names}
    known = [f"{name} {number(n)}" for name, n in sizes.items() if is_number(n)]
    return f" ({', '.join(known)})" if known else ""
