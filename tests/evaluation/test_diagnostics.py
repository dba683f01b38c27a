"""What the diagnostics count, by hand and by slow code."""

import json
import math

import numpy as np
import polars as pl
import pytest

from evaluation.tables import THREE, TWO, calibrated_rows, skilled, table_of
from walkforge.base import EvaluationError, PredictionsError
from walkforge.evaluation import diagnostics


def test_four_rows_by_hand():
    p = np.array([[0.995, 0.005, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.2, 0.2, 0.6]])
    logits = np.array([[9.0, -2.0, 0.0], [1.0, 1.0, -3.0], [0.0, 0.0, 12.0], [0.0, 0.0, 1.0]])
    table = table_of(p, [0, 1, 0, 2], logits=logits)
    found = diagnostics(table, classes=THREE, train_log_loss=0.5, train_accuracy=0.9)
    assert found["n"] == 4
    assert found["logits"] == {"min": -3.0, "max": 12.0, "nan": 0, "inf": 0}
    assert found["not_finite"] == 0
    assert found["class_shares"]["predicted"] == {"down": 0.5, "hold": 0.0, "up": 0.5}
    assert found["class_shares"]["true"] == {"down": 0.5, "hold": 0.25, "up": 0.25}
    assert found["confidence"]["mean"] == pytest.approx((0.995 + 0.5 + 1.0 + 0.6) / 4)
    assert found["share_above_99"] == 0.5
    assert found["above_99"]["n"] == 2
    assert found["above_99"]["mean_confidence"] == pytest.approx(0.9975)
    assert found["above_99"]["hit_rate"]["value"] == 0.5
    assert found["train_test_gap"]["train_log_loss"] == 0.5
    test_loss = found["train_test_gap"]["test_log_loss"]
    assert found["train_test_gap"]["gap"] == pytest.approx(test_loss - 0.5)


def test_the_histogram_counts_every_row_in_twenty_bins():
    p, label = calibrated_rows(500, skill=2.0)
    histogram = diagnostics(table_of(p, label), classes=THREE)["confidence"]["histogram"]
    assert len(histogram["edges"]) == 21
    assert (histogram["edges"][0], histogram["edges"][-1]) == (0.0, 1.0)
    assert sum(histogram["counts"]) == 500
    slow = np.sum((p.max(axis=1) >= 0.5) & (p.max(axis=1) < 0.55))
    assert histogram["counts"][10] == slow


def test_the_reliability_table_is_a_slow_loop_over_its_own_bins():
    p, label = calibrated_rows(1000, skill=1.5)
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == label
    table = diagnostics(table_of(p, label), classes=THREE, n_resamples=200)["reliability"]
    assert len(table) == 10
    assert sum(row["n"] for row in table) == 1000
    for row in table:
        inside = (confidence >= row["from"]) & (confidence <= row["to"])
        assert inside.sum() == row["n"] == 100
        assert row["confidence"] == pytest.approx(confidence[inside].mean())
        assert row["hit_rate"] == pytest.approx(hit[inside].mean())
        assert row["low"] < row["hit_rate"] < row["high"]


def test_entropy_lies_between_none_and_a_shrug():
    shrug = diagnostics(table_of([[1 / 3] * 3] * 10, [0] * 10), classes=THREE)["entropy"]
    assert shrug["mean"] == pytest.approx(shrug["most"]) == pytest.approx(math.log(3))
    sure = diagnostics(table_of([[1.0, 0.0]] * 10, [0] * 10), classes=TWO)["entropy"]
    assert sure["mean"] == 0.0


def test_nan_and_infinite_numbers_are_counted_where_they_stand():
    p, label = calibrated_rows(50)
    logits = np.log(p)
    p[3], p[4, 0], logits[3], logits[7, 1] = np.nan, np.inf, np.nan, -np.inf
    found = diagnostics(table_of(p, label, logits=logits), classes=THREE)
    assert found["probabilities"] == {"nan": 3, "inf": 1}
    assert (found["logits"]["nan"], found["logits"]["inf"]) == (3, 1)
    assert found["not_finite"] == 2 + 3 + 1
    assert math.isfinite(found["logits"]["min"])


def test_a_table_without_logits_says_so():
    p, label = calibrated_rows(50)
    logits = diagnostics(table_of(p, label), classes=THREE)["logits"]
    assert logits["min"] is None
    assert logits["reason"] == "the table holds no logits"


def test_without_training_losses_there_is_no_gap_but_a_reason():
    p, label = calibrated_rows(50)
    gap = diagnostics(table_of(p, label), classes=THREE)["train_test_gap"]
    assert gap["gap"] is None
    assert gap["reason"] == "no training loss was handed over"


def test_networks_that_say_the_same_on_every_row_are_named():
    table = skilled(100)
    stuck = (pl.col("symbol") == "S1") & (pl.col("seed") == 0) & (pl.col("fold") == 2)
    same = table.with_columns(
        pl.when(stuck).then(share).otherwise(pl.col(name)).alias(name)
        for name, share in (("p_down", 0.2), ("p_hold", 0.5), ("p_up", 0.3))
    )
    members = diagnostics(same, classes=THREE)["members"]
    assert members == {"n": 16, "n_constant": 1, "constant": ["S1, fold 2, seed 0"]}


def test_the_order_of_rows_changes_nothing_and_the_result_is_plain_json():
    table = skilled(100)
    found = diagnostics(table, classes=THREE, train_log_loss=1.0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    shuffled = table.sample(fraction=1.0, shuffle=True, seed=1)
    assert diagnostics(shuffled, classes=THREE, train_log_loss=1.0) == found


def test_probabilities_that_do_not_sum_to_one_and_empty_tables_are_refused():
    p, label = calibrated_rows(50)
    with pytest.raises(PredictionsError, match="50 such rows"):
        diagnostics(table_of(p * 1.01, label), classes=THREE)
    with pytest.raises(EvaluationError, match="none of 50 rows"):
        diagnostics(table_of(p * np.nan, label), classes=THREE)
