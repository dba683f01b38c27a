"""What a forecaster learns: against slow code, free of scale, across holes and with poison."""

import dataclasses

import numpy as np
import pytest

from drawn import random_bars
from walkforge.base import LabelError
from walkforge.labels import BAND_BARS, LabelRule, forecast_moves, forecast_targets, outcomes
from walkforge.market import past_volatility

STEPS = 4
RULE = LabelRule(kind="quantile", horizon_bars=STEPS, volatility_bars=30)
BARS = random_bars(400, seed=3, volatility_frac=0.004, holes_at=(150, 152))
FOUND = forecast_targets(BARS, RULE)


def _slow(bars, t):
    """Return the targets of one row as their names say, or None."""
    segment = next(rows for rows in bars.segments if rows.start <= t < rows.stop)
    if t - segment.start < 30 or t + STEPS >= segment.stop:
        return None
    close = np.log(bars.close)
    sigma = np.std(np.diff(close[t - 30 : t + 1]), ddof=1)
    ahead = range(t + 1, t + STEPS + 1)
    bar = [
        np.log(getattr(bars, n)[k]) - close[t]
        for k in ahead
        for n in ("open", "high", "low", "close")
    ]
    band = []
    for k in ahead:
        last = close[k - BAND_BARS + 1 : k + 1]
        band += [last.mean() - close[t], 2 * last.std()]
    moved = np.sqrt(np.mean(np.diff(close[t : t + STEPS + 1]) ** 2))
    return np.array([*bar, *band, moved]) / sigma


def test_targets_are_what_slow_code_finds():
    for t in range(len(BARS)):
        slow = _slow(BARS, t)
        assert FOUND.valid[t] == (slow is not None), t
        if slow is not None:
            np.testing.assert_allclose(FOUND.values[t], slow, rtol=2e-5, atol=2e-5)
    assert 150 < FOUND.valid.sum() < 380


def test_targets_know_no_scale():
    tall = dataclasses.replace(
        BARS, **{name: getattr(BARS, name) * 1024.0 for name in ("open", "high", "low", "close")}
    )
    again = forecast_targets(tall, RULE)
    np.testing.assert_allclose(again.values, FOUND.values, rtol=1e-4, atol=1e-4)


def test_a_target_is_known_when_the_label_is():
    resolved = outcomes(BARS, RULE)
    assert np.array_equal(FOUND.valid, FOUND.valid & resolved.valid)
    last = BARS.closes_at[np.flatnonzero(FOUND.valid) + STEPS]
    assert np.array_equal(resolved.resolved_at[FOUND.valid], last)


def test_the_unit_is_known_at_the_decision_and_targets_at_their_horizon():
    cut = 300
    changed = {name: getattr(BARS, name).copy() for name in ("open", "high", "low", "close")}
    for values in changed.values():
        values[cut:] *= 1.5
    late = forecast_targets(dataclasses.replace(BARS, **changed), RULE)
    assert np.array_equal(late.volatility[:cut], FOUND.volatility[:cut], equal_nan=True)
    known = np.arange(len(BARS)) + STEPS < cut
    assert np.array_equal(late.values[known], FOUND.values[known])
    touched = ~known & (np.arange(len(BARS)) < cut)
    assert (late.values[touched] != FOUND.values[touched]).any(axis=1).all()


def test_a_true_bar_is_a_possible_one():
    bar = FOUND.values[FOUND.valid][:, : 4 * STEPS].reshape(-1, STEPS, 4)
    open_, high, low, close = np.moveaxis(bar, -1, 0)
    assert (high >= np.maximum(open_, close)).all()
    assert (low <= np.minimum(open_, close)).all()
    assert (FOUND.values[FOUND.valid][:, 4 * STEPS + 1 : 6 * STEPS : 2] > 0).all()


def _calm_before_a_jump(moved):
    """Return bars that hardly move, or not at all, and then jump by a fifth at row 100."""
    still = random_bars(120, seed=1)
    level = 100.0 * np.exp(moved * np.random.default_rng(0).normal(size=120))
    level[100:] *= 1.2
    return dataclasses.replace(still, **dict.fromkeys(("open", "high", "low", "close"), level))


def test_a_jump_out_of_a_market_that_hardly_moved_is_held_within_limits():
    bars = _calm_before_a_jump(moved=1e-6)
    found = forecast_targets(bars, RULE)
    assert found.valid[99]
    assert found.values[99].max() == 50.0
    truth = forecast_moves(bars, RULE)[99]
    assert truth[3] == pytest.approx(np.log(1.2), abs=1e-4), "what came true is not held"
    assert truth[-1] == pytest.approx(np.log(1.2) / np.sqrt(STEPS), abs=1e-4)


def test_a_market_that_stood_still_has_no_unit_for_its_next_move():
    found = forecast_targets(_calm_before_a_jump(moved=0.0), RULE)
    assert np.isfinite(found.values).all()
    assert not found.valid[:100].any()


def test_rows_without_a_target_hold_zeros():
    assert np.isfinite(FOUND.values).all()
    assert (FOUND.values[~FOUND.valid] == 0).all()


def test_a_rule_without_a_horizon_is_refused():
    with pytest.raises(LabelError, match="triple_barrier"):
        forecast_targets(BARS, LabelRule(kind="triple_barrier"))


def test_the_past_volatility_is_that_of_the_last_returns():
    found = past_volatility(BARS, 30)
    returns = np.diff(np.log(BARS.close[:151]))
    assert np.isnan(found[:30]).all()
    np.testing.assert_allclose(found[30], np.std(returns[:30], ddof=1), rtol=1e-9)
    assert np.isnan(found[152 : 152 + 30]).all()
