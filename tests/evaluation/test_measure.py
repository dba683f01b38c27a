"""One block of measures: exact points, honest intervals, nothing where nothing is known."""

import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from evaluation.tables import (
    THREE,
    TWO,
    calibrated_rows,
    drawn_labels,
    skilled,
    softmax,
    table_of,
)
from walkforge.base import EvaluationError, PredictionsError
from walkforge.evaluation import measure

MEASURES = ("accuracy", "balanced_accuracy", "mcc", "log_loss", "brier", "ece", "roc_auc", "pr_auc")


def points(block):
    return {name: block[name]["value"] for name in MEASURES}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("digits", [1, 2, 12])
@pytest.mark.parametrize("n", [40, 1000])
def test_points_are_those_of_scikit_learn_ties_included(n_classes, digits, n):
    p, label = calibrated_rows(n, n_classes=n_classes, seed=n)
    p = np.round(p, digits)
    p[:, -1] = 1.0 - p[:, :-1].sum(axis=1)
    classes = TWO if n_classes == 2 else THREE
    block = measure(table_of(p, label), classes=classes, n_resamples=0)
    predicted = p.argmax(axis=1)
    each = [(label == k, p[:, k]) for k in range(n_classes)]
    brier = sum(sk.brier_score_loss(hit, np.clip(score, 0, 1)) for hit, score in each)
    expected = {
        "accuracy": sk.accuracy_score(label, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(label, predicted),
        "mcc": sk.matthews_corrcoef(label, predicted),
        "log_loss": sk.log_loss(label, np.clip(p, 0, 1)),
        "brier": brier / 2 if n_classes == 2 else brier,
        "roc_auc": np.mean([sk.roc_auc_score(hit, score) for hit, score in each]),
        "pr_auc": np.mean([sk.average_precision_score(hit, score) for hit, score in each]),
    }
    for name, value in expected.items():
        assert block[name]["value"] == pytest.approx(value, abs=1e-10), name
    counts = sk.confusion_matrix(label, predicted, labels=range(n_classes))
    assert block["confusion_matrix"] == {"labels": list(classes), "counts": counts.tolist()}


def test_four_rows_by_hand():
    p = [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]
    block = measure(table_of(p, [0, 1, 2, 2]), classes=THREE, n_resamples=0)
    assert block["confusion_matrix"]["counts"] == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert block["accuracy"]["value"] == 0.75
    assert block["balanced_accuracy"]["value"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert block["log_loss"]["value"] == pytest.approx(
        -(2 * math.log(0.5) + math.log(0.25) + math.log(0.6)) / 4
    )
    hit, miss, sure = 0.25 + 2 * 0.0625, 0.25 + 0.0625 + 0.5625, 0.16 + 2 * 0.04
    assert block["brier"]["value"] == pytest.approx((2 * hit + miss + sure) / 4)
    # Three rows say 0.5 and two of them hit; the fourth says 0.6 and hits.
    assert block["ece"]["value"] == pytest.approx((abs(3 * 0.5 - 2) + abs(0.6 - 1)) / 4)
    # Of the rows that moved, up's share is 1/3 for the down, 1/3 and 3/4 for the ups.
    assert block["direction_auc"]["value"] == 0.75
    assert block["n"] == 4


def test_the_calibration_error_is_that_of_a_slow_loop_over_ten_equal_bins():
    p, label = calibrated_rows(997, skill=1.0)
    block = measure(table_of(p, label), classes=THREE, n_resamples=0)
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == label
    order = np.argsort(confidence)
    edges = [997 * k // 10 for k in range(11)]
    slow = 0.0
    for start, stop in pairwise(edges):
        rows = order[start:stop]
        slow += abs(confidence[rows].mean() - hit[rows].mean()) * len(rows) / 997
    assert block["ece"]["value"] == pytest.approx(slow, abs=1e-12)
    assert block["ece"]["bins"] == 10


def test_equal_confidences_share_a_bin():
    block = measure(
        table_of([[0.6, 0.2, 0.2]] * 10, [0] * 6 + [1] * 4), classes=THREE, n_resamples=0
    )
    assert block["ece"]["value"] == pytest.approx(0.0, abs=1e-12)


def test_direction_is_the_area_of_up_against_down_among_rows_that_moved():
    p, label = calibrated_rows(500)
    block = measure(table_of(p, label), classes=THREE, n_resamples=0)
    moved = label != 1
    odds = p[moved, 2] / (p[moved, 0] + p[moved, 2])
    assert block["direction_auc"]["value"] == pytest.approx(
        sk.roc_auc_score(label[moved] == 2, odds), abs=1e-12
    )


def test_whoever_knows_how_far_but_not_whither_has_no_direction():
    random = np.random.default_rng(0)
    size = random.normal(0.0, 2.0, 3000)
    scores = np.column_stack([size, -size, size])
    label = drawn_labels(softmax(scores), random)
    guess = 0.3 * random.normal(size=(3000, 1)) * np.array([[-1.0, 0.0, 1.0]])
    block = measure(table_of(softmax(scores + guess), label), classes=THREE, n_resamples=200)
    assert block["balanced_accuracy"]["low"] > 0.4
    assert block["direction_auc"]["low"] < 0.5 < block["direction_auc"]["high"]


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_rows_changes_nothing_at_all(seed):
    table = skilled(60)
    shuffled = table.sample(fraction=1.0, shuffle=True, seed=seed)
    asked = {"classes": THREE, "n_resamples": 50}
    assert measure(shuffled, **asked) == measure(table, **asked)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2)), min_size=1, max_size=40
    )
)
def test_every_number_lies_where_it_can_and_its_interval_is_in_order(rows):
    weights = np.array([[a + 1e-3, b + 1e-3, 0.5] for a, b, _ in rows])
    p = weights / weights.sum(axis=1, keepdims=True)
    block = measure(table_of(p, [k for *_, k in rows]), classes=THREE, n_resamples=40)
    most = {"log_loss": 40.0, "brier": 2.0}
    for name in MEASURES:
        entry = block[name]
        if entry["value"] is None:
            assert entry["reason"]
            continue
        least = -1.0 if name == "mcc" else 0.0
        assert least - 1e-9 <= entry["value"] <= most.get(name, 1.0) + 1e-9
        if entry["low"] is not None:
            assert entry["low"] <= entry["high"]


