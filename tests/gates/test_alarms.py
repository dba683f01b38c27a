"""Each alarm goes off at what it is for, and an ordinary good model sets off none."""

import copy

import pytest

from gates.cases import evidence_of, mildly_skilled
from walkforge.gates import judge

GOOD = evidence_of(mildly_skilled())


def alarms_with(**changes):
    """Return the alarms of good evidence with some numbers changed, given as a__b__c=value."""
    whole = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *way, last = path.split("__")
        place = whole
        for key in way:
            place = place[key]
        place[last] = value
    verdict = judge(**whole)
    assert (verdict["alarms"] == []) == next(
        gate["passed"] for gate in verdict["gates"] if gate["name"] == "no_alarm"
    )
    return verdict["alarms"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"metrics__model__pooled__roc_auc__value": 0.96}, "ROC-AUC 96.0 %"),
        ({"metrics__model__pooled__balanced_accuracy__value": 0.9}, "balanced accuracy 90.0 %"),
        ({"metrics__model__pooled__accuracy__value": 0.99}, "accuracy 99.0 %"),
        ({"diagnostics__share_above_99": 0.6}, "60.0 % of predictions are above 99 % confidence"),
        ({"backtest__pooled__sharpe_annual": 33.0}, "A Sharpe ratio of 33.0 a year is beyond"),
        (
            {
                "diagnostics__train_test_gap__train_log_loss": 0.2,
                "diagnostics__train_test_gap__test_log_loss": 1.0,
            },
            "learned its rows by heart",
        ),
        ({"diagnostics__train_test_gap__gap": -0.3}, "0.3000 nats lower than in training"),
        ({"diagnostics__members": {"n": 4, "n_constant": 2, "constant": ["A"]}}, "2 of 4 networks"),
    ],
)
def test_each_alarm_goes_off(changes, text):
    found = alarms_with(**changes)
    assert len(found) == 1
    assert text in found[0]


def test_one_class_predicted_with_its_own_share_as_accuracy_is_an_alarm():
    counts = [[0, 30, 0], [0, 940, 0], [0, 30, 0]]
    found = alarms_with(
        metrics__model__pooled__confusion_matrix__counts=counts,
        metrics__model__pooled__accuracy__value=0.94,
        diagnostics__class_shares__predicted={"down": 0.0, "hold": 1.0, "up": 0.0},
    )
    assert len(found) == 1
    assert "'hold' is predicted in 100.0 % of rows" in found[0]


def test_high_accuracy_on_lopsided_labels_is_not_called_near_perfect():
    counts = [[10, 0, 0], [0, 960, 5], [0, 5, 20]]
    found = alarms_with(
        metrics__model__pooled__confusion_matrix__counts=counts,
        metrics__model__pooled__accuracy__value=0.97,
    )
    assert found == []


def test_a_sharpe_that_is_high_but_possible_in_a_short_window_is_no_alarm():
    assert alarms_with(backtest__pooled__sharpe_annual=12.0) == []
