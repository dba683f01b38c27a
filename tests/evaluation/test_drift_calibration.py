"""Whether probabilities still mean what they say."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from evaluation.tables import START_MS, STEP_MS, calibrated_rows, softmax, table_of
from walkforge.base import EvaluationError, PredictionsError
from walkforge.evaluation import calibration_drift, calibration_state, measure, read_answers


def _state(p, label):
    return calibration_state(table_of(p, label))


def test_numbers_are_those_of_scikit_learn_and_of_measure():
    p, label = calibrated_rows(1500, skill=0.8, seed=1)
    state = _state(p, label)
    known = measure(table_of(p, label), classes=("down", "hold", "up"))
    entropy = -(p * np.log(p)).sum(axis=1).mean()
    assert state["log_loss"]["value"] == pytest.approx(log_loss(label, p))
    assert state["excess_log_loss"]["value"] == pytest.approx(log_loss(label, p) - entropy)
    assert state["ece"]["value"] == pytest.approx(known["ece"]["value"])
    assert state["ece"]["if_calibrated"] == pytest.approx(known["ece"]["if_calibrated"], rel=0.1)
    hit = (p.argmax(axis=1) == label).mean()
    assert state["overconfidence"]["value"] == pytest.approx(p.max(axis=1).mean() - hit)
    assert sum(one["n"] for one in state["reliability"]) == 1500
    assert len(state["reliability"]) == 10


def test_a_harder_market_is_no_drift_where_it_is_foretold():
    """The log loss doubles, what it exceeds its own claim by stays."""
    easy, hard = (calibrated_rows(3000, skill=skill, seed=2) for skill in (3.0, 0.3))
    reference, later = _state(*easy), _state(*hard)
    found = calibration_drift(reference, later)
    assert found["log_loss"]["p_value"] < 1e-3
    assert found["p_value"] > 0.05


def test_calibrated_probabilities_raise_no_more_alarms_than_meant():
    alarms = 0
    for seed in range(60):
        p, label = calibrated_rows(1600, skill=0.5, seed=seed)
        found = calibration_drift(_state(p[:800], label[:800]), _state(p[800:], label[800:]))
        alarms += found["p_value"] < 0.05
    assert alarms <= 7  # 3 are meant; more than 7 have a probability of 0.01


def test_a_model_that_has_become_too_sure_is_seen():
    p, label = calibrated_rows(1600, skill=0.7, seed=3)
    sure = softmax(2.0 * np.log(p[800:]))
    found = calibration_drift(_state(p[:800], label[:800]), _state(sure, label[800:]))
    assert found["p_value"] < 0.01
    assert found["excess_log_loss"]["low"] > 0


def test_few_rows_have_no_interval_and_so_no_drift():
    p, label = calibrated_rows(900, seed=4)
    found = calibration_drift(_state(p[:800], label[:800]), _state(p[800:804], label[800:804]))
    assert found["p_value"] is None
    assert found["reason"].startswith("4 later rows: no interval: 4 independent blocks")
    nothing = {"n": 0, "reason": "no outcome is known yet"}
    assert calibration_drift(_state(p, label), nothing)["reason"] == "no outcome is known yet"
    assert "in the test no" in calibration_drift(nothing, _state(p, label))["reason"]
    with pytest.raises(EvaluationError, match="no rows"):
        calibration_state(table_of(p[:1], label[:1]).clear())


def test_answers_are_read_without_outcomes_and_checked(tmp_path):
    p, label = calibrated_rows(20, seed=5)
    table = table_of(p, label).drop("label", "resolved_at", "fold", "seed")
    path = tmp_path / "p.csv"
    table.reverse().write_csv(path)
    read = read_answers(path)
    assert read.columns == ["timestamp", "symbol", "timeframe", "p_down", "p_hold", "p_up"]
    stamps = read["timestamp"].dt.epoch("ms").to_list()
    assert stamps == [START_MS + k * STEP_MS for k in range(20)]
    table.drop("timestamp").write_csv(path)
    with pytest.raises(PredictionsError, match="no column 'timestamp'"):
        read_answers(path)
    table.clear().write_csv(path)
    with pytest.raises((EvaluationError, PredictionsError)):
        read_answers(path)
