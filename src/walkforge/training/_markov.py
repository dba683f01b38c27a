"""Markov models of tokens, interpolated over their orders, that keep only what they have seen.

The probability of a token after a context of k tokens mixes its share among the tokens that came
after that context with its probability after the last k - 1 of them, down to one chance in V for
every token (Jelinek and Mercer 1980). How much a share counts depends on how often, on average,
each token that came after the context came there (the buckets of Chen and Goodman 1999), and is
learned on rows that the shares were not taken from: those of validation.

Shapes: N rows of the token table, n rows asked, V tokens in the vocabulary; of one order
C contexts and P pairs of a context and a token that came after it
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from walkforge.base import BoolArray, FloatArray, Int8Array, IntArray, TrainingError

from ._token_table import piece_number

_BUCKETS_PER_OCTAVE = 4
# Halvings of the interval from 0 to 1: nine digits of a weight.
_HALVINGS = 30


class _Table(NamedTuple):
    """The columns (N,) of a token table that a Markov model reads."""

    tokens: np.ndarray
    run_first: IntArray
    vocabulary: int


class _Walk:
    """Rows asked, each at a context that grows by one token with every step."""

    def __init__(self, table: _Table, rows: IntArray) -> None:
        self._table, self._rows, self._bars = table, rows, 0
        self.contexts = np.zeros(len(rows), dtype=np.int64)
        """Number of the context in its order (n,), -1 where it is not known."""

    def keys(self) -> IntArray:
        """Return the key (n,) of the next context: this one's number, and the token before it.

        -1 where this one is not known or the run does not reach so far back.
        """
        if self._bars == 0:
            return self.contexts
        rows, bars = self._rows, self._bars
        known = (self.contexts >= 0) & (rows - self._table.run_first[rows] >= bars)
        return np.where(known, self._joined(np.maximum(rows - bars, 0)), -1)

    def step(self, contexts: IntArray) -> None:
        """Go on to the next context, whose keys are known if they are among `contexts` (C,)."""
        self.contexts = _places(contexts, self.keys())
        self._bars += 1

    def pairs(self) -> IntArray:
        """Return the key (n,) of the context and the token that came after it."""
        return np.where(self.contexts >= 0, self._joined(self._rows), -1)

    def _joined(self, rows: IntArray) -> IntArray:
        return self.contexts * self._table.vocabulary + self._table.tokens[rows]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What came after the contexts of one length in the training rows."""

    contexts: IntArray
    """Keys (C,), rising."""
    pairs: IntArray
    """Keys (P,), rising."""
    counts: IntArray
    """How often each pair came (P,)."""
    totals: IntArray
    """How often each context came (C,)."""
    n_tokens: IntArray
    """How many different tokens came after each (C,)."""

    def shares(self, contexts: IntArray, pairs: IntArray) -> FloatArray:
        """Return what share of the tokens after a known context (n,) its pair was."""
        place = _places(self.pairs, pairs)
        return np.where(place >= 0, self.counts[place] / self.totals[contexts], 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """The part of a model that knows the contexts of one length."""

    seen: _Seen
    weights: FloatArray
    """How much a context's shares count (C,); what is left belongs to the order below."""
    likeliest: IntArray
    """The token most to be expected after each context (C,)."""

    def mixed(self, contexts: IntArray, pairs: IntArray, below: FloatArray) -> FloatArray:
        """Return probabilities (n,) from those `below`, which stay where the context is -1."""
        known, p = contexts >= 0, below.copy()
        shares = self.seen.shares(contexts[known], pairs[known])
        p[known] += self.weights[contexts[known]] * (shares - p[known])
        return p


@dataclass(frozen=True, slots=True, eq=False)
class MarkovTokens:
    """A fitted model: what it says of a row hangs on the tokens before it in its run alone."""

    table: _Table
    orders: tuple[_Order, ...]

    def log_probability(self, rows: IntArray) -> FloatArray:
        """Return the log probability (n,), nats, of the token that came at each of `rows` (n,)."""
        walk = _Walk(self.table, rows)
        p = np.full(len(rows), 1.0 / self.table.vocabulary)
        for order in self.orders:
            walk.step(order.seen.contexts)
            p = order.mixed(walk.contexts, walk.pairs(), p)
        return np.log(p)

    def hits(self, rows: IntArray) -> BoolArray:
        """Return whether the token most to be expected came at each of `rows` (n,)."""
        walk = _Walk(self.table, rows)
        said = np.zeros(len(rows), dtype=np.int64)
        for order in self.orders:
            walk.step(order.seen.contexts)
            known = walk.contexts >= 0
            said[known] = order.likeliest[walk.contexts[known]]
        return said == self.table.tokens[rows]


class _Below(NamedTuple):
    """What the order below says of its own pairs and contexts."""

    pairs: IntArray
    p: FloatArray
    likeliest: IntArray
    highest: FloatArray
    """The probability of the likeliest token (C,)."""


def fit_markov(
    tokens: np.ndarray, run_first: IntArray, piece: Int8Array, vocabulary: int, *, order: int
) -> MarkovTokens:
    """Return the model of an order (0 knows no context) of the columns (N,) of a token table.

    Counted are the training rows with the tokens before each in its run; how far each order is
    trusted is learned on the validation rows. Raises TrainingError where there are none of
    either, or where a row holds a token outside of the vocabulary.
    """
    _refuse_strange(tokens[run_first >= 0], vocabulary)
    table = _Table(tokens, run_first, vocabulary)
    learn = _Walk(table, rows_of_piece(run_first, piece, "train"))
    check = _Walk(table, rows_of_piece(run_first, piece, "validation"))
    p = np.full(len(check.contexts), 1.0 / vocabulary)
    # Before all orders: one context after which every token is as likely as any other.
    every = np.arange(vocabulary)
    below = _Below(every, np.full(vocabulary, 1.0 / vocabulary), every[:1], np.ones(1) / vocabulary)
    orders = []
    for _ in range(order + 1):
        seen = _count(learn, vocabulary)
        check.step(seen.contexts)
        weights = _learned_weights(seen, check.contexts, check.pairs(), p)
        fitted, below = _with_likeliest(seen, weights, below, vocabulary)
        p = fitted.mixed(check.contexts, check.pairs(), p)
        orders.append(fitted)
    return MarkovTokens(table, tuple(orders))


def rows_of_piece(run_first: IntArray, piece: Int8Array, name: str) -> IntArray:
    """Return the rows (n,) of a slice that have a token; raise TrainingError where none has."""
    rows = np.flatnonzero((piece == piece_number(name)) & (run_first >= 0))
    if not len(rows):
        raise TrainingError(
            f"tokens: no {name} row has one, expected at least 1; give more bars or another split"
        )
    return rows


def _refuse_strange(tokens: np.ndarray, vocabulary: int) -> None:
    highest = int(tokens.max(initial=0))
    if highest >= vocabulary:
        raise TrainingError(
            f"tokens: found {highest}, expected 0 to {vocabulary - 1}; "
            "were they made by another tokenizer?"
        )


def _count(learn: _Walk, vocabulary: int) -> _Seen:
    """Step the training rows on to contexts one token longer, and count what came after them."""
    keys = learn.keys()
    contexts, totals = np.unique(keys[keys >= 0], return_counts=True)
    learn.step(contexts)
    came = learn.pairs()
    pairs, counts = np.unique(came[came >= 0], return_counts=True)
    n_tokens = np.bincount(pairs // vocabulary, minlength=len(contexts))
    return _Seen(contexts, pairs, counts, totals, n_tokens)


def _learned_weights(
    seen: _Seen, contexts: IntArray, pairs: IntArray, below: FloatArray
) -> FloatArray:
    """Return the weights (C,) under which the validation rows are likeliest, one per bucket.

    The log likelihood of a bucket is concave, so halving finds where its slope is 0. To every
    bucket comes one row more whose token was not seen: no weight is 1, and no token impossible;
    a bucket without rows trusts the order below.
    """
    bucket = (_BUCKETS_PER_OCTAVE * np.log2(seen.totals / seen.n_tokens)).astype(np.int64)
    known = contexts >= 0
    excess = seen.shares(contexts[known], pairs[known]) / below[known] - 1.0
    place, n_buckets = bucket[contexts[known]], int(bucket.max(initial=0)) + 1
    low, high = np.zeros(n_buckets), np.ones(n_buckets)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        slope = np.bincount(place, excess / (1.0 + middle[place] * excess), minlength=n_buckets)
        rising = slope > 1.0 / (1.0 - middle)
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return low[bucket]


def _with_likeliest(
    seen: _Seen, weights: FloatArray, below: _Below, vocabulary: int
) -> tuple[_Order, _Below]:
    """Return the order, and what the next one needs to know of it.

    The likeliest token after a context came after it, or is the likeliest of the order below:
    any other has only what that order gives it.
    """
    of, token = np.divmod(seen.pairs, vocabulary)
    parent = seen.contexts // vocabulary
    # What came after a context came after its end, so that the order below has the pair.
    p_below = below.p[np.searchsorted(below.pairs, parent[of] * vocabulary + token)]
    p = p_below + weights[of] * (seen.counts / seen.totals[of] - p_below)
    highest = np.maximum.reduceat(p, np.searchsorted(of, np.arange(len(parent))))
    best = np.flatnonzero(p == highest[of])[::-1]
    likeliest = np.zeros(len(parent), dtype=np.int64)
    likeliest[of[best]] = token[best]
    unseen = (1.0 - weights) * below.highest[parent]
    likeliest = np.where(unseen > highest, below.likeliest[parent], likeliest)
    highest = np.maximum(highest, unseen)
    return _Order(seen, weights, likeliest), _Below(seen.pairs, p, likeliest, highest)


def _places(keys: IntArray, asked: IntArray) -> IntArray:
    """Return where in rising `keys` each number asked (n,) stands, -1 where it does not."""
    if not len(keys):
        return np.full(len(asked), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[place] == asked, place, -1)
