"""What the model's forecasts save on each baseline, with the tests in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._blocks import Key, join, picture, prose, source, table
from ._forest import Gain, forest
from ._html import Child, Html, tag
from ._run import at
from ._scores import measure_cell
from ._words import count, decimals, is_number, listed, number, spoken, titled

_SURE = 0.05
"""A p-value below this is taken as more than luck."""

_TESTS = (
    ("crps", "CRPS saved, bps", 3),
    ("absolute_error", "Absolute error saved, bps", 3),
    ("squared_error", "Squared error saved, bps²", 1),
)
_SPOKEN = {"crps": "CRPS", "absolute_error": "absolute error"}


def savings(found: dict[str, Any], rivals: Sequence[str]) -> Html | None:
    """Return what the tests say in sentences, as a picture and as a table."""
    if not rivals:
        return None
    ranges = [name for name in rivals if _fair(found, name, "crps")]
    return join(
        prose(*_verdict(found, rivals, ranges)),
        _picture(found, ranges or rivals, "crps" if ranges else "absolute_error"),
        _table(found, rivals),
    )


def _verdict(found: dict[str, Any], rivals: Sequence[str], ranges: Sequence[str]) -> list[Child]:
    """Return sentences that say by the tests whether the model forecasts better."""
    points = [spoken(name) for name in rivals if name not in ranges]
    said: list[Child] = [tag("b", _counted(found, rivals, "absolute_error")), ". "]
    if ranges:
        said += [tag("b", _counted(found, ranges, "crps")), ". "]
    if ranges and points:
        said.append(
            f"A baseline that gives one price and no quantiles ({listed(points, 4)}) has its "
            "absolute error for a CRPS, and any honest range beats that: only the absolute error "
            "counts there."
        )
    return said


def _fair(found: dict[str, Any], name: str, kind: str) -> bool:
    """Return whether both sides gave what a loss is taken from: CRPS sets ranges side by side."""
    test = at(found, "better_than", name, "crps")
    both = bool(found.get("levels")) and at(test, "baseline_has_quantiles") is True
    return both or kind != "crps"


def _counted(found: dict[str, Any], names: Sequence[str], kind: str) -> str:
    """Return how often the model was better, worse or neither, as a sentence without its dot."""
    words = [_said(at(found, "better_than", name, kind)) for name in names]
    whole = count(len(names), "baseline")
    better, worse = words.count("better"), words.count("worse")
    if not better:
        text = f"By {_SPOKEN[kind]} the model is shown to be better than none of {whole}"
    else:
        text = f"By {_SPOKEN[kind]} the model is better than {number(better)} of {whole}"
    return text + (f", and worse than {number(worse)}" if worse else "")


def _said(test: Any) -> str:
    """Return what a test says: `better`, `worse`, `not told apart`, or `not tested`."""
    p, adjusted = at(test, "p_value"), at(test, "p_holm")
    if not is_number(p):
        return "not tested"
    # To call a model better all tests count; to call it worse its own is enough.
    if (adjusted if is_number(adjusted) else p) < _SURE:
        return "better"
    return "worse" if p > 1 - _SURE and at(test, "mean_difference") != 0 else "not told apart"


def _picture(found: dict[str, Any], names: Sequence[str], kind: str) -> Html | None:
    """Return a dot and an interval for what the model saves on each baseline named.

    `kind` is the loss, `crps` or `absolute_error`.
    """
    gains = {titled(name): _gain(at(found, "better_than", name, kind)) for name in names}
    known = {name: gain for name, gain in gains.items() if gain is not None}
    if not known:
        return None
    roles = [gain.role for gain in known.values()]
    about = "The CRPS scores the whole range that was forecast. " if kind == "crps" else ""
    return picture(
        forest(known, unit="bps", worse="model worse", better="model better", part=""),
        name="forecast-saved",
        title=f"{titled(_SPOKEN[kind])} saved against each baseline",
        reading=(
            f"{about}Each dot is what the model saves per forecast, its bar the 95 % interval. "
            "Good is a bar wholly to the right of the line. A triangle is beyond the edge."
        ),
        keys=(
            Key("--good", "dot", "interval above zero"),
            Key("--unsure", "ring", "cannot be told apart"),
            Key("--bad", "dot", "interval below zero"),
        ),
        alt=(
            f"The interval lies above zero against {number(roles.count('--good'))} of "
            f"{count(len(known), 'baseline')}, below zero against {number(roles.count('--bad'))}."
        ),
        origin=source("metrics.json", f"forecast.better_than.*.{kind}"),
    )


def _gain(test: Any) -> Gain | None:
    mean, low, high = (at(test, key) for key in ("mean_difference", "low", "high"))
    if not is_number(mean):
        return None
    whole = is_number(low) and is_number(high)
    return Gain(mean, low if whole else None, high if whole else None)


def _table(found: dict[str, Any], rivals: Sequence[str]) -> Html:
    grid = table(
        label="What the model saves on each baseline",
        head=("Against", *(name for _, name, _ in _TESTS)),
        rows=[
            [
                titled(name),
                *(
                    _test_cell(
                        at(found, "better_than", name, kind), digits, _fair(found, name, kind)
                    )
                    for kind, _, digits in _TESTS
                ),
            ]
            for name in rivals
        ],
        origin=source("metrics.json", "forecast.better_than"),
    )
    return join(
        prose(
            "Above 0 the model is better. Each p-value is the chance of a saving this large where "
            "the model is no better (test of Diebold and Mariano, one-sided, adjusted after Holm "
            "for the number of baselines). Better stands where it is below 0.05, worse where that "
            "of the test the other way round is; all else the rows cannot tell from luck."
        ),
        grid,
    )


def _test_cell(test: Any, digits: int, fair: bool) -> Child:
    saved = {"value": at(test, "mean_difference")} | {end: at(test, end) for end in ("low", "high")}
    cell = measure_cell(saved, digits, signed=True)
    if not fair:
        return [cell, tag("small", "a range against one price")]
    said = _said(test)
    look = {"better": "passed", "worse": "failed"}.get(said)
    return [cell, tag("small", said, _p_text(test, said), class_=look)]


def _p_text(test: Any, said: str) -> str:
    """Return the p-value of what is said; for `worse` that of the test the other way round."""
    p = 1 - test["p_value"] if said == "worse" else at(test, "p_holm")
    if said == "not tested" or not is_number(p):
        return ""
    return ", p < 0.001" if p < 0.001 else f", p = {decimals(p, 3)}"
