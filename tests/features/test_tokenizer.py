"""Tokenizers: what they learn and from which rows, tokens, and possible bars out of tokens."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from drawn import random_bars
from features.markets import noise_after
from features.tokenizers import BARS, FITTED, KINDS, ROWS, VECTORS, fitted, of_centres
from walkforge.base import FeatureError, UsageError
from walkforge.features import TokenizerRule, _tokenizer, bar_vectors, fit_tokenizer
from walkforge.features._codebook import _means

TESTS = Path(__file__).parents[1]
TOKENIZERS = {kind: fitted(kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def tokenizer(request):
    return TOKENIZERS[request.param]


# The rule


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "pca"},
        {"vocabulary": 1},
        {"vocabulary": 65_537},
        {"vocabulary": 64.0},
        {"volatility_bars": 1},
        {"volume_bars": 0},
        {"bins": (16, 2, 4, 4, 2)},
        {"kind": "bins", "bins": (16, 2, 4, 4)},
        {"kind": "bins", "bins": (16, 2, 4, 4, 3)},
        {"kind": "bins", "bins": (16, 2, 0, 4, 2)},
        {"kind": "bins", "bins": (1, 1, 1, 1, 1)},
    ],
)
def test_an_impossible_rule_is_refused_when_it_is_written(change):
    with pytest.raises(UsageError, match="tokenizer") as refused:
        TokenizerRule(**change)
    assert "\n" not in str(refused.value)


def test_the_usual_bins_fill_the_usual_vocabulary():
    assert TokenizerRule(kind="bins").bin_counts == (16, 2, 4, 4, 2)


@given(vocabulary=st.integers(2, 65_536))
def test_the_bins_never_make_more_codes_than_the_vocabulary_and_more_than_half(vocabulary):
    counts = TokenizerRule(kind="bins", vocabulary=vocabulary).bin_counts
    assert vocabulary / 2 < math.prod(counts) <= vocabulary


def test_a_tokenizer_has_the_codes_that_its_rule_asks_for():
    assert TOKENIZERS["vq"].centres.shape == (64, 5)
    assert fitted("bins", vocabulary=70).vocabulary == 64
    assert fitted("bins", bins=(5, 1, 2, 2, 3)).vocabulary == 60


# Learning


def _learned_up_to(edge_ms, bars, kind):
    vectors = bar_vectors(bars, TokenizerRule())
    rows = vectors.values[vectors.valid & (bars.closes_at <= edge_ms)]
    span = (int(bars.timestamp[0]), edge_ms)
    return fit_tokenizer(TokenizerRule(kind=kind, vocabulary=64), [rows], fitted=span, seed=5)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_after_the_training_range_changes_no_bit_of_the_tokenizer(kind):
    edge_ms = int(BARS.closes_at[3999])
    clean = _learned_up_to(edge_ms, BARS, kind)
    poisoned = _learned_up_to(edge_ms, noise_after(BARS, 3999), kind)
    assert poisoned.digest == clean.digest
    for name, values in clean.arrays().items():
        np.testing.assert_array_equal(poisoned.arrays()[name], values)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_within_the_training_range_changes_the_tokenizer(kind):
    edge_ms = int(BARS.closes_at[3999])
    clean = _learned_up_to(edge_ms, BARS, kind)
    assert _learned_up_to(edge_ms, noise_after(BARS, 3900), kind).digest != clean.digest


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_and_seed_give_the_same_bits(kind):
    assert fitted(kind).digest == TOKENIZERS[kind].digest


def test_another_seed_gives_another_codebook_and_the_same_bins():
    assert fitted("vq", seed=1).digest != TOKENIZERS["vq"].digest
    assert fitted("bins", seed=1).digest == TOKENIZERS["bins"].digest


def test_another_process_with_other_threads_learns_the_same_bits():
    code = "from features.tokenizers import fitted; print(fitted('vq').digest)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "3", "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == TOKENIZERS["vq"].digest


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_several_assets_count_as_those_of_one(kind):
    rule = TokenizerRule(kind=kind, vocabulary=64)
    parts = fit_tokenizer(rule, [ROWS[:1000], ROWS[:0], ROWS[1000:]], fitted=FITTED, seed=0)
    assert parts.digest == TOKENIZERS[kind].digest


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_rows_than_codes_are_refused(kind):
    with pytest.raises(FeatureError, match="63 training rows, expected at least 64"):
        fitted(kind, rows=ROWS[:63])


def test_fewer_distinct_rows_than_codes_are_refused():
    with pytest.raises(FeatureError, match=r"50 distinct bars, fewer than the 64 codes"):
        fitted("vq", rows=np.tile(ROWS[:50], (20, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_training_rows_that_are_not_finite_are_refused_with_their_place(kind):
    holed = ROWS.copy()
    holed[17, 2] = np.nan
    with pytest.raises(FeatureError, match="row 17 has upper = nan"):
        fitted(kind, rows=holed)


def test_a_codebook_is_as_good_as_that_of_the_reference():
    from sklearn.cluster import KMeans

    ours = TOKENIZERS["vq"]
    held, scale = np.clip(ROWS, *ours.limits_), ours.codes_.scale
    theirs = KMeans(64, init="random", n_init=1, max_iter=25, random_state=0).fit(held / scale)
    squares = np.square((held - ours.centres[ours.encode(ROWS)]) / scale).sum()
    assert squares < 1.03 * theirs.inertia_


def test_a_code_without_rows_goes_where_a_row_lies_farthest_off():
    x = np.zeros((6, 5), dtype=np.float32)
    x[:, 0] = [0, 1, 2, 10, 11, 30]
    centres = np.zeros((3, 5), dtype=np.float32)
    centres[:, 0] = [1, 12, 100]
    means = _means(x, np.array([0, 0, 0, 1, 1, 1], dtype=np.uint16), centres)
    np.testing.assert_array_equal(means[:, 0], [1, 17, 30])


def test_codes_are_numbered_by_their_move(tokenizer):
    assert (np.diff(tokenizer.centres[:, 0]) >= 0).all()


# Tokens


def test_tokens_are_uint16_within_the_vocabulary(tokenizer):
    tokens = tokenizer.encode(ROWS)
    assert tokens.dtype == np.uint16
    assert tokens.shape == (len(ROWS),)
    assert tokens.max() < tokenizer.vocabulary


def test_the_centre_of_a_code_has_that_code(tokenizer):
    np.testing.assert_array_equal(tokenizer.encode(tokenizer.centres), np.arange(64))


def test_a_row_is_encoded_alone_as_among_others(tokenizer, monkeypatch):
    together = tokenizer.encode(ROWS)
    alone = [tokenizer.encode(row[None])[0] for row in ROWS[:200]]
    np.testing.assert_array_equal(alone, together[:200])
    monkeypatch.setattr(_tokenizer, "_ENCODED_ROWS", 77)
    np.testing.assert_array_equal(tokenizer.encode(ROWS), together)


def test_no_code_is_nearer_than_the_one_taken():
    codebook = TOKENIZERS["vq"]
    held = np.clip(ROWS, *codebook.limits_).astype(np.float64)
    apart = (held[:, None] - codebook.centres) / codebook.codes_.scale
    distance = np.square(apart).sum(axis=2)
    taken = distance[np.arange(len(ROWS)), codebook.encode(ROWS)]
    np.testing.assert_allclose(taken, distance.min(axis=1), rtol=0, atol=1e-5)


def test_of_equally_near_codes_the_first_is_taken():
    tokenizer = of_centres([[3, 0, 0, 0, 0], [1, 0, 0, 0, 0], [-1, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    rows = np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [2, 0, 0, 0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(tokenizer.encode(rows), [1, 1, 0])


def test_values_beyond_the_limits_have_the_token_of_the_limits():
    codebook = TOKENIZERS["vq"]
    wild = np.array([[1e30, -1e30, 1e30, 0, -1e30], [0, 1e30, 0, 1e30, 1e30]])
    held = np.clip(wild, *codebook.limits_)
    np.testing.assert_array_equal(codebook.encode(wild), codebook.encode(held))


def test_values_beyond_every_edge_fall_into_the_outermost_bins():
    wild = np.array([[-1e30, 1e29, -1e30, -1e30, -1e30], [1e30, -1e29, 1e30, 1e30, 1e30]])
    np.testing.assert_array_equal(TOKENIZERS["bins"].encode(wild), [0, 63])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_value_that_is_not_finite_has_no_token_and_is_refused(tokenizer, bad):
    holed = ROWS[:50].astype(np.float64)
    holed[7, 4] = bad
    with pytest.raises(FeatureError, match=r"row 7 has volume = .*valid rows only"):
        tokenizer.encode(holed)


def test_another_number_of_columns_is_refused(tokenizer):
    with pytest.raises(FeatureError, match=r"shape \(10, 4\), expected \(n, 5\)"):
        tokenizer.encode(ROWS[:10, :4])


def test_no_rows_give_no_tokens(tokenizer):
    assert tokenizer.encode(ROWS[:0]).shape == (0,)


# Bins


def test_edges_and_medians_of_bins_rise_and_a_larger_move_never_has_a_lower_bin():
    bins = TOKENIZERS["bins"].codes_
    for edges, medians in zip(bins.edges, bins.medians, strict=True):
        assert (np.diff(edges) >= 0).all()
        assert (np.diff(medians) >= 0).all()
    moves = np.zeros((500, 5), dtype=np.float32)
    moves[:, 0] = moves[:, 1] = np.linspace(-9, 9, 500)  # the gap stays 0
    assert (np.diff(TOKENIZERS["bins"].encode(moves).astype(int)) >= 0).all()


def test_bars_without_a_wick_have_a_bin_where_they_are_many():
    rows = ROWS.copy()
    rows[::3, 2] = 0
    digit = np.unravel_index(
        fitted("bins", vocabulary=1024, rows=rows).encode(rows), (16, 2, 4, 4, 2)
    )[2]
    np.testing.assert_array_equal(digit == 0, rows[:, 2] == 0)
    assert set(digit) == {0, 1, 2, 3}


def test_every_bin_holds_as_many_training_rows():
    tokens = fitted("bins", vocabulary=1024).encode(ROWS)
    digits = np.unravel_index(tokens, (16, 2, 4, 4, 2))
    for digit, n_bins in zip(digits, (16, 2, 4, 4, 2), strict=True):
        shares = np.bincount(digit, minlength=n_bins) / len(ROWS)
        np.testing.assert_allclose(shares, 1 / n_bins, atol=0.005)


@pytest.mark.parametrize("kind", KINDS)
def test_a_market_without_volume_has_a_tokenizer(kind):
    rows = ROWS.copy()
    rows[:, 4] = 0
    tokenizer = fitted(kind, rows=rows)
    assert np.isfinite(tokenizer.centres).all()
    assert (tokenizer.centres[:, 4] == 0).all()
    assert len(np.unique(tokenizer.encode(rows))) > 20


# Bars out of tokens


def possible(prices):
    open_, high, low, close = np.moveaxis(prices, -1, 0)
    assert np.isfinite(prices).all()
    assert (prices > 0).all()
    assert (high >= np.maximum(open_, close)).all()
    assert (low <= np.minimum(open_, close)).all()


ANY_NUMBER = st.floats(-(2.0**127), 2.0**127, width=32)
ANY_WICK = st.floats(0, 2.0**127, width=32)
ANY_POSITIVE = st.floats(1e-300, 1e300)


@settings(max_examples=300, deadline=None)
@given(
    vector=st.tuples(ANY_NUMBER, ANY_NUMBER, ANY_WICK, ANY_WICK, ANY_NUMBER),
    last_close=ANY_POSITIVE,
    sigma=ANY_POSITIVE,
)
def test_whatever_a_code_and_sigma_are_the_bar_is_possible(vector, last_close, sigma):
    tokenizer = of_centres([vector, [0, 0, 0, 0, 0]])
    possible(tokenizer.decode(np.array([0, 1]), last_close, sigma))


@settings(max_examples=100, deadline=None)
@given(
    values=arrays.arrays(np.float32, (8, 5), elements=ANY_NUMBER),
    kind=st.sampled_from(KINDS),
    sigma=st.floats(1e-10, 10),
)
def test_whatever_is_encoded_comes_back_as_a_possible_bar(values, kind, sigma):
    tokenizer = TOKENIZERS[kind]
    possible(tokenizer.decode(tokenizer.encode(values), 100.0, sigma))


def test_a_token_is_decoded_by_the_formulas():
    tokenizer = of_centres([[2.0, 1.0, 0.5, 0.25, 0.0], [0, 0, 0, 0, 0]])
    open_, high, low, close = tokenizer.decode(np.array(0), 100.0, 0.01)
    assert close == pytest.approx(100 * math.exp(0.02))
    assert open_ == pytest.approx(close * math.exp(-0.01))
    assert high == pytest.approx(close * math.exp(0.005))
    assert low == pytest.approx(open_ * math.exp(-0.0025))


def test_a_bar_without_a_move_keeps_the_last_close_to_the_bit():
    still = of_centres([[0, 0, 0, 0, 0], [1, 1, 0, 0, 0]]).decode(np.array([0]), 0.1, 0.02)
    np.testing.assert_array_equal(still, [[0.1] * 4])


def test_tokens_of_any_shape_are_decoded_beside_closes_that_fit(tokenizer):
    tokens = np.arange(6, dtype=np.uint16).reshape(2, 3)
    last_close, sigma = np.array([[10.0], [20.0]]), np.array([[0.01], [0.02]])
    prices = tokenizer.decode(tokens, last_close, sigma)
    assert prices.shape == (2, 3, 4)
    np.testing.assert_array_equal(prices[1, 2], tokenizer.decode(tokens[1, 2], 20.0, 0.02))


@pytest.mark.parametrize(
    ("tokens", "last_close", "sigma", "told"),
    [
        ([3, 64], 1.0, 0.1, "tokens from 3 to 64, expected 0 to 63"),
        ([-1, 5], 1.0, 0.1, "tokens from -1 to 5"),
        ([3, 5], [1.0, 0.0], 0.1, "last_close 0.0"),
        ([3, 5], np.nan, 0.1, "last_close nan"),
        ([3, 5], 1.0, [0.1, np.inf], "sigma inf"),
        ([3, 5], 1.0, -0.1, "sigma -0.1"),
    ],
)
def test_what_cannot_be_decoded_is_refused(tokenizer, tokens, last_close, sigma, told):
    with pytest.raises(FeatureError, match=told):
        tokenizer.decode(np.array(tokens), np.asarray(last_close), np.asarray(sigma))


# The training range


def test_the_range_it_was_fitted_on_is_let_through(tokenizer):
    tokenizer.require_range(FITTED)
    tokenizer.require_range(list(FITTED))


@pytest.mark.parametrize("shift_ms", [(0, 3_600_000), (3_600_000, 0)])
def test_a_fold_with_another_training_range_is_refused_with_both(tokenizer, shift_ms):
    other = (FITTED[0] + shift_ms[0], FITTED[1] + shift_ms[1])
    with pytest.raises(FeatureError, match=r"2020-01-01 00:00 to 2020-05-20 18:40.*trains on 2020"):
        tokenizer.require_range(other)


def test_a_digest_depends_on_the_training_range():
    rule = TokenizerRule(vocabulary=64)
    other = fit_tokenizer(rule, [ROWS], fitted=(FITTED[0], FITTED[1] + 1), seed=0)
    assert other.digest != TOKENIZERS["vq"].digest


def test_prices_in_another_unit_give_the_same_tokens(tokenizer):
    from features.markets import scaled

    other = bar_vectors(scaled(BARS, prices=1000.0), TokenizerRule())
    found, expected = (tokenizer.encode(one.values) for one in (other, VECTORS))
    # A bar on the very border of two codes may fall on either side.
    assert (found == expected).mean() > 0.999


def test_tokens_of_other_bars_than_those_learned_from_come_back_within_a_bar(tokenizer):
    bars = random_bars(500, seed=8, holes_at=(250,))
    vectors = bar_vectors(bars, TokenizerRule())
    rows = np.flatnonzero(vectors.valid)
    tokens = tokenizer.encode(vectors.values[rows])
    possible(tokenizer.decode(tokens, bars.close[rows - 1], vectors.sigma[rows]))
