"""Each kind of calibrator against a slower or simpler way to the same numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from calibration.slices import drawn_slice
from walkforge.calibration import fit_calibrator


def test_the_temperature_is_the_lowest_point_of_a_fine_grid():
    logits, labels = drawn_slice(sure=3.0)
    fitted = fit_calibrator("temperature", logits, labels).as_dict()["temperature"]
    grid = np.exp(np.linspace(np.log(0.5), np.log(20.0), 301))
    losses = [log_loss(labels, softmax(logits / t, axis=1)) for t in grid]
    assert fitted == pytest.approx(grid[int(np.argmin(losses))], rel=7e-3)
    assert fitted == pytest.approx(3.0, rel=0.15)


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(1.0, 1e6), seed=st.integers(0, 1000))
def test_multiplying_all_logits_multiplies_the_temperature(factor, seed):
    logits, labels = drawn_slice(200, seed)
    one = fit_calibrator("temperature", logits, labels)
    other = fit_calibrator("temperature", logits * factor, labels)
    assert other.as_dict()["temperature"] == pytest.approx(
        one.as_dict()["temperature"] * factor, rel=1e-6
    )


def test_temperature_never_changes_which_class_is_largest():
    logits, labels = drawn_slice(sure=5.0)
    p = fit_calibrator("temperature", logits, labels).apply(logits)
    np.testing.assert_array_equal(p.argmax(axis=1), logits.argmax(axis=1))


def test_scores_without_information_become_nearly_equal_chances():
    random = np.random.default_rng(3)
    logits, labels = random.normal(0, 5, (6000, 3)), random.integers(0, 3, 6000)
    p = fit_calibrator("temperature", logits, labels).apply(logits)
    assert p.max() < 0.45


def test_scores_that_are_turned_round_stop_at_the_bound():
    logits, labels = drawn_slice()
    calibrator = fit_calibrator("temperature", -logits, labels)
    assert "upper bound" in calibrator.note
    assert calibrator.apply(-logits).max() < 0.36


def test_scores_that_are_always_right_stop_at_the_other_bound():
    labels = np.arange(300) % 3
    calibrator = fit_calibrator("temperature", np.eye(3)[labels], labels)
    assert "lower bound" in calibrator.note
    assert np.isfinite(calibrator.apply(np.eye(3))).all()


def test_platt_of_two_classes_is_a_logistic_regression_on_the_two_log_probabilities():
    logits, labels = drawn_slice(20_000, n_classes=2, sure=2.5)
    p = fit_calibrator("platt", logits, labels).apply(logits)
    scores = np.log(softmax(logits, axis=1))
    reference = LogisticRegression(C=np.inf).fit(scores, labels)
    np.testing.assert_allclose(p, reference.predict_proba(scores), atol=2e-3)


def test_platt_mends_class_shares_that_temperature_cannot():
    logits, labels = drawn_slice(sure=2.0)
    shifted = logits + np.array([2.0, 0.0, -1.0])
    losses = {
        kind: log_loss(labels, fit_calibrator(kind, shifted, labels).apply(shifted))
        for kind in ("temperature", "platt")
    }
    assert losses["platt"] < losses["temperature"] - 0.05


@settings(max_examples=12, deadline=None)
@given(shift=st.floats(-50, 50), seed=st.integers(0, 1000))
def test_platt_is_blind_to_a_constant_added_to_the_logits_of_a_row(shift, seed):
    logits, labels = drawn_slice(150, seed)
    calibrator = fit_calibrator("platt", logits, labels)
    np.testing.assert_allclose(
        calibrator.apply(logits + shift), calibrator.apply(logits), atol=1e-10
    )


def test_platt_does_not_turn_scores_round():
    logits, labels = drawn_slice()
    slopes = fit_calibrator("platt", -logits, labels).as_dict()["slope"]
    assert min(slopes) >= 0.0


def test_isotonic_equals_scikit_learn_class_by_class():
    logits, labels = drawn_slice(sure=3.0)
    later, _ = drawn_slice(seed=1, sure=3.0)
    p = fit_calibrator("isotonic", logits, labels).apply(later)
    columns = []
    for k in range(3):
        odds, later_odds = (np.log(q / (1 - q)) for q in (_p(logits)[:, k], _p(later)[:, k]))
        model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        columns.append(model.fit(odds, labels == k).predict(later_odds))
    raw = np.maximum(np.stack(columns, axis=1), 1 / 2003)
    np.testing.assert_allclose(p, raw / raw.sum(axis=1, keepdims=True), atol=1e-9)


def test_isotonic_by_hand():
    logits = np.repeat([[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]], 100, axis=0)
    labels = np.repeat([0, 1, 0, 1, 0, 1], [90, 10, 60, 40, 30, 70])
    p = fit_calibrator("isotonic", logits, labels).apply(
        np.array([[0.0, -1.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.5], [0.0, 9.0]])
    )
    np.testing.assert_allclose(p[:, 1], [0.1, 0.4, 0.7, 0.55, 0.7], atol=1e-9)


def test_isotonic_never_says_never():
    logits = np.linspace(-3, 3, 300)[:, None] * np.array([[-1.0, 1.0]])
    labels = (np.arange(300) >= 150).astype(np.int64)
    p = fit_calibrator("isotonic", logits, labels).apply(logits)
    assert p.min() == pytest.approx((1 / 302) / (1 + 1 / 302))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000))
def test_isotonic_rises_with_the_score_of_two_classes(seed):
    logits, labels = drawn_slice(250, seed, n_classes=2)
    grid = np.stack([np.zeros(101), np.linspace(-6, 6, 101)], axis=1)
    p = fit_calibrator("isotonic", logits, labels).apply(grid)
    assert (np.diff(p[:, 1]) >= -1e-12).all()


def _p(logits):
    return softmax(logits, axis=1)
