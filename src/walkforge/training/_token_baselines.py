"""What a model of tokens must beat: their shares, and Markov models of the tokens before.

    baseline = TOKEN_BASELINES["markov_2"](table.tokens, table.run_first, table.piece, 1024)
    loss = -baseline.log_probability(rows)

All count the training rows alone, and learn from the validation rows how far to trust what they
counted, see `_markov.py`. They say it of any rows that have a token. (n,) are rows asked, (N,) rows
of the token table.
"""

from collections.abc import Callable

import numpy as np

from walkforge.base import Int8Array, IntArray

from ._markov import MarkovTokens, fit_markov, rows_of_piece


def unigram(
    tokens: np.ndarray, run_first: IntArray, piece: Int8Array, vocabulary: int
) -> MarkovTokens:
    """The shares of the training tokens, whatever came before."""
    return fit_markov(tokens, run_first, piece, vocabulary, order=0)


def markov_1(
    tokens: np.ndarray, run_first: IntArray, piece: Int8Array, vocabulary: int
) -> MarkovTokens:
    """What came after the last token."""
    return fit_markov(tokens, run_first, piece, vocabulary, order=1)


def markov_2(
    tokens: np.ndarray, run_first: IntArray, piece: Int8Array, vocabulary: int
) -> MarkovTokens:
    """What came after the last two tokens."""
    return fit_markov(tokens, run_first, piece, vocabulary, order=2)


def markov_3(
    tokens: np.ndarray, run_first: IntArray, piece: Int8Array, vocabulary: int
) -> MarkovTokens:
    """What came after the last three tokens."""
    return fit_markov(tokens, run_first, piece, vocabulary, order=3)


TOKEN_BASELINES: dict[str, Callable[[np.ndarray, IntArray, Int8Array, int], MarkovTokens]] = {
    "unigram": unigram,
    "markov_1": markov_1,
    "markov_2": markov_2,
    "markov_3": markov_3,
}


def best_constant(tokens: np.ndarray, run_first: IntArray, piece: Int8Array) -> int:
    """Return the most frequent training token: the best guess that never changes.

    Its accuracy is the share of rows that hold it. Raises TrainingError without training rows.
    """
    rows = rows_of_piece(run_first, piece, "train")
    return int(np.bincount(tokens[rows]).argmax())
