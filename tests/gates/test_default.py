"""The default profile: who passes, who does not, and what each gate says."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gates.cases import (
    BASELINES,
    GOOD_BACKTEST,
    REAL_BARS,
    constant,
    evidence_of,
    mildly_skilled,
    perfect,
)
from walkforge.base import UsageError
from walkforge.gates import PROFILES, judge

GOOD = evidence_of(mildly_skilled())


def outcome(verdict):
    return {gate["name"]: gate["passed"] for gate in verdict["gates"]}


def gate(verdict, name):
    return next(gate for gate in verdict["gates"] if gate["name"] == name)


def changed(path, value, evidence=GOOD):
    """Return a copy of the evidence with one entry changed, or taken out where value is ..."""
    whole = copy.deepcopy(evidence)
    *way, last = path
    place = whole
    for key in way:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return whole


def test_a_calibrated_model_with_a_little_skill_and_a_profit_is_fit_and_promotable():
    verdict = judge(**GOOD)
    assert [g["reason"] for g in verdict["gates"] if not g["passed"]] == []
    assert verdict["fit"] is True
    assert verdict["promotable"] is True
    assert verdict["not_promotable_because"] is None
    assert verdict["alarms"] == []
    assert outcome(verdict).keys() >= {f"beats_{name}" for name in BASELINES}


def test_the_verdict_has_the_shape_of_the_plan_and_is_plain_json():
    verdict = judge(**GOOD)
    assert json.loads(json.dumps(verdict, allow_nan=False)) == verdict
    assert {"fit", "promotable", "profile", "alarms", "gates", "notes"} <= verdict.keys()
    for entry in verdict["gates"]:
        assert {"name", "value", "limit", "passed", "reason"} <= entry.keys()
        assert isinstance(entry["passed"], bool)
        assert entry["reason"].endswith(".")
        assert "\n" not in entry["reason"]


def test_a_verdict_from_the_files_is_the_verdict_from_memory():
    again = {name: json.loads(json.dumps(part)) for name, part in GOOD.items()}
    assert judge(**again) == judge(**GOOD)


def test_a_constant_predictor_is_not_fit():
    verdict = judge(**evidence_of(constant()))
    failed = {name for name, passed in outcome(verdict).items() if not passed}
    assert not verdict["fit"]
    assert {"beats_prior", "beats_chance", "not_one_class", "no_alarm"} <= failed
    assert any("16 of 16 networks say the same on every row" in text for text in verdict["alarms"])
    assert any("that class's share" in text for text in verdict["alarms"])


@pytest.mark.parametrize("sure", [1.0, 0.9])
def test_a_perfect_predictor_is_an_alarm_and_not_a_success(sure):
    verdict = judge(**evidence_of(perfect(sure), train_log_loss=0.1))
    assert not verdict["fit"]
    assert not verdict["promotable"]
    assert not outcome(verdict)["no_alarm"]
    assert "Near-perfect scores" in verdict["alarms"][0]
    assert "leak" in verdict["alarms"][0]
    assert any("above 99 % confidence" in text for text in verdict["alarms"]) == (sure == 1.0)


def test_a_shrug_is_not_fit():
    verdict = judge(**evidence_of(mildly_skilled(), rival=[0.34, 0.33, 0.33]))
    assert verdict["fit"]
    shrug = mildly_skilled(seed=1).with_columns(
        p_down=(0.334 - 0.001 * (mildly_skilled(seed=2)["p_up"] > 0.4)),
        p_hold=0.333,
        p_up=(0.333 + 0.001 * (mildly_skilled(seed=2)["p_up"] > 0.4)),
    )
    failed = {name for name, ok in outcome(judge(**evidence_of(shrug))).items() if not ok}
    assert {"beats_prior", "beats_chance", "knows_direction"} <= failed


def test_simulated_bars_may_make_a_model_fit_but_never_promotable():
    mixed = REAL_BARS | {"SOLUSDT": {"provenance": "simulated"}}
    verdict = judge(**GOOD | {"data_info": mixed})
    assert verdict["fit"]
    assert not verdict["promotable"]
    assert "simulated" in verdict["not_promotable_because"]


@pytest.mark.parametrize("unknown", [None, {}, {"BTCUSDT": {"rows": 10}}])
def test_bars_of_unknown_origin_make_no_model_promotable(unknown):
    verdict = judge(**GOOD | {"data_info": unknown})
    assert verdict["fit"]
    assert not verdict["promotable"]
    assert "provenance" in verdict["not_promotable_because"]


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (
            "backtest",
            {
                "enough_trades",
                "net_profit",
                "mean_trade_profit",
                "beats_random_entries",
                "deflated_sharpe",
            },
        ),
        (
            "diagnostics",
            {"finite_numbers", "not_overconfident", "not_one_class", "train_test_gap", "no_alarm"},
        ),
        (
            "metrics",
            {
                "enough_evidence",
                *(f"beats_{name}" for name in BASELINES),
                "beats_chance",
                "knows_direction",
                "calibrated",
                "stable_over_folds",
                "stable_over_seeds",
                "no_alarm",
            },
        ),
    ],
)
@pytest.mark.parametrize("nothing", [None, {}])
def test_what_was_not_measured_does_not_pass(missing, expected, nothing):
    verdict = judge(**GOOD | {missing: nothing})
    failed = {name for name, passed in outcome(verdict).items() if not passed}
    assert failed == expected
    for name in expected:
        assert gate(verdict, name)["reason"].startswith("Not measured: ")
        assert gate(verdict, name)["value"] is None


def test_nothing_at_all_is_not_fit_and_trips_nothing():
    verdict = judge(metrics=None, diagnostics=None, backtest=None, data_info=None)
    assert not any(outcome(verdict).values())


LEAVES = [
    ("metrics", "bootstrap", "n_blocks"),
    ("metrics", "improvement", "lightgbm"),
    ("metrics", "improvement", "prior", "log_loss", "low"),
    ("metrics", "improvement", "prior", "log_loss", "by_fold"),
    ("metrics", "improvement", "prior", "log_loss", "by_seed"),
    ("metrics", "model", "pooled", "balanced_accuracy", "low"),
    ("metrics", "model", "pooled", "direction_auc", "low"),
    ("metrics", "model", "pooled", "ece", "value"),
    ("diagnostics", "not_finite"),
    ("diagnostics", "share_above_99"),
    ("diagnostics", "class_shares"),
    ("diagnostics", "train_test_gap", "gap"),
    ("backtest", "pooled", "n_trades"),
    ("backtest", "pooled", "pnl"),
    ("backtest", "pooled", "mean_trade_pnl", "low"),
    ("backtest", "pooled", "deflated_sharpe"),
    ("backtest", "random_entries", "p_value"),
]


@pytest.mark.parametrize("path", LEAVES, ids="/".join)
@pytest.mark.parametrize("nothing", [..., None, float("nan")])
def test_taking_any_number_away_makes_the_model_unfit(path, nothing):
    assert not judge(**changed(path, nothing))["fit"]


LIMITS = [
    ("finite_numbers", ("diagnostics", "not_finite"), 0, 1),
    ("enough_evidence", ("metrics", "bootstrap", "n_blocks"), 12, 11),
    ("enough_evidence", ("metrics", "bootstrap", "n_times"), 300, 299),
    ("beats_lightgbm", ("metrics", "improvement", "lightgbm", "log_loss", "low"), 1e-6, 0.0),
    ("beats_chance", ("metrics", "model", "pooled", "balanced_accuracy", "low"), 0.334, 0.333),
    ("knows_direction", ("metrics", "model", "pooled", "direction_auc", "low"), 0.501, 0.5),
    ("not_one_class", ("diagnostics", "class_shares", "predicted", "up"), 0.011, 0.009),
    ("not_one_class", ("diagnostics", "class_shares", "predicted", "hold"), 0.94, 0.96),
    ("train_test_gap", ("diagnostics", "train_test_gap", "gap"), 0.16, 0.17),
    ("enough_trades", ("backtest", "pooled", "n_trades"), 30, 29),
    ("net_profit", ("backtest", "pooled", "pnl"), 0.01, 0.0),
    ("mean_trade_profit", ("backtest", "pooled", "mean_trade_pnl", "low"), 1e-6, 0.0),
    ("beats_random_entries", ("backtest", "random_entries", "p_value"), 0.049, 0.05),
    ("deflated_sharpe", ("backtest", "pooled", "deflated_sharpe"), 0.95, 0.949),
]


@pytest.mark.parametrize(("name", "path", "enough", "too_little"), LIMITS)
def test_each_gate_turns_at_its_limit_and_alone(name, path, enough, too_little):
    good, bad = judge(**changed(path, enough)), judge(**changed(path, too_little))
    assert good["fit"]
    assert [n for n, passed in outcome(bad).items() if not passed] == [name]
    assert gate(bad, name)["limit"] is not None


def test_a_sentence_names_number_interval_and_limit():
    reason = gate(judge(**GOOD), "mean_trade_profit")["reason"]
    assert reason == (
        "The mean profit of a trade after costs is 1.7200 (95 % interval 0.9000 to 2.5000); the "
        "lower end must be above 0.0000."
    )


@pytest.mark.parametrize(
    ("value", "noise", "passed"),
    [(0.05, 0.0, True), (0.051, 0.0, False), (0.069, 0.02, True), (0.101, 0.2, False)],
)
def test_the_calibration_limit_grows_with_the_noise_but_not_beyond_a_tenth(value, noise, passed):
    evidence = changed(("metrics", "model", "pooled", "ece", "value"), value)
    evidence = changed(("metrics", "model", "pooled", "ece", "if_calibrated"), noise, evidence)
    assert outcome(judge(**evidence))["calibrated"] is passed


@pytest.mark.parametrize(
    ("share", "hits", "passed"),
    [(0.2, 0.95, True), (0.2, 0.93, False), (0.0009, 0.1, True)],
)
def test_sure_predictions_must_come_true(share, hits, passed):
    evidence = changed(("diagnostics", "share_above_99"), share)
    sure = {"n": 100, "mean_confidence": 0.995, "hit_rate": {"value": hits, "low": 0, "high": 1}}
    evidence = changed(("diagnostics", "above_99"), sure, evidence)
    assert outcome(judge(**evidence))["not_overconfident"] is passed


@pytest.mark.parametrize(
    ("savings", "passed"),
    [
        ([0.1, 0.1, 0.1, 0.1], True),
        ([0.1, 0.1, 0.1, -0.05, -0.05], True),
        ([0.1, 0.1, -0.01, -0.01], False),  # half of them
        ([5.0, 0.01, 0.01, -0.1], False),  # the first carries all
    ],
)
def test_folds_must_agree_and_not_hang_on_one(savings, passed):
    folds = {str(k): {"value": value, "n": 100} for k, value in enumerate(savings)}
    path = ("metrics", "improvement", "prior", "log_loss", "by_fold")
    assert outcome(judge(**changed(path, folds)))["stable_over_folds"] is passed


@pytest.mark.parametrize(
    ("savings", "passed"), [([0.1] * 4, True), ([0.5, -0.1, -0.1, 0.1], False)]
)
def test_with_one_fold_the_quarters_of_the_tested_time_must_agree(savings, passed):
    path = ("metrics", "improvement", "prior", "log_loss")
    one_fold = changed((*path, "by_fold"), {"0": {"value": 0.2, "n": 400}})
    quarters = {str(k): {"value": value, "n": 100} for k, value in enumerate(savings)}
    evidence = changed((*path, "by_period"), quarters, one_fold)
    assert outcome(judge(**evidence))["stable_over_folds"] is passed


def test_a_gate_that_cannot_be_asked_is_left_out_and_said():
    evidence = changed(("diagnostics", "train_test_gap"), None)
    assert judge(**evidence)["fit"] is False
    verdict = judge(**evidence, without={"train_test_gap": "nobody knows"})
    assert "train_test_gap" not in outcome(verdict)
    assert verdict["fit"] is True
    assert verdict["notes"] == ["The gate train_test_gap was not asked: nobody knows."]


def test_a_direction_known_too_well_is_an_alarm():
    path = ("metrics", "model", "pooled", "direction_auc", "value")
    verdict = judge(**changed(path, 0.86))
    assert any("up against down" in alarm for alarm in verdict["alarms"])
    assert verdict["fit"] is False


def test_every_seed_must_beat_the_prior():
    path = ("metrics", "improvement", "prior", "log_loss", "by_seed", "1", "value")
    assert outcome(judge(**changed(path, -1e-6)))["stable_over_seeds"] is False


def test_a_baseline_of_ones_own_must_be_beaten_too():
    own = {"log_loss": {"value": -0.1, "low": -0.2, "high": 0.0}}
    evidence = changed(("metrics", "improvement", "mine"), own)
    evidence = changed(("metrics", "baselines", "mine"), {}, evidence)
    verdict = judge(**evidence)
    assert outcome(verdict)["beats_mine"] is False
    assert not verdict["fit"]


@settings(max_examples=40, deadline=None)
@given(
    path=st.sampled_from([path for _, path, *_ in LIMITS]),
    value=st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.none(), st.text()),
)
def test_whatever_stands_in_a_file_a_verdict_comes_out_and_fit_means_all_passed(path, value):
    verdict = judge(**changed(path, value))
    assert verdict["fit"] == all(outcome(verdict).values())
    assert verdict["fit"] or not verdict["promotable"]


@settings(max_examples=30, deadline=None)
@given(low=st.floats(-1, 1), step=st.floats(0, 1), which=st.sampled_from(BASELINES))
def test_a_better_interval_never_makes_a_verdict_worse(low, step, which):
    path = ("metrics", "improvement", which, "log_loss", "low")
    if judge(**changed(path, low))["fit"]:
        assert judge(**changed(path, low + step))["fit"]


def test_an_unknown_profile_is_told_the_choices():
    with pytest.raises(UsageError, match="did you mean 'default'"):
        judge(**GOOD, profile="defualt")
    assert set(PROFILES) == {"default", "v8"}


def test_the_good_backtest_is_not_changed_by_judging():
    before = copy.deepcopy(GOOD_BACKTEST)
    judge(**GOOD)
    assert before == GOOD_BACKTEST
