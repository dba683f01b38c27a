"""Which settings a search may change, and a study with other settings.

ranges = ranges_of(study)
better = with_settings(study, {"training.learning_rate": 0.003})
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from walkforge.base import StudyError, nearest
from walkforge.training import TrainingPlan

from ._load import from_plain
from ._study import FeatureSection, ModelSection, Study

PER_MEMBER = ("training.learning_rate", "training.weight_decay")
"""Members of one pack may differ in these."""

DEFAULT_SPACE: dict[str, dict[str, Any]] = {
    "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "training.weight_decay": {"low": 1e-6, "high": 1e-1, "log": True},
    "model.dropout": {"low": 0.0, "high": 0.5},
}

_SECTIONS = {"training": TrainingPlan, "model": ModelSection, "features": FeatureSection}
_QUESTION = "it changes the question, not the answer"
_LOSS = "it changes the loss itself, and validation losses of different kinds do not compare"
_WORDS = "it says nothing about how a model learns"
_REFUSED = {
    "labels": _QUESTION,
    "folds": _QUESTION,
    "data": _QUESTION,
    "judge": _QUESTION,
    "backtest": _QUESTION,
    "device": "it changes where and how exactly is computed, not what is learned",
    "seeds": "a seed is luck and not a setting; the luckiest would be taken for the best",
    "tune": _WORDS,
    "name": _WORDS,
    "note": _WORDS,
    "training.loss": _LOSS,
    "training.focal_gamma": _LOSS,
    "training.label_smoothing": _LOSS,
    "training.class_weights": _LOSS,
    "training.heads": _LOSS,
    "model.learned_weights": _LOSS,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """The values that one setting may take: a span of numbers, or choices."""

    path: str
    whole: bool = False
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[str, ...] = ()
    """As JSON, so that a list may be a choice; empty for a span."""

    def ends(self) -> list[Any]:
        """Return the lowest and the highest value, or all choices."""
        return [self.value(one) for one in self.choices or (self.low, self.high)]

    def value(self, found: Any) -> Any:
        """Return the setting that a number or a choice's JSON stands for."""
        if self.choices:
            return json.loads(found)
        return int(found) if self.whole else float(found)

    def text(self, value: Any) -> Any:
        """Return the number or the choice's JSON that stands for a setting; undoes `value`."""
        return json.dumps(value) if self.choices else value

    def holds(self, value: Any) -> bool:
        """Return whether a setting is one of these values."""
        if self.choices:
            return json.dumps(value) in self.choices
        if not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-8


def ranges_of(study: Study) -> dict[str, Range]:
    """Return what a search of this study may change, by path.

    Raises StudyError, with the reason, for a key that is not there or may not be tuned, for values
    that the study refuses, and for options that the study's model does not read.
    """
    ranges = {path: _range(study, path, given) for path, given in study.tune.space.items()}
    _refuse_two_kinds(study, ranges)
    _refuse_unread(study, ranges)
    return ranges


def with_settings(study: Study, settings: Mapping[str, Any]) -> Study:
    """Return the study with other settings by path; raise StudyError where they do not fit."""
    plain = dataclasses.asdict(study)
    for path, value in settings.items():
        section, _, key = path.partition(".")
        plain[section][key] = value
    return from_plain(plain, "tune.space")


def setting_of(study: Study, path: str) -> Any:
    """Return one of the study's own settings, as plain data."""
    section, _, key = path.partition(".")
    return json.loads(json.dumps(getattr(getattr(study, section), key)))


def _range(study: Study, path: str, given: Mapping[str, Any]) -> Range:
    kind = _type_of(path)
    if "choices" in given:
        known = [setting_of(with_settings(study, {path: one}), path) for one in given["choices"]]
        texts = tuple(json.dumps(one) for one in known)
        if len(set(texts)) < len(texts):
            raise StudyError(f"tune.space.{path}.choices is {known}; expected each once")
        return Range(path=path, choices=texts)
    if kind not in (int, float):
        raise StudyError(
            f"tune.space.{path} has low and high, but {path} is no number; give {{choices: [...]}}"
        )
    numbers = {name: given[name] for name in ("low", "high", "step") if name in given}
    if kind is int and any(number != round(number) for number in numbers.values()):
        raise StudyError(f"tune.space.{path} is {dict(given)}; {path} takes whole numbers")
    found = Range(path=path, whole=kind is int, log=given.get("log", False), **numbers)
    for end in found.ends():
        with_settings(study, {path: end})
    return found


def _type_of(path: str) -> Any:
    """Return the type of a setting that may be tuned."""
    section, _, key = path.partition(".")
    reason = _REFUSED.get(path) or _REFUSED.get(f"{section}.{key.partition('.')[0]}")
    reason = reason or _REFUSED.get(section)
    if reason is not None:
        raise StudyError(f"tune.space: {path} may not be tuned: {reason}; choose from {_listed()}")
    known = [
        f"{name}.{item.name}"
        for name, one in _SECTIONS.items()
        for item in dataclasses.fields(one)
        if f"{name}.{item.name}" not in _REFUSED
    ]
    if path not in known:
        raise StudyError(
            f"tune.space: unknown key {path!r}{nearest(path, known)}; choose from {_listed()}"
        )
    return get_type_hints(_SECTIONS[section])[key]


def _listed() -> str:
    return "the keys of training, model and features"


def _refuse_two_kinds(study: Study, ranges: Mapping[str, Range]) -> None:
    names = ranges["model.name"].ends() if "model.name" in ranges else []
    kinds = {with_settings(study, {"model.name": name}).model.forecasts for name in names}
    if len(kinds) > 1:
        raise StudyError(
            f"tune.space.model.name has {', '.join(names)}: some tell classes and some forecast "
            "bars, and their losses do not compare; tune one kind at a time"
        )


def _refuse_unread(study: Study, ranges: Mapping[str, Range]) -> None:
    """Refuse options of models that are not tried: their trials would all be the same."""
    names = ranges["model.name"].ends() if "model.name" in ranges else [study.model.name]
    read = {"name"}.union(*(with_settings(study, {"model.name": n}).model.options() for n in names))
    for path in ranges:
        section, _, key = path.partition(".")
        if section == "model" and key not in read:
            raise StudyError(
                f"tune.space: model.name {' or '.join(names)} does not read {path}; it reads "
                f"{', '.join(sorted(read - {'name'}))}"
            )
