"""Scalers: what they learn, what they refuse, and that they survive being written down."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from walkforge.base import FeatureError, UsageError
from walkforge.features import CLIP, Scaler, fit_scaler

RANDOM = np.random.default_rng(9)
X = (RANDOM.normal(size=(500, 4)) * [1.0, 0.001, 50.0, 2.0] + [0.0, 3.0, -7.0, 1.0]).astype(
    np.float32
)
KINDS = ("standard", "robust", "none")
ANY_X = arrays.arrays(
    np.float32,
    st.tuples(st.integers(10, 40), st.integers(1, 5)),
    elements=st.floats(-1e6, 1e6, width=32),
)


def test_standard_scales_to_mean_zero_and_deviation_one():
    scaled = fit_scaler("standard", X).transform(X)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=0), 1.0, atol=1e-4)


def test_robust_scales_to_median_zero_and_quartiles_one_apart():
    scaled = fit_scaler("robust", X).transform(X)
    low, middle, high = np.percentile(scaled, [25, 50, 75], axis=0)
    np.testing.assert_allclose(middle, 0.0, atol=1e-4)
    np.testing.assert_allclose(high - low, 1.0, atol=1e-4)


def test_one_outlier_moves_the_standard_scaler_and_hardly_the_robust_one():
    struck = X.copy()
    struck[0, 0] = 1e5
    assert fit_scaler("standard", struck).scale_[0] > 1000
    assert fit_scaler("robust", struck).scale_[0] == pytest.approx(
        fit_scaler("robust", X).scale_[0], rel=0.02
    )


def test_none_only_clips():
    scaler = fit_scaler("none", X)
    np.testing.assert_array_equal(scaler.transform(X), np.clip(X, -CLIP, CLIP))


@pytest.mark.parametrize("kind", KINDS)
def test_scaled_values_are_held_at_ten_units(kind):
    far = np.full((2, 4), 1e9, dtype=np.float32)
    far[1] *= -1
    scaled = fit_scaler(kind, X).transform(far)
    np.testing.assert_array_equal(scaled, [[CLIP] * 4, [-CLIP] * 4])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -3.3e5, 1e-30])
def test_a_constant_column_has_scale_one(kind, value):
    constant = np.full((50, 1), value, dtype=np.float32)
    scaler = fit_scaler(kind, constant)
    assert scaler.scale_.tolist() == [1.0]
    if kind != "none":
        assert np.abs(scaler.transform(constant)).max() < 1e-6 * max(1.0, abs(value))


@pytest.mark.parametrize("kind", ["standard", "robust"])
def test_the_last_bit_of_a_constant_column_is_not_blown_up(kind):
    nearly = np.full((50, 1), 0.1, dtype=np.float32)
    nearly[::2] = np.nextafter(np.float32(0.1), np.float32(1))
    assert fit_scaler(kind, nearly).scale_.tolist() == [1.0]


def test_robust_takes_the_deviation_where_half_of_the_values_are_the_same():
    mostly_zero = np.zeros((100, 1), dtype=np.float32)
    mostly_zero[:10] = 5.0
    assert fit_scaler("robust", mostly_zero).scale_[0] == pytest.approx(mostly_zero.std())


@settings(max_examples=50, deadline=None)
@given(found=ANY_X, kind=st.sampled_from(KINDS))
def test_whatever_it_is_fitted_on_the_result_is_finite_and_within_the_clip(found, kind):
    scaled = fit_scaler(kind, found).transform(found)
    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() <= CLIP


@settings(max_examples=50, deadline=None)
@given(found=ANY_X, kind=st.sampled_from(KINDS))
def test_a_scaler_comes_back_from_json_to_the_last_bit(found, kind):
    scaler = fit_scaler(kind, found)
    back = Scaler.from_dict(json.loads(json.dumps(scaler.as_dict())))
    assert back.kind == kind
    np.testing.assert_array_equal(back.center_, scaler.center_)
    np.testing.assert_array_equal(back.scale_, scaler.scale_)


def test_a_row_is_scaled_alone_as_among_others():
    scaler = fit_scaler("robust", X)
    together = scaler.transform(X)
    np.testing.assert_array_equal(
        together, np.concatenate([scaler.transform(row[None]) for row in X])
    )


def test_not_a_number_stays_so_and_touches_no_other_value():
    holed = X.copy()
    holed[3, 1] = np.nan
    scaler = fit_scaler("standard", X)
    scaled, whole = scaler.transform(holed), scaler.transform(X)
    assert np.isnan(scaled[3, 1])
    scaled[3, 1] = whole[3, 1]
    np.testing.assert_array_equal(scaled, whole)


def test_transform_leaves_its_input_alone():
    before = X.copy()
    fit_scaler("standard", X).transform(X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_rows_are_refused(kind):
    with pytest.raises(FeatureError, match=r"shape \(9, 4\), expected at least 10 rows"):
        fit_scaler(kind, X[:9])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_value_that_is_not_finite_is_refused(kind, bad):
    broken = X.copy()
    broken[17, 2] = bad
    with pytest.raises(FeatureError, match="row 17 of column 2"):
        fit_scaler(kind, broken)


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'robust'"):
        fit_scaler("robst", X)


def test_another_number_of_columns_is_refused():
    with pytest.raises(FeatureError, match=r"shape \(500, 3\), expected 4 columns"):
        fit_scaler("standard", X).transform(X[:, :3])


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "minmax"},
        {"scale": [1.0, 0.0, 1.0, 1.0]},
        {"scale": [1.0]},
        {"center": [0.0, None, 0.0, 0.0]},
        {"center": ["a", 0.0, 0.0, 0.0]},
        {"clip": 5.0},
    ],
)
def test_a_damaged_record_is_refused(change):
    record = fit_scaler("standard", X).as_dict() | change
    with pytest.raises(FeatureError, match="scaler"):
        Scaler.from_dict(record)


def test_a_record_without_a_part_is_refused():
    record = fit_scaler("standard", X).as_dict()
    del record["scale"]
    with pytest.raises(FeatureError, match="'scale'"):
        Scaler.from_dict(record)
