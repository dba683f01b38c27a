"""Baselines of tokens count the training rows alone, and are as good as such a model can be."""

import itertools

import numpy as np
import pytest

from walkforge.base import TrainingError
from walkforge.training import TOKEN_BASELINES, best_constant

NAMES = ("unigram", "markov_1", "markov_2", "markov_3")
TRAIN, VALIDATION, CALIBRATION, TEST = range(4)


def chain(order, *, n=40_000, vocabulary=6, seed=0):
    """Return tokens (n,) of a Markov chain, and the log probability that it gave each of them."""
    random = np.random.default_rng([seed, order])
    law = random.dirichlet(np.full(vocabulary, 0.3), size=(vocabulary,) * order)
    law = 0.95 * law + 0.05 / vocabulary
    upto = law.cumsum(axis=-1)
    tokens = random.integers(0, vocabulary, n)
    came = np.zeros(n)
    for row, luck in enumerate(random.random(n)):
        if row >= order:
            past = tuple(tokens[row - order : row])
            tokens[row] = min(np.searchsorted(upto[past], luck), vocabulary - 1)
            came[row] = np.log(law[past][tokens[row]])
    return tokens.astype(np.uint16), came


def split(n, *, run_bars=None):
    """Return the first row of every row's run (n,), and pieces: 60, 15, 10 and 15 % (n,)."""
    row = np.arange(n)
    run_first = row - row % run_bars if run_bars else np.zeros(n, dtype=np.int64)
    piece = np.searchsorted([0.6 * n, 0.75 * n, 0.85 * n], row, side="right").astype(np.int8)
    return run_first, piece


def with_every_continuation(tokens, run_first, piece, *, vocabulary, context_bars):
    """Add a test run for every context and token after it; return the table and the last rows."""
    words = list(itertools.product(range(vocabulary), repeat=context_bars + 1))
    starts = len(tokens) + (context_bars + 1) * np.arange(len(words))
    more = np.array(words, dtype=np.uint16).ravel()
    table = (
        np.concatenate([tokens, more]),
        np.concatenate([run_first, np.repeat(starts, context_bars + 1)]),
        np.concatenate([piece, np.full(len(more), TEST, dtype=np.int8)]),
    )
    return table, starts + context_bars


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_after_any_context_sum_to_one_and_the_likeliest_token_is_the_guess(name):
    tokens, _ = chain(2, n=600, vocabulary=4)
    run_first, piece = split(len(tokens), run_bars=50)
    table, rows = with_every_continuation(tokens, run_first, piece, vocabulary=4, context_bars=3)
    baseline = TOKEN_BASELINES[name](*table, 4)
    p = np.exp(baseline.log_probability(rows)).reshape(-1, 4)
    hits = baseline.hits(rows).reshape(-1, 4)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-12)
    assert (p > 0).all()
    assert (hits.sum(axis=1) == 1).all()
    np.testing.assert_allclose(p[hits], p.max(axis=1), rtol=1e-12)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_on_a_markov_chain_its_own_order_comes_near_the_entropy_and_higher_ones_gain_nothing(order):
    tokens, came = chain(order)
    run_first, piece = split(len(tokens))
    rows = np.flatnonzero(piece == TEST)
    least = -came[rows].mean()
    losses = [
        -TOKEN_BASELINES[name](tokens, run_first, piece, 6).log_probability(rows).mean()
        for name in NAMES
    ]
    assert losses[order] == pytest.approx(least, rel=0.02)
    for higher in losses[order + 1 :]:
        assert -0.002 < higher - losses[order] < 0.02 * least
    for lower in losses[:order]:
        assert lower > 1.05 * least


def test_a_chain_is_guessed_as_often_as_one_who_knows_its_law_would():
    tokens, _ = chain(1)
    run_first, piece = split(len(tokens))
    rows = np.flatnonzero(piece == TEST)
    follows = np.zeros((6, 6))
    np.add.at(follows, (tokens[:-1], tokens[1:]), 1)
    known = follows.argmax(axis=1)[tokens[rows - 1]] == tokens[rows]
    for name in NAMES[1:]:
        hits = TOKEN_BASELINES[name](tokens, run_first, piece, 6).hits(rows)
        assert hits.mean() == pytest.approx(known.mean(), abs=0.01)


