"""Baselines of forecasts learn from the training rows alone, and say what they say they say."""

import dataclasses

import numpy as np
import pytest

from walkforge.training import FORECAST_BASELINES, BaselineRows, ForecastRows

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
N, STEPS = 1200, 2


def _asked(slope=1.5) -> ForecastRows:
    random = np.random.default_rng(3)
    table = random.normal(size=(N, 4)).astype(np.float32)
    closes = random.normal(0.1, 1.0, size=(N, STEPS)) * np.sqrt([1.0, 2.0])
    closes[:, 1] += slope * table[:, 0]
    nothing = np.zeros(N, dtype=np.int64)
    rows = BaselineRows(
        table=table,
        labels=np.zeros(N, np.int8),
        decided_at=nothing,
        resolved_at=nothing,
        train=np.arange(50, 600),
        validation=np.arange(610, 800),
        asked=np.arange(810, N),
        scale=lambda table: table,
        window_bars=1,
        n_classes=3,
    )
    return ForecastRows(rows, closes.astype(np.float32), LEVELS)


@pytest.mark.parametrize("name", FORECAST_BASELINES)
def test_every_baseline_says_a_close_for_every_step(name):
    found = FORECAST_BASELINES[name](_asked())
    assert found.closes.shape == (N - 810, STEPS)
    assert np.isfinite(found.closes).all()
    if found.quantiles is not None:
        assert found.quantiles.shape == (N - 810, STEPS, len(LEVELS))
        assert (np.diff(found.quantiles, axis=-1) >= 0).all()


@pytest.mark.parametrize("name", FORECAST_BASELINES)
def test_no_baseline_learns_from_the_rows_it_is_asked_about(name):
    asked = _asked()
    poisoned = asked.closes.copy()
    poisoned[810:] = 1e6
    clean = FORECAST_BASELINES[name](asked)
    again = FORECAST_BASELINES[name](dataclasses.replace(asked, closes=poisoned))
    for field in dataclasses.fields(clean):
        np.testing.assert_array_equal(getattr(clean, field.name), getattr(again, field.name))


def test_persistence_is_the_last_close_again_without_a_doubt():
    found = FORECAST_BASELINES["persistence"](_asked())
    assert (found.closes == 0).all()
    assert found.quantiles is None


def test_drift_is_the_mean_move_of_the_training_rows():
    asked = _asked()
    found = FORECAST_BASELINES["drift"](asked)
    np.testing.assert_allclose(found.closes[0], asked.closes[50:600].mean(axis=0), rtol=1e-5)


def test_historical_volatility_is_right_as_often_as_it_says():
    asked = _asked()
    found = FORECAST_BASELINES["historical_volatility"](asked)
    truth = asked.closes[810:]
    inside = (found.quantiles[..., 0] <= truth) & (truth <= found.quantiles[..., -1])
    np.testing.assert_allclose(inside.mean(axis=0), 0.9, atol=0.05)
    assert (found.volatility == 1).all()


def test_lightgbm_finds_a_move_that_can_be_foreseen():
    asked = _asked()
    truth = asked.closes[810:, 1]
    errors = {
        name: np.abs(FORECAST_BASELINES[name](asked).closes[:, 1] - truth).mean()
        for name in ("lightgbm", "drift")
    }
    assert errors["lightgbm"] < 0.9 * errors["drift"]
