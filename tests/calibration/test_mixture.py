"""The mean of several models, and the weights that fit a calibration slice best."""

import numpy as np
import pytest

from walkforge.base import CalibrationError
from walkforge.calibration import fit_mixture, log_of_mixture, mixture


def _hits(n_models, n_rows, seed, noise=0.6):
    """Return what models with more and more noise gave to what came true."""
    random = np.random.default_rng(seed)
    truth = random.dirichlet(np.full(3, 2.0), size=n_rows)
    label = (random.random(n_rows)[:, None] > truth.cumsum(axis=1)).sum(axis=1)
    said = []
    for model in range(n_models):
        logits = np.log(truth) + noise * (model + 1) * random.normal(size=truth.shape)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        said.append(p[np.arange(n_rows), label])
    return np.stack(said)


def _loss(weights, hits):
    return -np.log(np.asarray(weights) @ hits).mean()


@pytest.mark.parametrize("seed", range(4))
def test_no_other_weights_on_a_fine_grid_fit_better(seed):
    hits = _hits(3, 400, seed)
    weights = fit_mixture(hits)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert weights.min() >= 0
    steps = np.linspace(0, 1, 41)
    grid = [(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-12]
    assert _loss(weights, hits) <= min(_loss(np.abs(one), hits) for one in grid) + 2e-7


def test_a_better_model_weighs_more_and_a_useless_one_nothing():
    hits = _hits(2, 3000, seed=5)
    weights = fit_mixture(hits)
    assert weights[0] > 0.6
    worthless = np.minimum(hits[0], 1 / 3)
    assert fit_mixture(np.stack([hits[0] + 0.01, worthless]))[1] < 1e-3


def test_models_that_say_the_same_weigh_the_same():
    hits = _hits(1, 200, seed=1)
    np.testing.assert_array_equal(fit_mixture(np.repeat(hits, 3, axis=0)), np.full(3, 1 / 3))


def test_the_same_hits_give_the_same_weights_to_the_last_bit():
    hits = _hits(4, 1000, seed=2)
    np.testing.assert_array_equal(fit_mixture(hits), fit_mixture(hits.copy()))


def test_rows_that_are_not_finite_teach_nothing():
    hits = _hits(2, 300, seed=3)
    holed = np.concatenate([hits, [[np.nan, 0.5], [0.9, np.inf]]], axis=1)
    np.testing.assert_array_equal(fit_mixture(holed), fit_mixture(hits))
    np.testing.assert_array_equal(fit_mixture(np.full((2, 5), np.nan)), [0.5, 0.5])


def test_a_zero_for_what_came_true_leaves_the_weights_finite():
    weights = fit_mixture(np.array([[0.9, 0.0, 0.8], [0.3, 0.3, 0.3], [0.0, 0.0, 0.0]]))
    assert np.isfinite(weights).all()
    assert weights[:2].min() > 0.05
    assert weights[2] < 0.01


def test_a_mixture_of_no_models_is_refused():
    with pytest.raises(CalibrationError, match="no models"):
        fit_mixture(np.zeros((0, 3)))


def test_the_mean_is_that_of_probabilities_and_a_softmax_of_its_logarithm_gives_it_again():
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(3), size=(2, 50))
    mixed = mixture(p, np.array([0.25, 0.75]))
    np.testing.assert_allclose(mixed, 0.25 * p[0] + 0.75 * p[1], rtol=1e-15)
    np.testing.assert_allclose(mixed.sum(axis=1), 1.0, atol=1e-12)
    again = np.exp(log_of_mixture(mixed))
    np.testing.assert_allclose(again / again.sum(axis=1, keepdims=True), mixed, rtol=1e-12)
    alone = np.stack([mixture(p[:, k : k + 1], np.array([0.25, 0.75]))[0] for k in range(50)])
    np.testing.assert_array_equal(alone, mixed)


def test_zero_and_nan_stay_what_they_are():
    logs = log_of_mixture(np.array([[0.0, 1.0], [np.nan, 0.5]]))
    assert logs[0, 0] == pytest.approx(-708.4, abs=0.1)
    assert np.isnan(logs[1, 0])
    assert np.isnan(mixture(np.array([[[np.nan, 1.0]], [[0.5, 0.5]]]), np.array([0.5, 0.5]))[0, 0])
