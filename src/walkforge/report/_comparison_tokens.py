"""The table of what every run's model of tokens reached, beside its own best baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._account import Cell
from ._blocks import sources, table
from ._comparison_tables import amount, head_of, unit_of, whole
from ._html import Child, Html, tag
from ._run import at
from ._scores import measure_cell
from ._words import NOTHING, code, count, decimals, exact, is_number, spoken


def token_table(data: dict[str, Any]) -> Html:
    """Return what every model of tokens reached beside its own best baseline."""
    runs = data["runs"]
    return table(
        label="Tokens of every run, each beside its own best baseline",
        head=("", *map(head_of, runs)),
        rows=[[name, *(cell(run) for run in runs)] for name, cell in _TOKENS],
        origin=sources(
            {
                "metrics.json": ("tokens.model.pooled", "tokens.baselines", "tokens.improvement"),
                "training_log.jsonl": ("tokens_per_s",),
            }
        ),
    )


def _token_measure(key: str, digits: int) -> Cell:
    return lambda run: measure_cell(at(run, "tokens", key), digits)


def _token_accuracy(run: Any) -> Child:
    constant = at(run, "tokens", "best_constant", "value")
    beside = exact(constant, decimals(constant, 4)) if is_number(constant) else NOTHING
    return [_token_measure("accuracy", 4)(run), tag("small", "constant guess ", beside)]


def _token_gain(run: Any) -> Child:
    return measure_cell(at(run, "tokens", "gain"), 4, signed=True)


def _token_baseline(run: Any) -> Child:
    name = at(run, "tokens", "baseline", "name")
    loss = at(run, "tokens", "baseline", "log_loss", "value")
    shown = exact(loss, decimals(loss, 4)) if is_number(loss) else NOTHING
    return [spoken(name), tag("small", "loss ", shown)] if name else NOTHING


def _tokenizer(run: Any) -> Child:
    digests = at(run, "tokens", "tokenizers") or []
    size = at(run, "tokens", "vocabulary")
    if size is None:
        return NOTHING
    alone = len(digests) == 1
    told = code(digests[0][:10]) if alone else f"{count(len(digests), 'tokenizer')}"
    return [f"{at(run, 'tokens', 'kind')}, {count(size, 'code')}", tag("small", told)]


def _bits(value: Any) -> Child:
    return exact(value, decimals(value, 4, signed=True)) if is_number(value) else NOTHING


_TOKENS: Sequence[tuple[Child, Cell]] = (
    ("Tokenizer", _tokenizer),
    ("Parameters", lambda run: amount(at(run, "tokens", "parameters"))),
    (unit_of("Loss", "nats a token"), _token_measure("log_loss", 4)),
    ("Perplexity", _token_measure("perplexity", 1)),
    ("Accuracy", _token_accuracy),
    ("Best baseline", _token_baseline),
    (unit_of("Loss saved on it", "nats a token"), _token_gain),
    (unit_of("The same", "bits"), lambda run: _bits(at(run, "tokens", "gain_bits"))),
    (
        unit_of("Tokens trained", "a second, median"),
        lambda run: whole(at(run, "cost", "tokens_per_s")),
    ),
)
