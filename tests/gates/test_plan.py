"""The fixed limits of the original plan."""

import copy

import pytest

from gates.cases import constant, evidence_of, mildly_skilled, perfect
from walkforge.gates import judge

HONEST = evidence_of(mildly_skilled())


def confident():
    """Return evidence that keeps every limit of the plan."""
    whole = copy.deepcopy(HONEST)
    whole["metrics"]["model"]["pooled"]["accuracy"] |= {"value": 0.7, "low": 0.68, "high": 0.72}
    whole["diagnostics"]["confidence"]["mean"] = 0.72
    whole["diagnostics"]["logits"] |= {"min": -4.0, "max": 4.0}
    whole["diagnostics"]["class_shares"]["predicted"] = {"down": 0.3, "hold": 0.38, "up": 0.32}
    return whole


def outcome(verdict):
    return {gate["name"]: gate["passed"] for gate in verdict["gates"]}


def test_what_keeps_all_limits_is_fit_and_needs_no_note():
    verdict = judge(**confident(), profile="v8")
    assert verdict["fit"]
    assert verdict["profile"] == "v8"
    assert verdict["notes"] == []
    assert list(outcome(verdict)) == [
        "finite_numbers",
        "logit_range",
        "few_sure_predictions",
        "class_shares",
        "mean_confidence",
        "accuracy",
        "no_alarm",
    ]


def test_an_honest_calibrated_model_cannot_keep_them_and_the_verdict_says_why():
    verdict = judge(**HONEST, profile="v8")
    assert not verdict["fit"]
    assert not outcome(verdict)["accuracy"]
    assert not outcome(verdict)["mean_confidence"]
    assert len(verdict["notes"]) == 1
    assert "cannot both hold" in verdict["notes"][0]
    accuracy = HONEST["metrics"]["model"]["pooled"]["accuracy"]["value"]
    assert f"accuracy is {100 * accuracy:.1f} %" in verdict["notes"][0]


LIMITS = [
    ("finite_numbers", ("diagnostics", "not_finite"), 0, 2),
    ("logit_range", ("diagnostics", "logits", "max"), 10.0, 10.1),
    ("logit_range", ("diagnostics", "logits", "min"), -10.0, -10.1),
    ("few_sure_predictions", ("diagnostics", "share_above_99"), 0.0999, 0.1),
    ("class_shares", ("diagnostics", "class_shares", "predicted", "up"), 0.25, 0.249),
    ("class_shares", ("diagnostics", "class_shares", "predicted", "hold"), 0.40, 0.401),
    ("mean_confidence", ("diagnostics", "confidence", "mean"), 0.60, 0.599),
    ("mean_confidence", ("diagnostics", "confidence", "mean"), 0.85, 0.851),
    ("accuracy", ("metrics", "model", "pooled", "accuracy", "value"), 0.681, 0.68),
]


@pytest.mark.parametrize(("name", "path", "enough", "too_little"), LIMITS)
def test_each_limit_turns_where_the_plan_says_and_alone(name, path, enough, too_little):
    for value, failed in ((enough, []), (too_little, [name])):
        whole = confident()
        *way, last = path
        place = whole
        for key in way:
            place = place[key]
        place[last] = value
        verdict = judge(**whole, profile="v8")
        assert [n for n, passed in outcome(verdict).items() if not passed] == failed


def test_what_was_not_measured_does_not_pass():
    verdict = judge(metrics=None, diagnostics=None, backtest=None, data_info=None, profile="v8")
    assert not any(outcome(verdict).values())
    assert verdict["notes"] == []


def test_a_perfect_and_a_constant_predictor_are_not_fit():
    for table in (perfect(), perfect(0.8), constant()):
        verdict = judge(**evidence_of(table), profile="v8")
        assert not verdict["fit"]
        assert verdict["alarms"]
