"""Faults of training, stopping, calibrating and choosing, and of networks that learn nothing."""

from dataclasses import replace
from typing import Any

import numpy as np

from walkforge.study import GptStudy, Part

from ._plant import Applies, Fault, in_room
from ._specimen import Specimen

_TEMPERATURE = 2.0
_GROWTH = 200.0
_ONE_SIDED = 1e-3


def _tested_instead(part: Part, slice_name: str) -> Part:
    """Return the part with its test rows in the place of another slice's."""
    other: dict[str, Any] = {slice_name: part.rows.test}
    return replace(part, rows=replace(part.rows, **other))


def _calibrated_on_test(real: Any, learning: Any, parts: Any, *args: Any) -> Any:
    return real(learning, [_tested_instead(part, "calibration") for part in parts], *args)


def _stopped_on_test(real: Any, learning: Any, part: Part) -> Any:
    return real(learning, _tested_instead(part, "validation"))


def _chosen_on_test(real: Any, worlds: Any, part: Part) -> Part:
    return _tested_instead(part, "validation")


def _other_layers_in_training(
    real: Any, model: Any, state: Any, name: str, x_MBD: Any, *, training: bool
) -> Any:
    """Normalise over the batch in training, as the first `v8` did, and over the row afterwards."""
    if not training:
        return real(model, state, name, x_MBD, training=False)
    normal_MBD = (x_MBD - x_MBD.mean(1, keepdim=True)) / (x_MBD.std(1, keepdim=True) + 1e-5)
    return (normal_MBD * state[f"{name}.weight"][:, None] + state[f"{name}.bias"][:, None]).relu()


def _other_scaling_in_training(real: Any, forward: Any, *args: Any, **named: Any) -> Any:
    if named.get("dropout") is None:
        return real(forward, *args, **named)
    return real(replace(forward, scale_MF=2.0 * forward.scale_MF), *args, **named)


def _temperature_in_loss(real: Any, logits: Any, *args: Any, **named: Any) -> Any:
    return real(logits / _TEMPERATURE, *args, **named)


def _one_class_counts(real: Any, member: Any, n_classes: int, kind: str) -> Any:
    weights = real(member, n_classes, kind)
    weights[1:] *= _ONE_SIDED
    return weights


def _weights_grow(real: Any, *args: Any, **named: Any) -> Any:
    """Take weight decay with the wrong sign: a fifth more with each step at a rate of 1e-3."""
    return real(*args, **(named | {"decays": [-_GROWTH] * len(named["decays"])}))


def _no_steps(real: Any, cohort: Any, steps: Any) -> Any:
    return real(cohort, steps) * 0.0


def _first_answer_for_all(real: Any, *args: Any) -> Any:
    return [np.repeat(one[:1], len(one), axis=0) for one in real(*args)]


def _is_packed(specimen: Specimen) -> str | None:
    gpt = isinstance(specimen.study, GptStudy)
    return "it is planted in the packed trainer, which MarketGPT does without" if gpt else None


def _tells_classes(specimen: Specimen) -> str | None:
    name, forecasts = specimen.study.model.name, specimen.study.model.forecasts
    return _is_packed(specimen) or (f"{name} learns prices, not classes" if forecasts else None)


def _has_norm(specimen: Specimen) -> str | None:
    model = specimen.study.model
    if model.name != "mlp":
        return _is_packed(specimen) or f"{model.name} has no normalisation layers"
    return "the study asks for none" if model.norm == "none" else None


def _can_search(specimen: Specimen) -> str | None:
    return "MarketGPT has no search" if isinstance(specimen.study, GptStudy) else None


_LEARNING, _WORLDS = "walkforge.study._learn.Learning", "walkforge.study._tune_worlds.Worlds"
_OBJECTIVES, _RATES = "walkforge.training._objectives", "walkforge.training._cohort.Cohort.rates"


def _fault(name: str, says: str, place: str, faulty: Any, applies: Applies = _is_packed) -> Fault:
    return in_room(name, says, "learn", {place: faulty}, applies)


LEARNING_FAULTS: tuple[Fault, ...] = (
    _fault("calibrated_on_test", "the calibrator is fitted on the test slice",
           f"{_LEARNING}._calibrate_and_predict", _calibrated_on_test),
    _fault("stopped_on_test", "training is stopped by the test slice",
           f"{_LEARNING}._members_of", _stopped_on_test),
    in_room("chosen_on_test", "settings are chosen by the test slice", "tune",
            {f"{_WORLDS}._narrowed": _chosen_on_test}, _can_search),
    _fault("other_layers_in_training", "training normalises by other layers than prediction",
           "walkforge.models._mlp.Mlp._activate", _other_layers_in_training, _has_norm),
    _fault("other_scaling_in_training", "training scales features otherwise than prediction",
           "walkforge.models.PackedForward.outputs", _other_scaling_in_training),
    _fault("temperature_in_loss", "a temperature is part of the training loss",
           f"{_OBJECTIVES}.classification_loss", _temperature_in_loss, _tells_classes),
    _fault("class_collapse", "one class counts in the loss, and takes all predictions",
           f"{_OBJECTIVES}.class_weights", _one_class_counts, _tells_classes),
    _fault("logit_explosion", "weights grow instead of decaying, and the logits with them",
           "walkforge.training._steps.adamw_by_rows", _weights_grow),
    _fault("frozen_weights", "no step moves the weights", _RATES, _no_steps),
    _fault("constant_predictions", "every row is predicted like the first",
           "walkforge.models.predict_outputs", _first_answer_for_all),
)  # fmt: skip
