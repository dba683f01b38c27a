"""What a search for better settings may change, and how long it looks."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from walkforge.base import StudyError, nearest

_OF_NUMBERS = ("low", "high", "log", "step")
_KEYS = (*_OF_NUMBERS, "choices")


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneSection:
    """How `walkforge tune` searches; a run does not read it."""

    space: dict[str, Any] = field(default_factory=dict, hash=False)
    """Per key of the study, such as training.learning_rate, {low, high, log, step} or {choices};
    empty: learning rate, weight decay and dropout in ranges that suit most models."""
    trials: int = 20
    """Settings that are tried in all."""
    at_once: int = 8
    """Trials asked for together, before any of them is known."""
    packs_at_once: int = 2
    """Packs that these make: the trials of a pack differ in learning rate and weight decay alone,
    which members have of their own."""
    folds: Literal["first", "all"] = "first"
    """Validation slices that decide. Later folds' lie in calibration and test slices of earlier
    folds, so `all` chooses by rows that judge the result."""
    pruning: bool = True
    """Stop trials that are worse than the median of the finished ones at the same epoch."""
    warmup_epochs: int = 5
    """No trial is stopped in its first so many epochs."""
    seed: int = 0
    """Of the search; every trial trains with the first of the study's seeds."""

    def __post_init__(self) -> None:
        for name in ("trials", "at_once", "packs_at_once"):
            if getattr(self, name) < 1:
                raise StudyError(f"tune.{name} is {getattr(self, name)}; expected at least 1")
        if self.warmup_epochs < 0:
            raise StudyError(f"tune.warmup_epochs is {self.warmup_epochs}; expected at least 0")
        if not 0 <= self.seed < 2**31:
            raise StudyError(f"tune.seed is {self.seed}; expected 0 to 2147483647")
        object.__setattr__(self, "space", _flat(self.space, "tune.space"))


def _flat(space: dict[str, Any], place: str) -> dict[str, dict[str, Any]]:
    """Return checked ranges by path; `training: {learning_rate: ...}` serves as well."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in space.items():
        where = f"{place}.{key}"
        if not isinstance(value, dict) or not value:
            raise StudyError(
                f"{where} is {value!r}; expected {{low: 1, high: 10}} or {{choices: [1, 2]}}"
            )
        if any(inner in _KEYS for inner in value):
            found[str(key)] = _checked(value, where)
        else:
            inside = _flat(value, where)
            found |= {f"{key}.{path}": one for path, one in inside.items()}
    return found


def _checked(value: dict[str, Any], where: str) -> dict[str, Any]:
    for key in value:
        if key not in _KEYS:
            raise StudyError(
                f"unknown key {key!r}{nearest(str(key), _KEYS)} in {where}; a range has low, "
                "high, log and step, or choices"
            )
    given = {key: one for key, one in value.items() if one is not None}
    if "choices" in given:
        return _checked_choices(given, where)
    if "low" not in given or "high" not in given:
        raise StudyError(f"{where} has no {'high' if 'low' in given else 'low'}; expected both")
    checked = {key: _number(given[key], f"{where}.{key}") for key in ("low", "high")}
    if "step" in given:
        checked["step"] = _number(given["step"], f"{where}.step")
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise StudyError(f"{where}.log is {log!r}; expected true or false")
    _refuse_impossible(checked, where, log=log)
    return checked | ({"log": True} if log else {})


def _refuse_impossible(checked: dict[str, Any], where: str, *, log: bool) -> None:
    low, high, step = checked["low"], checked["high"], checked.get("step")
    if not low < high:
        raise StudyError(f"{where} goes from {low} to {high}; low must be below high")
    if log and low <= 0:
        raise StudyError(f"{where}.low is {low}; with log: true it must be above 0")
    if step is not None and (log or not 0 < step <= high - low):
        raise StudyError(
            f"{where}.step is {step}; it must be above 0, at most high less low, and without log"
        )


def _checked_choices(given: dict[str, Any], where: str) -> dict[str, Any]:
    others = [key for key in given if key in _OF_NUMBERS]
    if others:
        raise StudyError(f"{where} has both choices and {others[0]}; expected one of them")
    choices = given["choices"]
    if not isinstance(choices, list | tuple) or len(choices) < 2:
        raise StudyError(f"{where}.choices is {choices!r}; expected a list of at least two")
    return {"choices": list(choices)}


def _number(value: Any, where: str) -> float:
    """Return a finite number; YAML takes 1e-4, without a point, for text."""
    try:
        number = value if isinstance(value, int) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise StudyError(f"{where} is {value!r}; expected a number")
    return number
