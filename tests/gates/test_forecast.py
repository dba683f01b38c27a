"""Gates on price forecasts: asked where there are any, passed where they are surely nearer."""

import numpy as np
import pytest

from evaluation.forecast_tables import baseline_of, walk
from gates.cases import evidence_of, mildly_skilled
from walkforge.gates import judge


def _test(mean, low, high, **more):
    return {"mean_difference": mean, "low": low, "high": high, "p_value": 0.5, **more}


def _verdict(better_than):
    evidence = evidence_of(mildly_skilled())
    evidence["metrics"]["forecast"] = {"better_than": better_than}
    return {gate["name"]: gate for gate in judge(**evidence)["gates"]}


def test_a_run_without_forecasts_is_asked_no_such_gate():
    names = [gate["name"] for gate in judge(**evidence_of(mildly_skilled()))["gates"]]
    assert not [name for name in names if name.startswith("forecast_")]


@pytest.mark.parametrize(("low", "passed"), [(0.1, True), (-0.1, False), (0.0, False)])
def test_a_forecast_must_be_surely_nearer_than_every_baseline(low, passed):
    gate = _verdict(
        {
            "historical_volatility": {
                "crps": _test(0.4, low, 0.9, baseline_has_quantiles=True),
                "squared_error": _test(5.0, 4.0, 6.0),
            }
        }
    )["forecast_beats_historical_volatility"]
    assert gate["passed"] is passed
    assert (gate["value"], gate["low"], gate["limit"]) == (0.4, low, 0.0)
    assert "CRPS saved against the forecasts of 'historical volatility'" in gate["reason"]


def test_one_price_is_beaten_by_its_squared_error_and_not_by_a_range():
    gate = _verdict(
        {
            "persistence": {
                "crps": _test(3.0, 2.5, 3.5, baseline_has_quantiles=False),
                "squared_error": _test(-1.0, -2.0, 0.5),
            }
        }
    )["forecast_beats_persistence"]
    assert not gate["passed"]
    assert "Squared error" in gate["reason"]


def test_what_nobody_measured_does_not_pass():
    reason = {"reason": "9 decision times, at least 10 needed"}
    gate = _verdict(
        {"drift": {"crps": {"baseline_has_quantiles": False}, "squared_error": reason}}
    )["forecast_beats_drift"]
    assert not gate["passed"]
    assert "9 decision times" in gate["reason"]


def test_the_measures_of_evaluation_are_what_the_gate_reads():
    from walkforge.evaluation import forecast_metrics

    table = walk(300)
    found = forecast_metrics(table, baseline_of(table, "persistence", noise=0.01), n_resamples=50)
    gate = _verdict(found["better_than"])["forecast_beats_persistence"]
    test = found["better_than"]["persistence"]
    used = test["crps"] if test["crps"]["baseline_has_quantiles"] else test["squared_error"]
    assert gate["value"] == used["mean_difference"]
    assert np.isfinite(gate["value"])
