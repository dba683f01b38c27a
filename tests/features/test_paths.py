"""Paths of tokens are bars as the tokenizer measures them, and many become one forecast.

Shapes: B decisions, N paths, S steps, V tokens, n returns, w closes
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawn import random_bars
from features.markets import PRICES, replaced
from walkforge.base import timeframe_ms
from walkforge.features import (
    TokenizerRule,
    _paths,
    bar_vectors,
    fit_tokenizer,
    forecast_paths,
    token_paths,
)
from walkforge.labels import LabelRule, forecast_targets
from walkforge.market import past_volatility
from walkforge.models import ForecastRow, forecast_prices

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
W = 20


def centres(n=32, seed=0):
    """Return bar vectors (n, 5) with wicks that are not negative."""
    random = np.random.default_rng(seed)
    vectors = random.normal(0.0, 1.0, (n, 5))
    vectors[:, 2:4] = np.abs(vectors[:, 2:4])
    return vectors.astype(np.float32)


def drawn(*, B=5, N=7, S=6, n=8, V=32, seed=0):
    """Return tokens, centres, and what was known at each decision: returns, closes and sigma."""
    random = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(random.normal(0.0, 0.01, (B, 60)), axis=1))
    returns = np.diff(np.log(closes))[:, -n:]
    known = {
        "returns_Bn": returns,
        "closes_Bw": closes[:, -W:],
        "sigma_B": returns.std(axis=1, ddof=1),
    }
    return random.integers(0, V, (B, N, S)).astype(np.uint16), centres(V, seed), known


def followed_by(bars, path_S4):
    """Return the bars and, after the last, those of a path of log ratios to its close."""
    S = len(path_S4)
    step_ms = timeframe_ms(bars.timeframe)
    prices = bars.close[-1] * np.exp(path_S4)
    columns = {
        name: np.concatenate([getattr(bars, name), prices[:, column]])
        for column, name in enumerate(PRICES)
    }
    stamps = bars.timestamp[-1] + step_ms * np.arange(1, S + 1)
    return replaced(
        bars,
        timestamp=np.concatenate([bars.timestamp, stamps]),
        volume=np.ones(len(bars) + S),
        **columns,
    )


def known_at_the_end_of(bars, n):
    return np.diff(np.log(bars.close))[None, -n:]


def test_two_bars_by_hand():
    """Returns of 1 % and −1 % have a deviation of √2 %; a move of one sigma is therefore √2 %."""
    vectors = np.array([[1.0, 0.5, 0.25, 0.0, 9.0], [-2.0, 0.0, 0.0, 1.0, 9.0]])
    path = token_paths(np.array([[[0, 1]]]), vectors, np.array([[0.01, -0.01]]))[0, 0]
    first = 0.01 * np.sqrt(2)
    np.testing.assert_allclose(path[0], first * np.array([0.5, 1.25, 0.5, 1.0]))
    second = (0.01 + first) / np.sqrt(2)  # of −1 % and √2 %
    close = first - 2 * second
    np.testing.assert_allclose(path[1], [close, close, close - second, close])


@pytest.mark.parametrize("n", [8, 60])
def test_sigma_along_a_path_is_that_of_the_bars_that_it_decodes_to(n):
    S = 25  # longer than the shorter window: it then holds bars of the path alone
    tokens = np.random.default_rng(1).integers(0, 32, (1, 1, S))
    bars = random_bars(100, seed=4)
    path = token_paths(tokens, centres(), known_at_the_end_of(bars, n))[0, 0]
    rule = TokenizerRule(volatility_bars=n, volume_bars=1)
    measured = bar_vectors(followed_by(bars, path), rule)
    assert measured.valid[100:].all()
    said = centres()[tokens[0, 0]]
    np.testing.assert_allclose(measured.values[100:, :4], said[:, :4], rtol=1e-5, atol=1e-6)
    moved = np.diff(path[:, 3], prepend=0.0)
    np.testing.assert_allclose(moved / said[:, 0], measured.sigma[100:], rtol=1e-9)


@pytest.mark.parametrize("kind", ["vq", "bins"])
def test_a_path_holds_the_bars_that_the_tokenizer_decodes_one_by_one(kind):
    bars = random_bars(800, seed=2)
    rule = TokenizerRule(kind=kind, vocabulary=32, volatility_bars=10)
    vectors = bar_vectors(bars, rule)
    tokenizer = fit_tokenizer(rule, [vectors.values[vectors.valid]], fitted=(0, 1), seed=0)
    tokens = np.random.default_rng(0).integers(0, tokenizer.vocabulary, 15)
    path = token_paths(tokens[None, None], tokenizer.centres, known_at_the_end_of(bars, 10))[0, 0]
    for step, token in enumerate(tokens):
        so_far = followed_by(bars, path[:step])
        sigma = past_volatility(so_far, 10)[-1]
        decoded = tokenizer.decode(token, so_far.close[-1], sigma)
        np.testing.assert_allclose(bars.close[-1] * np.exp(path[step]), decoded, rtol=1e-9)


def test_a_forecast_of_one_future_is_the_target_that_this_future_makes():
    n, S = 60, 24
    bars = random_bars(200, seed=3)
    tokens = np.random.default_rng(3).integers(0, 32, (1, 1, S))
    returns = known_at_the_end_of(bars, n)
    path = token_paths(tokens, centres(), returns)[0, 0]
    rule = LabelRule(kind="direction", horizon_bars=S, volatility_bars=n)
    targets = forecast_targets(followed_by(bars, path), rule)
    assert targets.valid[199]
    true = ForecastRow(S, LEVELS).split_targets(targets.values[199:200])
    said = forecast_paths(
        np.repeat(tokens, 9, axis=1),
        centres(),
        returns_Bn=returns,
        closes_Bw=bars.close[None, -W:],
        sigma_B=targets.volatility[199:200],
        levels=LEVELS,
    )
    np.testing.assert_allclose(said.ohlc, true["ohlc"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(said.band, true["band"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.exp(said.volatility), true["volatility"], rtol=1e-5)
    for q in range(len(LEVELS)):
        np.testing.assert_allclose(said.quantiles[..., q], said.ohlc[..., 3], rtol=1e-12)


@given(seed=st.integers(0, 10_000), N=st.integers(1, 12), S=st.integers(1, 30))
def test_a_forecast_is_made_of_possible_bars_and_quantiles_that_rise(seed, N, S):
    tokens, vectors, known = drawn(B=3, N=N, S=S, seed=seed)
    paths = token_paths(tokens, vectors, known["returns_Bn"])
    said = forecast_paths(tokens, vectors, **known, levels=LEVELS)
    for bars in (paths, said.ohlc):
        opened, high, low, close = np.moveaxis(bars, -1, 0)
        assert (high >= np.maximum(opened, close)).all()
        assert (low <= np.minimum(opened, close)).all()
    assert (np.diff(said.quantiles, axis=-1) >= 0).all()
    assert (said.band[..., 1] >= 0).all()
    assert np.isfinite(said.volatility).all()


def test_medians_quantiles_and_volatility_are_those_of_the_paths():
    tokens, vectors, known = drawn(B=2, N=19, S=4)
    close = token_paths(tokens, vectors, known["returns_Bn"])[..., 3]
    said = forecast_paths(tokens, vectors, **known, levels=LEVELS)
    ordered = np.sort(close, axis=1) / known["sigma_B"][:, None, None]
    # Of 19 paths the first, fifth, tenth, fifteenth and last part the line into equal chances.
    for q, place in enumerate((0, 4, 9, 14, 18)):
        np.testing.assert_allclose(said.quantiles[..., q], ordered[:, place])
    np.testing.assert_allclose(said.ohlc[..., 3], ordered[:, 9])
    moves = np.diff(close, axis=2, prepend=0.0) / known["sigma_B"][:, None, None]
    variance = (moves**2).mean(axis=2).mean(axis=1)
    np.testing.assert_allclose(np.exp(2 * said.volatility[:, 0]), variance)


def test_the_band_is_the_median_of_the_bands_of_the_paths():
    tokens, vectors, known = drawn(B=1, N=3, S=25)
    close = token_paths(tokens, vectors, known["returns_Bn"])[0, :, :, 3]
    said = forecast_paths(tokens, vectors, **known, levels=LEVELS).band[0] * known["sigma_B"][0]
    past = np.log(known["closes_Bw"][0] / known["closes_Bw"][0, -1])
    for step in range(25):
        windows = [np.concatenate([past, one[: step + 1]])[-W:] for one in close]
        assert said[step, 0] == pytest.approx(np.median([w.mean() for w in windows]))
        assert said[step, 1] == pytest.approx(np.median([2 * w.std() for w in windows]))


def test_truths_drawn_like_the_paths_lie_below_a_quantile_as_often_as_its_level_says():
    tokens, vectors, known = drawn(B=6000, N=21, S=1, V=4096, seed=8)
    said = forecast_paths(tokens[:, :20], vectors, **known, levels=LEVELS)
    truth = token_paths(tokens[:, 20:], vectors, known["returns_Bn"])[:, 0, 0, 3]
    below = (truth / known["sigma_B"])[:, None] <= said.quantiles[:, 0]
    np.testing.assert_allclose(below.mean(axis=0), LEVELS, atol=0.015)


def test_a_forecast_row_reads_its_numbers():
    tokens, vectors, known = drawn(B=4, S=3)
    said = forecast_paths(tokens, vectors, **known, levels=LEVELS)
    row = ForecastRow(3, LEVELS)
    names = ("ohlc", "band", "volatility", "quantiles")
    joined = np.concatenate([getattr(said, name).reshape(4, -1) for name in names], axis=1)
    assert joined.shape == (4, row.n_numbers)
    for name, part in row.split(joined).items():
        np.testing.assert_array_equal(part, getattr(said, name))
    prices = forecast_prices(
        row,
        joined,
        quantiles=said.quantiles,
        last_close=known["closes_Bw"][:, -1],
        sigma=known["sigma_B"],
    )
    paths = token_paths(tokens, vectors, known["returns_Bn"])
    expected = known["closes_Bw"][:, -1, None, None] * np.exp(np.median(paths, axis=1))
    np.testing.assert_allclose(prices.bars, expected)


def test_a_few_decisions_at_a_time_say_the_same_as_all_at_once(monkeypatch):
    tokens, vectors, known = drawn(B=11)
    whole = forecast_paths(tokens, vectors, **known, levels=LEVELS)
    monkeypatch.setattr(_paths, "_CHUNK_BARS", 100)  # two decisions of 7 x 6 bars
    parts = forecast_paths(tokens, vectors, **known, levels=LEVELS)
    for name in ("ohlc", "band", "volatility", "quantiles"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_no_decision_is_an_empty_forecast():
    tokens, vectors, known = drawn(B=0)
    said = forecast_paths(tokens, vectors, **known, levels=LEVELS)
    assert said.ohlc.shape == (0, 6, 4)
    assert said.quantiles.shape == (0, 6, len(LEVELS))


def test_a_storm_that_has_left_the_window_leaves_no_trace():
    calm = np.random.default_rng(0).normal(0.0, 0.01, (1, 8))
    stormy = calm.copy()
    stormy[0, 0] = 1e4
    vectors = np.zeros((1, 5))
    vectors[0, 1] = 1.0  # a body of one sigma, without a move, shows sigma
    tokens = np.zeros((1, 1, 3), dtype=np.uint16)
    first, second = (-token_paths(tokens, vectors, known)[0, 0, :, 0] for known in (calm, stormy))
    assert second[0] > 1e5 * first[0]
    np.testing.assert_allclose(second[1:], first[1:], rtol=1e-9)


def test_a_market_that_stands_still_has_finite_forecasts():
    tokens, vectors, known = drawn(B=2)
    known["returns_Bn"] = np.zeros((2, 8))
    known["closes_Bw"] = np.full((2, W), 7.0)
    said = forecast_paths(tokens, vectors, **known, levels=LEVELS)
    for name in ("ohlc", "band", "volatility", "quantiles"):
        assert np.isfinite(getattr(said, name)).all()
    assert np.abs(said.ohlc).max() < 1e-6