def noised(tokens, piece, pieces):
    random = np.random.default_rng(9)
    strange = random.integers(0, 6, len(tokens)).astype(np.uint16)
    return np.where(np.isin(piece, pieces), strange, tokens)


def learned(tokens, run_first, piece):
    """Return all numbers of the highest order's model, counts and weights apart."""
    orders = TOKEN_BASELINES["markov_3"](tokens, run_first, piece, 6).orders
    counts = [
        column
        for order in orders
        for column in (order.seen.contexts, order.seen.pairs, order.seen.counts, order.seen.totals)
    ]
    return counts, [column for order in orders for column in (order.weights, order.likeliest)]


def test_noise_after_the_training_rows_leaves_the_counts_bit_identical():
    tokens, _ = chain(2, n=6000)
    run_first, piece = split(len(tokens))
    poisoned = noised(tokens, piece, [VALIDATION, CALIBRATION, TEST])
    assert (poisoned != tokens).any()
    clean = learned(tokens, run_first, piece)
    again = learned(poisoned, run_first, piece)
    for one, other in zip(clean[0], again[0], strict=True):
        np.testing.assert_array_equal(one, other)
    # What is learned on the validation rows does change: noise follows no context.
    assert any((one != other).any() for one, other in zip(clean[1], again[1], strict=True))
    assert best_constant(tokens, run_first, piece) == best_constant(poisoned, run_first, piece)