def test_one_class_only_leaves_what_needs_two_undefined_with_the_reason():
    p, _ = calibrated_rows(50)
    block = measure(table_of(p, [1] * 50), classes=THREE)
    for name in ("balanced_accuracy", "mcc", "roc_auc", "pr_auc", "direction_auc"):
        assert block[name]["value"] is None
        assert block[name]["low"] is None
        assert block[name]["reason"]
    for name in ("accuracy", "log_loss", "brier", "ece"):
        assert block[name]["value"] is not None


def test_a_constant_predictor_has_no_correlation_rather_than_one_of_zero():
    _, label = calibrated_rows(200)
    block = measure(table_of([[0.4, 0.3, 0.3]] * 200, label), classes=THREE)
    assert block["mcc"]["value"] is None
    assert "one was predicted" in block["mcc"]["reason"]
    assert block["roc_auc"]["value"] == 0.5
    assert block["balanced_accuracy"]["value"] == pytest.approx(1 / 3)


def test_a_certain_mistake_costs_thirty_six_nats_and_not_infinity():
    block = measure(table_of([[1.0, 0.0, 0.0]] * 4, [0, 0, 0, 2]), classes=THREE, n_resamples=0)
    assert block["log_loss"]["value"] == pytest.approx(36.04 / 4, rel=1e-3)


def test_rows_that_are_not_finite_are_left_out_and_counted():
    p, label = calibrated_rows(300)
    whole = measure(table_of(p[20:], label[20:]), classes=THREE, n_resamples=0)
    spoiled = p.copy()
    spoiled[:10], spoiled[10:20, 1] = np.nan, np.inf
    block = measure(table_of(spoiled, label), classes=THREE, n_resamples=0)
    assert points(block) == pytest.approx(points(whole))
    assert (block["n"], block["n_not_finite"]) == (280, 20)


def test_no_finite_row_and_no_row_are_errors():
    p, label = calibrated_rows(5)
    with pytest.raises(EvaluationError, match="none of 5 rows has finite probabilities"):
        measure(table_of(p * np.nan, label), classes=THREE)
    with pytest.raises(EvaluationError, match="no rows"):
        measure(table_of(p, label).head(0), classes=THREE)


def test_ten_copies_of_a_network_make_no_interval_narrower():
    p, label = calibrated_rows(600)
    one = measure(table_of(p, label), classes=THREE)
    copies = pl.concat([table_of(p, label, seed=k) for k in range(10)])
    ten = measure(copies, classes=THREE)
    for name in MEASURES:
        assert ten[name]["value"] == pytest.approx(one[name]["value"], abs=1e-9)
        assert ten[name]["low"] == pytest.approx(one[name]["low"], abs=1e-6)
        assert ten[name]["high"] == pytest.approx(one[name]["high"], abs=1e-6)


def test_without_resamples_or_blocks_there_is_no_interval_but_a_reason():
    p, label = calibrated_rows(600)
    block = measure(table_of(p, label), classes=THREE, n_resamples=0)
    assert block["accuracy"]["low"] is None
    assert block["accuracy"]["reason"] == "no interval: no resamples were asked for"
    block = measure(table_of(p, label, span_bars=100), classes=THREE)
    assert block["n_blocks"] == 3
    assert "3 independent blocks of time" in block["accuracy"]["reason"]


def test_the_same_seed_draws_the_same_interval_and_another_one_another():
    p, label = calibrated_rows(600)
    asked = {"classes": THREE, "n_resamples": 100}
    table = table_of(p, label)
    assert measure(table, **asked, seed=3) == measure(table, **asked, seed=3)
    assert measure(table, **asked, seed=3) != measure(table, **asked, seed=4)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("p_up", 0.9, "sum to 1, expected|sum to 1.*are these logits"),
        ("label", 3, "label 3 for AAA at 2024-01-01 00:00"),
        ("label", -1, "label -1 for AAA"),
    ],
)
def test_impossible_rows_are_refused(column, value, message):
    p, label = calibrated_rows(20)
    table = table_of(p, label)
    first = pl.int_range(pl.len()) == 0
    wrong = table.with_columns(
        pl.when(first).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    )
    with pytest.raises(PredictionsError, match=message):
        measure(wrong, classes=THREE)


def test_missing_columns_and_duplicates_are_refused():
    p, label = calibrated_rows(20)
    table = table_of(p, label)
    with pytest.raises(PredictionsError, match="no column 'p_hold'"):
        measure(table.drop("p_hold"), classes=THREE)
    with pytest.raises(PredictionsError, match="2 duplicate rows, the first for AAA at 2024"):
        measure(pl.concat([table, table[[3, 5]]]), classes=THREE)


def test_a_well_calibrated_model_shows_about_as_much_error_as_noise_would():
    shown, noise = [], []
    for seed in range(20):
        p, label = calibrated_rows(400, seed=seed)
        ece = measure(table_of(p, label), classes=THREE, n_resamples=200)["ece"]
        shown.append(ece["value"])
        noise.append(ece["if_calibrated"])
        assert ece["low"] < 0.01
    assert np.mean(shown) == pytest.approx(np.mean(noise), rel=0.15)
