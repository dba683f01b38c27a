"""What is lost when bars become tokens.

Shapes: n rows, V codes, 4 prices: open, high, low, close
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from walkforge.base import BoolArray, FeatureError, FloatArray

from ._bar_vectors import BarVectors, bar_prices
from ._token_rule import VECTOR
from ._tokenizer import Tokenizer

_PRICES = ("open", "high", "low", "close")


def tokenizer_report(
    tokenizer: Tokenizer, train: Sequence[BarVectors], later: Sequence[BarVectors]
) -> dict[str, Any]:
    """Return plain data on the training rows and on later ones, both given per asset.

    Per piece: `rows`; `codes_used_frac`, the share of codes that occur; `perplexity`, exp of the
    tokens' entropy, V where all are equally frequent; `error_bps`, |decoded / real − 1| of each
    price, mean and median over bars; `edge_frac`, the share of bars beyond the limits in any
    number, and `edge_frac_by_number`. Rows without a token do not count. Raises FeatureError
    where no row has one.
    """
    return {
        "kind": tokenizer.rule.kind,
        "vocabulary": tokenizer.vocabulary,
        "train": _piece(tokenizer, "train", train),
        "later": _piece(tokenizer, "later", later),
    }


def _piece(tokenizer: Tokenizer, name: str, parts: Sequence[BarVectors]) -> dict[str, Any]:
    known = [part.take(part.valid) for part in parts if part.valid.any()]
    if not known:
        raise FeatureError(f"report of a tokenizer: no row of {name!r} has a token; use more bars")
    tokens = [tokenizer.encode(part.values) for part in known]
    counts = np.bincount(np.concatenate(tokens), minlength=tokenizer.vocabulary)
    pairs = zip(known, tokens, strict=True)
    errors_bps = np.concatenate([_errors_bps(tokenizer, part, codes) for part, codes in pairs])
    at_edge = np.concatenate([tokenizer.at_edge(part.values) for part in known])
    return {
        "rows": int(counts.sum()),
        "codes_used_frac": float((counts > 0).mean()),
        "perplexity": _perplexity(counts),
        "error_bps": dict(zip(_PRICES, map(_summary, errors_bps.T), strict=True)),
        **_edges(at_edge),
    }


def _errors_bps(tokenizer: Tokenizer, part: BarVectors, tokens: np.ndarray) -> FloatArray:
    """Return the error (n, 4) of every decoded price; it does not depend on the price's level."""
    real = bar_prices(part.values, 1.0, part.sigma)
    return np.abs(tokenizer.decode(tokens, 1.0, part.sigma) / real - 1.0) * 1e4


def _perplexity(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _summary(errors_bps: FloatArray) -> dict[str, float]:
    return {"mean": float(errors_bps.mean()), "median": float(np.median(errors_bps))}


def _edges(at_edge: BoolArray) -> dict[str, Any]:
    by_number = zip(VECTOR, at_edge.mean(axis=0).tolist(), strict=True)
    return {
        "edge_frac": float(at_edge.any(axis=1).mean()),
        "edge_frac_by_number": dict(by_number),
    }
