"""The outcome of a comparison in sentences: what the data can tell, and what it cannot."""

from collections.abc import Sequence
from typing import Any


def headline(tests: Sequence[dict[str, Any]], letters: Sequence[str]) -> str:
    """Return the outcome in a few words, by log loss on common rows."""
    tested = [test for test in tests if test["predictions"]["comparable"]]
    if not tested:
        return "Not comparable"
    if all(test["predictions"].get("identical") for test in tests):
        return "The same predictions"
    says = {letters[t["run"]]: t["predictions"]["log_loss"]["says"] for t in tested}
    better = [letter for letter, word in says.items() if word == "better"]
    worse = [letter for letter, word in says.items() if word == "worse"]
    if better:
        return f"{_and(better)} {'has' if len(better) == 1 else 'have'} a lower log loss than A"
    return f"A has a lower log loss than {_and(worse)}" if worse else "No clear difference"


def sentences(test: dict[str, Any]) -> list[str]:
    """Return what one test says of log loss, of forecasts, of tokens, and of the money by day."""
    forecasts = [_forecasts(test)] if test["forecasts"] is not None else []
    tokens = [_tokens(test)] if test["tokens"] is not None else []
    return [_losses(test), *forecasts, *tokens, _money(test)]


def token_gains(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return a sentence of what each run saves on its own best baseline of tokens, if several do.

    That compares where losses do not: each vocabulary has baselines of its own.
    """
    told = [
        f"{run['letter']} ({run['name']}) saves {_plain_gain(run['tokens']['gain'])} nats a token "
        f"on {run['tokens']['baseline']['name']}"
        for run in runs
        if run["tokens"] and run["tokens"]["gain"] and run["tokens"]["gain"]["value"] is not None
    ]
    return [f"Each beside its own best baseline: {'; '.join(told)}."] if len(told) > 1 else []


def _losses(test: dict[str, Any]) -> str:
    reference, other = test["names"]
    found = test["predictions"]
    if not found["comparable"]:
        return f"The losses of {other} and {reference} cannot be compared: {found['reason']}."
    rows = f"{found['n']:,} common row{'s' * (found['n'] != 1)}"
    if found["identical"]:
        return f"{other} and {reference} predict alike: no loss differs on {rows}."
    return _of_losses(test, "log loss", found["log_loss"], rows, digits=4)


def _forecasts(test: dict[str, Any]) -> str:
    reference, other = test["names"]
    found = test["forecasts"]
    if not found["comparable"]:
        return f"The forecasts of {other} and {reference} cannot be compared: {found['reason']}."
    kind = "crps" if "crps" in found else "absolute_error"
    loss, entry = kind.replace("_", " ").replace("crps", "CRPS"), found[kind]
    return _of_losses(test, loss, entry, f"{found['n_common']:,} common forecasts", digits=3)


def _tokens(test: dict[str, Any]) -> str:
    reference, other = test["names"]
    found = test["tokens"]
    rows = f"{found['n']:,} common tokens"
    if not found["comparable"]:
        return f"The token losses of {other} and {reference} cannot be compared: {found['reason']}."
    if found["identical"]:
        return f"{other} and {reference} foretell alike: no loss differs on {rows}."
    return _of_losses(test, "loss of tokens", found["log_loss"], rows, digits=4)


def _plain_gain(gain: dict[str, Any]) -> str:
    ends = "" if gain["low"] is None else f" ({gain['low']:.4f} to {gain['high']:.4f})"
    return f"{gain['value']:.4f}{ends}"


def _of_losses(
    test: dict[str, Any], loss: str, entry: dict[str, Any], rows: str, *, digits: int
) -> str:
    """Return what a test of a loss says of `rows`, such as `900 common rows`."""
    reference, other = test["names"]
    if entry["low"] is None:
        return f"{other} and {reference} cannot be told apart on {rows}: {entry['reason']}."
    if entry["says"] == "unclear":
        return (
            f"No difference in {loss} between {other} and {reference} that {rows} can tell: "
            f"{reference} less {other} is {_difference(entry, digits)}."
        )
    word = "lower" if entry["says"] == "better" else "higher"
    return (
        f"{other} has a {word} {loss} than {reference} on {rows}: by "
        f"{_difference(entry, digits, flip=word == 'higher')}."
    )


def _money(test: dict[str, Any]) -> str:
    reference, other = test["names"]
    entry = test["daily_pnl"]
    if not entry["comparable"]:
        return f"What {other} and {reference} earned cannot be compared by day: {entry['reason']}."
    days = f"{entry['n']:,} common days"
    if entry["low"] is None:
        return f"What {other} and {reference} earned on {days} says nothing: {entry['reason']}."
    if entry["says"] == "unclear":
        return (
            f"No difference in daily profit between {other} and {reference} that {days} can tell: "
            f"{other} less {reference} is {_difference(entry, 2)}."
        )
    word = "more" if entry["says"] == "better" else "less"
    return (
        f"{other} earned {word} than {reference} on {days}: by "
        f"{_difference(entry, 2, flip=word == 'less')}."
    )


def _difference(entry: dict[str, Any], digits: int, *, flip: bool = False) -> str:
    """Return value, interval and p-value; `flip` where the sentence names the other direction."""
    value, low, high = (_number(entry[key], digits, flip) for key in ("value", "low", "high"))
    units = {"nats": "nats per row", "nats per token": "nats per token", "bps": "bps"}
    unit = units.get(entry["unit"], "a day")
    ends = f"{high} to {low}" if flip else f"{low} to {high}"
    return f"{value} {unit}, 95 % interval {ends}, {_p(entry)}"


def _number(value: float, digits: int, flip: bool) -> str:
    shown = 0.0 - value if flip else value
    text = f"{shown:,.{digits}f}"
    # A difference of 0.00004 must not read as if there were none.
    return f"{shown:.1e}" if shown and not float(text.replace(",", "")) else text


def _p(entry: dict[str, Any]) -> str:
    told, adjusted = p_text(entry["p_value"]), p_text(entry["p_holm"])
    return told if told == adjusted else f"{told} ({adjusted} after Holm)"


def p_text(p: float) -> str:
    """Return a p-value as a sentence has it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