def test_noise_after_the_validation_rows_leaves_everything_bit_identical():
    tokens, _ = chain(2, n=6000)
    run_first, piece = split(len(tokens))
    poisoned = noised(tokens, piece, [CALIBRATION, TEST])
    clean, again = (learned(table, run_first, piece) for table in (tokens, poisoned))
    for one, other in zip(clean[0] + clean[1], again[0] + again[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_context_ends_where_its_run_begins():
    # Inside a run 0 is followed by 1 alone, across the edge of two runs by 2 alone.
    tokens = np.tile([2, 1, 0, 1, 0, 1, 0], 60).astype(np.uint16)
    run_first = np.arange(420) - np.arange(420) % 7
    _, piece = split(len(tokens))
    rows = np.flatnonzero(tokens == 2)
    baselines = [TOKEN_BASELINES[name](tokens, run_first, piece, 3) for name in NAMES]
    alone = baselines[0].log_probability(rows)
    for baseline in baselines[1:]:
        assert baseline.orders[1].seen.pairs.tolist() == [1, 3, 7]  # 0 1, 1 0, 2 1; no 0 2
        np.testing.assert_array_equal(baseline.log_probability(rows), alone)


def test_a_row_near_the_start_of_its_run_is_judged_by_what_the_run_holds():
    tokens, _ = chain(1, n=3000)
    run_first, piece = split(len(tokens), run_bars=3)
    low, high = (TOKEN_BASELINES[name](tokens, run_first, piece, 6) for name in NAMES[1::2])
    rows = np.flatnonzero((piece == TEST) & (np.arange(3000) - run_first == 1))
    np.testing.assert_array_equal(low.log_probability(rows), high.log_probability(rows))
    assert len(high.orders[3].seen.contexts) == 0


def test_a_token_that_training_never_held_is_unlikely_and_not_impossible():
    tokens = np.zeros(1000, dtype=np.uint16)
    run_first, piece = split(len(tokens))
    tokens[-1] = 5
    for name in NAMES:
        loss = -TOKEN_BASELINES[name](tokens, run_first, piece, 6).log_probability(np.array([999]))
        assert 4 < loss[0] < 40
        assert not TOKEN_BASELINES[name](tokens, run_first, piece, 6).hits(np.array([999]))[0]


def test_shares_that_validation_contradicts_are_not_trusted():
    random = np.random.default_rng(1)
    tokens = random.integers(0, 6, 3000).astype(np.uint16)
    run_first, piece = split(len(tokens))
    tokens[piece == TRAIN] = 2
    baseline = TOKEN_BASELINES["markov_1"](tokens, run_first, piece, 6)
    assert baseline.orders[1].weights.max() < 0.3
    rows = np.flatnonzero(piece == TEST)
    assert -baseline.log_probability(rows).mean() < np.log(6) + 0.01


def test_what_comes_after_a_context_now_and_then_is_trusted_less_than_what_comes_always():
    """Both contexts come as often, but after one of them comes what comes anywhere."""
    rounds = np.random.default_rng(3).integers(1, 38, (500, 20))
    rounds[:, 0], rounds[:, 2:4] = 0, (39, 38)
    row = np.arange(rounds.size)
    # Four tokens in two runs, and each of the others a run of its own.
    run_first = row - ((row % 20 < 4) & (row % 2 == 1))
    tokens = rounds.ravel().astype(np.uint16)
    after = TOKEN_BASELINES["markov_1"](tokens, run_first, split(len(row))[1], 40).orders[1]
    assert after.seen.totals.tolist() == [300, 300]
    assert after.weights[1] > 0.97
    assert after.weights[0] < 0.9


def test_rows_without_a_token_are_neither_counted_nor_looked_at():
    tokens, _ = chain(1, n=3000)
    run_first, piece = split(len(tokens), run_bars=10)
    hole = np.arange(3000) % 10 == 9
    run_first[hole] = -1
    clean = learned(tokens, run_first, piece)
    again = learned(np.where(hole, 60_000, tokens).astype(np.uint16), run_first, piece)
    for one, other in zip(clean[0] + clean[1], again[0] + again[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_largest_vocabulary_needs_room_for_what_was_seen_only():
    random = np.random.default_rng(2)
    tokens = random.integers(0, 65_536, 20_000).astype(np.uint16)
    run_first, piece = split(len(tokens))
    baseline = TOKEN_BASELINES["markov_3"](tokens, run_first, piece, 65_536)
    assert max(len(order.seen.pairs) for order in baseline.orders) <= 12_000
    rows = np.flatnonzero(piece == TEST)
    assert -baseline.log_probability(rows).mean() == pytest.approx(np.log(65_536), abs=0.1)


def test_the_best_constant_is_the_most_frequent_training_token():
    tokens = np.array([1, 1, 0, 2, 2, 2, 2, 2], dtype=np.uint16)
    piece = np.array([0, 0, 0, 1, 1, 2, 3, 3], dtype=np.int8)
    assert best_constant(tokens, np.zeros(8, dtype=np.int64), piece) == 1


def test_of_equally_frequent_tokens_the_first_is_the_guess():
    tokens = np.tile([3, 1, 1, 3], 50).astype(np.uint16)
    run_first, piece = split(200)
    rows = np.flatnonzero(piece == TEST)
    assert best_constant(tokens, run_first, piece) == 1
    hits = TOKEN_BASELINES["unigram"](tokens, run_first, piece, 6).hits(rows)
    np.testing.assert_array_equal(hits, tokens[rows] == 1)


@pytest.mark.parametrize(
    ("piece", "said"),
    [(VALIDATION, "no train row"), (TRAIN, "no validation row")],
)
def test_a_table_without_rows_to_learn_from_is_refused(piece, said):
    tokens, run_first = np.zeros(5, np.uint16), np.zeros(5, np.int64)
    with pytest.raises(TrainingError, match=said):
        TOKEN_BASELINES["markov_1"](tokens, run_first, np.full(5, piece, np.int8), 6)


def test_tokens_of_another_vocabulary_are_refused():
    tokens, _ = chain(1, n=100)
    with pytest.raises(TrainingError, match="found 5, expected 0 to 3"):
        TOKEN_BASELINES["unigram"](tokens, *split(100), 4)
