"""The head of the page: the verdict in words, its reasons, alarms, and what was run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._about import what_was_run
from ._blocks import join, prose, source, sources
from ._html import Html, tag
from ._run import Run, at, records
from ._scores import strongest_baseline
from ._words import (
    count,
    decimals,
    exact,
    is_number,
    number,
    percent,
    span,
    spoken,
    titled,
)

_MOST_REASONS = 5


def headline(run: Run) -> Html:
    """Return the verdict and its reasons, before anything else on the page."""
    return tag(
        "header",
        tag("p", "Walkforge", " · ", run_name(run), class_="overline"),
        _verdict(run),
        _alarms(run),
        _key_figures(run),
        what_was_run(run),
        id="verdict",
    )


def run_name(run: Run) -> str:
    """Return the study's name, or else the folder's."""
    return str(at(run.run, "name") or at(run.study, "name") or run.folder.name)


def verdict_word(run: Run) -> str:
    """Return the verdict in one or two words."""
    fit = at(run.verdict, "fit")
    if not isinstance(fit, bool):
        return "No verdict"
    return "Fit" if fit else "Not fit"


def _verdict(run: Run) -> Html:
    fit = at(run.verdict, "fit")
    if not isinstance(fit, bool):
        return join(
            tag("h1", verdict_word(run)),
            tag("p", "No gate has judged this run: verdict.json is not there.", class_="lead"),
        )
    promotable = at(run.verdict, "promotable") is True
    failed = [gate for gate in records(run.verdict, "gates") if gate.get("passed") is False]
    words = tag(
        "span",
        tag("span", verdict_word(run), class_="word"),
        tag("span", "promotable" if promotable else "not promotable", class_="rider"),
    )
    return join(
        tag(
            "h1",
            tag("span", "✓" if fit else "✕", class_="seal", aria_hidden="true"),
            words,
            class_="fit" if fit else "unfit",
        ),
        tag("p", _lead(run, fit=fit, promotable=promotable, n_failed=len(failed)), class_="lead"),
        _reasons(failed),
        source("verdict.json", "fit", "promotable", "gates"),
    )


def _lead(run: Run, *, fit: bool, promotable: bool, n_failed: int) -> str:
    n_gates = len(records(run.verdict, "gates"))
    if promotable:
        return f"All {count(n_gates, 'gate')} passed. The model may be promoted."
    if fit:
        why = at(run.verdict, "not_promotable_because") or "See the alarms."
        return f"All {count(n_gates, 'gate')} passed, yet the model may not be promoted. {why}"
    return (
        f"{number(n_failed)} of {count(n_gates, 'gate')} said no, so the model is not let out. "
        "That is a result too: it was found on paper, not in an account."
    )


def _reasons(failed: Sequence[dict[str, Any]]) -> Html | None:
    if not failed:
        return None
    items = [
        tag("li", tag("b", titled(gate.get("name")), "."), " ", str(gate.get("reason") or ""))
        for gate in failed[:_MOST_REASONS]
    ]
    n_more = len(failed) - len(items)
    more = tag("a", f"and {count(n_more, 'more', 'more')}, with reasons", href="#gates")
    return tag("ul", items, tag("li", more) if n_more else None, class_="reasons")


def _alarms(run: Run) -> Html | None:
    alarms = at(run.verdict, "alarms")
    if not isinstance(alarms, list) or not alarms:
        return None
    return tag(
        "div",
        tag("h2", tag("span", "⚠ ", aria_hidden="true"), count(len(alarms), "alarm")),
        tag("ul", [tag("li", str(alarm)) for alarm in alarms]),
        prose("An alarm is a suspicion and never a success. Find its cause before anything else."),
        source("verdict.json", "alarms"),
        class_="alarms",
        role="note",
    )


def _key_figures(run: Run) -> Html | None:
    """Return the four numbers that a hurried reader wants."""
    rival = strongest_baseline(run)
    saved = at(run.metrics, "improvement", rival, "log_loss")
    balanced = at(run.metrics, "model", "pooled", "balanced_accuracy")
    error = at(run.metrics, "model", "pooled", "ece")
    roi_frac = at(run.backtest, "pooled", "roi_frac")
    held = at(run.backtest, "buy_and_hold", "roi_frac")
    cards = [
        (
            f"Log loss saved against {spoken(rival)}",
            at(saved, "value"),
            decimals(at(saved, "value"), 4, signed=True),
            span(saved, 4, signed=True),
            "metrics.json",
            f"improvement.{rival}.log_loss",
        ),
        (
            "Balanced accuracy",
            at(balanced, "value"),
            decimals(at(balanced, "value"), 3),
            span(balanced, 3),
            "metrics.json",
            "model.pooled.balanced_accuracy",
        ),
        (
            "Calibration error",
            at(error, "value"),
            decimals(at(error, "value"), 3),
            span(error, 3),
            "metrics.json",
            "model.pooled.ece",
        ),
        (
            "Return after costs",
            roi_frac,
            percent(roi_frac, 2, signed=True),
            f"holding: {percent(held, 2, signed=True)}" if is_number(held) else "",
            "backtest.json",
            "pooled.roi_frac",
        ),
    ]
    known = [card for card in cards if is_number(card[1])]
    if not known:
        return None
    origins: dict[str, list[str]] = {}
    for *_, file, key in known:
        origins.setdefault(file, []).append(key)
    return join(
        tag("div", [_card(*card[:4]) for card in known], class_="cards"),
        sources(origins),
    )


def _card(label: str, value: float, text: str, beneath: str) -> Html:
    return tag(
        "div",
        tag("p", label, class_="label"),
        tag("p", exact(value, text), class_="value"),
        tag("p", beneath or Html("&nbsp;"), class_="beneath"),
        class_="card",
    )
