"""Every calibrator: what it learns, what it refuses, and that a row stands for itself."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from calibration.slices import drawn_slice
from walkforge.base import CalibrationError, UsageError
from walkforge.calibration import KINDS, calibrator_from_dict, fit_calibrator

FITTED = [kind for kind in KINDS if kind != "none"]
few_examples = settings(max_examples=8, deadline=None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_rows_sum_to_one_and_lie_between_zero_and_one(kind, n_classes):
    logits, labels = drawn_slice(n_classes=n_classes, sure=4.0)
    p = fit_calibrator(kind, logits, labels).apply(logits)
    assert p.shape == logits.shape
    assert p.dtype == np.float64
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-14)


@pytest.mark.parametrize("kind", FITTED)
def test_an_overconfident_network_loses_log_loss_on_rows_never_seen(kind):
    logits, labels = drawn_slice(sure=4.0)
    later, truth = drawn_slice(seed=1, sure=4.0)
    raw = log_loss(truth, fit_calibrator("none", logits, labels).apply(later))
    calibrated = log_loss(truth, fit_calibrator(kind, logits, labels).apply(later))
    honest = log_loss(truth, fit_calibrator("none", logits, labels).apply(later / 4.0))
    assert calibrated < raw - 0.2
    assert calibrated < honest + 0.03


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_rows", [1, 2, 3, 7, 8, 17, 33])
def test_one_row_comes_out_as_it_does_among_many(kind, n_rows):
    logits, labels = drawn_slice(sure=2.0)
    calibrator = fit_calibrator(kind, logits.astype(np.float32), labels.astype(np.int8))
    many = calibrator.apply(logits)
    np.testing.assert_array_equal(calibrator.apply(logits[:n_rows]), many[:n_rows])
    alone = np.concatenate([calibrator.apply(logits[i : i + 1]) for i in range(n_rows)])
    np.testing.assert_array_equal(alone, many[:n_rows])
    strided = np.asfortranarray(logits)[::-1]
    np.testing.assert_array_equal(calibrator.apply(strided), many[::-1])


@pytest.mark.parametrize("kind", KINDS)
def test_written_as_json_and_read_back_it_is_the_same_to_the_last_bit(kind):
    logits, labels = drawn_slice(sure=3.0)
    calibrator = fit_calibrator(kind, logits, labels)
    text = json.dumps(calibrator.as_dict(), allow_nan=False)
    again = calibrator_from_dict(json.loads(text))
    assert again.as_dict() == calibrator.as_dict()
    np.testing.assert_array_equal(again.apply(logits), calibrator.apply(logits))


@pytest.mark.parametrize("kind", KINDS)
@few_examples
@given(seed=st.integers(0, 10**6), cut=st.integers(250, 900))
def test_what_is_learned_does_not_change_when_all_other_rows_do(kind, seed, cut):
    logits, labels = drawn_slice(1000)
    learned = fit_calibrator(kind, logits[:cut], labels[:cut]).as_dict()
    random = np.random.default_rng(seed)
    logits[cut:] = random.normal(0.0, 100.0, logits[cut:].shape)
    labels[cut:] = random.integers(0, 3, len(labels) - cut)
    assert fit_calibrator(kind, logits[:cut], labels[:cut]).as_dict() == learned


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_without_rows_keeps_a_finite_loss_and_is_noted(kind):
    logits, labels = drawn_slice()
    labels = np.where(labels == 2, 1, labels)
    calibrator = fit_calibrator(kind, logits, labels)
    p = calibrator.apply(logits)
    assert np.isfinite(np.log(p)).all()
    assert (p[:, 2] < p[:, :2].max(axis=1)).mean() > 0.5
    assert bool(calibrator.note) == (kind in ("platt", "isotonic"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_slice_of_one_class_teaches_nothing_and_leaves_the_softmax(kind):
    logits, _ = drawn_slice()
    ones = np.ones(len(logits), dtype=np.int64)
    calibrator = fit_calibrator(kind, logits, ones)
    plain = fit_calibrator("none", logits, ones)
    np.testing.assert_allclose(calibrator.apply(logits), plain.apply(logits), atol=1e-3)
    assert bool(calibrator.note) == (kind != "none")


@pytest.mark.parametrize("kind", KINDS)
def test_logits_that_are_all_equal_stay_equal_or_become_the_class_shares(kind):
    _, labels = drawn_slice()
    p = fit_calibrator(kind, np.zeros((2000, 3)), labels).apply(np.zeros((4, 3)))
    shares = np.bincount(labels) / len(labels)
    expected = np.full(3, 1 / 3) if kind in ("temperature", "none") else shares
    np.testing.assert_allclose(p, np.tile(expected, (4, 1)), atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-6, 1e6, 1e30])
def test_huge_and_tiny_logits_stay_finite(kind, scale):
    logits, labels = drawn_slice()
    p = fit_calibrator(kind, logits * scale, labels).apply(logits * scale)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-12)
    if kind == "temperature" and scale < 1:
        np.testing.assert_allclose(p, 1 / 3, atol=1e-4)
    elif kind in ("temperature", "platt") and scale > 1:
        honest = fit_calibrator(kind, logits, labels).apply(logits)
        np.testing.assert_allclose(p, honest, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_with_nan_comes_out_as_nan_and_its_neighbours_do_not(kind):
    logits, labels = drawn_slice()
    calibrator = fit_calibrator(kind, logits, labels)
    spoiled = logits[:5].copy()
    spoiled[1, 0], spoiled[3, 2] = np.nan, np.inf
    p = calibrator.apply(spoiled)
    assert np.isnan(p).all(axis=1).tolist() == [False, True, False, True, False]
    np.testing.assert_array_equal(p[::2], calibrator.apply(logits[:5:2]))


def test_no_rows_in_are_no_rows_out():
    logits, labels = drawn_slice()
    assert fit_calibrator("isotonic", logits, labels).apply(logits[:0]).shape == (0, 3)


@pytest.mark.parametrize("kind", FITTED)
def test_too_few_rows_are_refused_with_their_number(kind):
    logits, labels = drawn_slice(29)
    with pytest.raises(CalibrationError, match="29 rows in the calibration slice, expected at"):
        fit_calibrator(kind, logits, labels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused_with_their_place(kind, poison):
    logits, labels = drawn_slice()
    logits[7, 1] = poison
    with pytest.raises(CalibrationError, match=r"1 of 2000 rows hold NaN or Inf .* row 7\)"):
        fit_calibrator(kind, logits, labels)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_refused(label):
    logits, labels = drawn_slice()
    labels[5] = label
    with pytest.raises(CalibrationError, match=f"row 5 has label {label}, expected 0 to 2"):
        fit_calibrator("temperature", logits, labels)


def test_one_column_of_logits_is_refused():
    with pytest.raises(CalibrationError, match="1 column of logits"):
        fit_calibrator("none", np.zeros((50, 1)), np.zeros(50, dtype=np.int64))


@pytest.mark.parametrize("kind", KINDS)
def test_logits_of_another_network_are_refused(kind):
    logits, labels = drawn_slice()
    with pytest.raises(CalibrationError, match="logits of 2 classes, expected 3"):
        fit_calibrator(kind, logits, labels).apply(logits[:, :2])


def test_a_misspelt_kind_is_told_the_nearest():
    logits, labels = drawn_slice()
    with pytest.raises(UsageError, match="did you mean 'temperature'"):
        fit_calibrator("temprature", logits, labels)


def test_a_description_that_is_none_is_refused():
    with pytest.raises(CalibrationError, match="kind 'beta', expected one of"):
        calibrator_from_dict({"kind": "beta"})
    with pytest.raises(CalibrationError, match="'platt' cannot be read"):
        calibrator_from_dict({"kind": "platt", "slope": [1.0]})
