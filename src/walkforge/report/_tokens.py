"""How well a model of tokens foretells the next one, beside what costs nothing."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ._blocks import Key, Section, absent, heading, join, picture, prose, source, table
from ._forest import forest, gain_of
from ._html import Child, Html, tag
from ._run import Run, at, entries, records
from ._scores import baselines_by_loss, measure_cell
from ._tokenizer import losses_of_tokenizer, parameters
from ._tokens_apart import by_asset, by_category
from ._words import count, decimals, exact, is_number, number, percent, span, spoken, titled


class _Line(NamedTuple):
    key: str
    name: str
    unit: str
    digits: int


_LINES = (
    _Line("log_loss", "Loss", "low is good, nats a token", 4),
    _Line("perplexity", "Perplexity", "low is good, tokens", 1),
    _Line("accuracy", "Accuracy", "high is good", 4),
)

_GAINS = (
    ("log_loss", "Loss that the model saves", "nats a token"),
    ("accuracy", "Accuracy that it gains", ""),
)


def tokens(run: Run) -> list[Section]:
    """Return the section of the tokens, or none where metrics.json has no word of them."""
    found = entries(run.metrics, "tokens")
    if not entries(found, "model", "pooled"):
        return []
    rivals = baselines_by_loss(found)
    best = next(iter(rivals), None)
    body = join(
        prose(
            "To this model every bar is one token, the number of a kind of bar, and it says how "
            "likely every next one is. Loss is what the token that came has cost; perplexity, its "
            "exponential, among how many equally likely tokens one would be as unsure"
            f"{_blind(run)}. Markov models of order 1 to 3 know nothing but the last tokens."
        ),
        _summary(found, best),
        _picture(found, rivals),
        heading("Measures"),
        _measures(found, rivals),
        by_category(found, best),
        by_asset(found, best),
        losses_of_tokenizer(run),
        parameters(run),
    )
    return [Section("tokens", "Tokens", body)]


def _blind(run: Run) -> str:
    sizes = {at(fold, "vocabulary") for fold in records(run.tokenizer, "folds")}
    size: Any = sizes.pop() if len(sizes) == 1 else None
    if not is_number(size) or size < 2:
        return ""
    return f"; to know nothing of {number(size)} tokens costs {decimals(math.log(size), 4)} nats"


def _summary(found: dict[str, Any], best: str | None) -> Html:
    """Return what a hurried reader wants to know, in two sentences."""
    pooled = at(found, "model", "pooled")
    hit, constant = (at(pooled, key, "value") for key in ("accuracy", "best_constant"))
    said: list[Child] = []
    saved = at(found, "improvement", best, "log_loss")
    value: Any = at(saved, "value")
    if is_number(value):
        ends = span(saved, 4, signed=True)
        said += [
            f"Against {spoken(best)}, the strongest baseline, the model ",
            tag("b", "saves " if value >= 0 else "loses ", _size(value), " nats"),
            f" a token, {decimals(abs(value) / math.log(2), 4)} bits"
            f"{f' (saved, 95 % interval: {ends} nats)' if ends else ''}. ",
        ]
    if is_number(hit) and is_number(constant):
        said += [
            "The token that it holds for likeliest comes in ",
            tag("b", exact(hit, percent(hit, 2))),
            "; a guess that never changes is right in ",
            tag("b", exact(constant, percent(constant, 2))),
            ".",
        ]
    return prose(*said)


def _size(value: float) -> Html:
    return exact(value, decimals(abs(value), 4))


def _picture(found: dict[str, Any], rivals: dict[str, Any]) -> Html:
    gains = {
        titled(name): gain_of(at(found, "improvement", name, "log_loss"), parts="by_period")
        for name in rivals
    }
    known = {name: gain for name, gain in gains.items() if gain is not None}
    if not known:
        return absent("No comparison of tokens with baselines (metrics.json, tokens.improvement).")
    roles = [gain.role for gain in known.values()]
    return picture(
        forest(
            known,
            unit="nats per token",
            worse="model worse",
            better="model better",
            part="one quarter of the time",
        ),
        name="tokens",
        title="Loss of tokens saved against each baseline",
        reading=(
            "Each dot is what the model saves per token, on the very same tokens, its bar the "
            "95 % interval. Good is a bar wholly to the right of the line. A triangle is beyond "
            "the edge."
        ),
        keys=(
            Key("--good", "dot", "surely better than the baseline"),
            Key("--unsure", "ring", "cannot be told apart"),
            Key("--bad", "dot", "surely worse"),
            Key("--ink-faint", "tick", "quarters of the tested time"),
        ),
        alt=(
            f"The interval lies above zero against {number(roles.count('--good'))} of "
            f"{count(len(known), 'baseline')}, below zero against {number(roles.count('--bad'))}."
        ),
        origin=source("metrics.json", "tokens.improvement.*.log_loss"),
    )


def _measures(found: dict[str, Any], rivals: dict[str, Any]) -> Html:
    """Return a column for the model, the constant guess and each baseline, the strongest first."""
    model = at(found, "model", "pooled")
    constant = {"accuracy": at(model, "best_constant"), "n": at(model, "n")}
    blocks = [model, constant, *(at(block, "pooled") for block in rivals.values())]
    gains: list[list[Child]] = [
        [
            [name, tag("small", unit)],
            "",
            "",
            *(measure_cell(at(found, "improvement", one, key), signed=True) for one in rivals),
        ]
        for key, name, unit in _GAINS
    ]
    n_tokens: list[Child] = ["Tokens", *(number(at(block, "n")) for block in blocks)]
    return join(
        prose(
            "Under each value stands its 95 % interval, from a bootstrap of whole stretches of "
            "time. Hard times are hard for whoever foretells, so the intervals of a row move "
            "together; what the model saves is measured on differences. An accuracy means "
            "something only beside the best constant guess, the most frequent training token."
        ),
        table(
            label="Measures of the next token, the model's and every baseline's",
            head=("", "This model", "Best constant guess", *(titled(name) for name in rivals)),
            rows=[*gains, *(_row(line, blocks) for line in _LINES), n_tokens],
            strong_column=1,
            origin=source(
                "metrics.json",
                "tokens.model.pooled",
                "tokens.baselines.*.pooled",
                *(f"tokens.improvement.*.{key}" for key, *_ in _GAINS),
            ),
        ),
    )


def _row(line: _Line, blocks: list[Any]) -> list[Child]:
    return [
        [line.name, tag("small", line.unit)],
        *(measure_cell(at(block, line.key), line.digits) for block in blocks),
    ]
