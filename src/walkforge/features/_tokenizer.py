"""Bars to tokens and back: learned on training rows, bound to the range that these come from.

Shapes: n rows, V codes, 5 numbers in the order of VECTOR
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from walkforge.base import (
    FeatureError,
    FloatArray,
    digest_of_arrays,
    digest_of_json,
    utc_text,
)

from ._bar_vectors import bar_prices
from ._codebook import Codebook, fit_codebook
from ._token_bins import TokenBins, fit_bins
from ._token_rule import VECTOR, TokenizerRule

Range = tuple[int, int]

# One bar in a thousand lies beyond on either side. A few wild bars would otherwise take codes,
# and with them detail, from all others.
LIMIT_QUANTILES = (0.001, 0.999)

# Rows that are held and scaled at a time: they stay in the cache, and little memory is used.
_ENCODED_ROWS = 65_536


class Codes(Protocol):
    """What a kind of tokenizer learns."""

    @property
    def centres(self) -> NDArray[np.float32]: ...

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.uint16]: ...

    def arrays(self) -> dict[str, NDArray[np.float32]]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Tokenizer:
    """What turns bar vectors into tokens; `fitted` is the range of its training rows in ms UTC.

    `limits_` (2, 5) float32 are quantiles of the training rows; values beyond are at the edge, and
    `vq` holds them there.
    """

    rule: TokenizerRule
    fitted: Range
    limits_: NDArray[np.float32]
    codes_: Codes

    @property
    def centres(self) -> NDArray[np.float32]:
        """Return the bar vector (V, 5) that each token stands for."""
        return self.codes_.centres

    @property
    def vocabulary(self) -> int:
        """Return the number of tokens V."""
        return len(self.centres)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of all that was learned, of the rule and of the training range."""
        arrays = self.arrays()
        learned = {name: digest_of_arrays(arrays[name]) for name in arrays}
        return digest_of_json([asdict(self.rule), list(self.fitted), list(VECTOR), learned])

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return what was learned, by name."""
        return {"limits": self.limits_, **self.codes_.arrays()}

    def encode(self, values: NDArray[np.floating]) -> NDArray[np.uint16]:
        """Return the token of each row (n, 5). Of equally near codes it is the first.

        Raises FeatureError for another shape or a value that is not finite.
        """
        known = finite_rows(values)
        tokens = np.empty(len(values), dtype=np.uint16)
        for start in range(0, len(values), _ENCODED_ROWS):
            rows = slice(start, start + _ENCODED_ROWS)
            tokens[rows] = self.codes_.encode(known[rows])
        return tokens

    def decode(
        self,
        tokens: NDArray[np.integer],
        last_close: FloatArray | float,
        sigma: FloatArray | float,
    ) -> FloatArray:
        """Return open, high, low and close (..., 4) of tokens (...,), always possible bars.

        `last_close` (...,) and `sigma` (...,) are those of the bar before; both are broadcast.
        Raises FeatureError for a token beyond the vocabulary, and for a close or sigma that is not
        positive and finite.
        """
        tokens = np.asarray(tokens)
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.vocabulary:
            raise FeatureError(
                f"tokenizer: found tokens from {tokens.min()} to {tokens.max()}, expected 0 to "
                f"{self.vocabulary - 1}"
            )
        _refuse_not_positive("last_close", last_close)
        _refuse_not_positive("sigma", sigma)
        return bar_prices(self.centres[tokens], last_close, sigma)

    def at_edge(self, values: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return (n, 5) where a value lies beyond the limits."""
        low, high = self.limits_
        return (values < low) | (values > high)

    def require_range(self, training: Range) -> None:
        """Raise FeatureError where a fold trains on another range (from_ms, to_ms)."""
        if tuple(training) != self.fitted:
            raise FeatureError(
                f"tokenizer: it was fitted on {_span(self.fitted)}, but this fold trains on "
                f"{_span(training)}; fit one on the fold's own training rows"
            )


def fit_tokenizer(
    rule: TokenizerRule,
    vectors: Sequence[NDArray[np.floating]],
    *,
    fitted: Range,
    seed: int,
) -> Tokenizer:
    """Learn a tokenizer from the bar vectors (k, 5) of training rows, one array per asset.

    `fitted` is the range (from_ms, to_ms) these rows come from; it is kept, and not looked at.
    Raises FeatureError for rows that are not finite, or fewer (`vq`: fewer distinct ones) than
    the vocabulary.
    """
    none = np.zeros((0, len(VECTOR)), dtype=np.float32)
    rows = np.concatenate([none, *map(finite_rows, vectors)])
    if len(rows) < rule.vocabulary:
        raise FeatureError(
            f"tokenizer: found {len(rows)} training rows, expected at least {rule.vocabulary}, the "
            "vocabulary; train on more bars or lower tokenizer.vocabulary"
        )
    limits = np.quantile(rows, LIMIT_QUANTILES, axis=0).astype(np.float32)
    fit, _ = KINDS[rule.kind]
    codes = fit(rule, rows, limits, seed=seed)
    return Tokenizer(rule, (int(fitted[0]), int(fitted[1])), limits, codes)


def finite_rows(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return bar vectors as float32; raise FeatureError where they are not (n, 5) or not finite."""
    if values.ndim != 2 or values.shape[1] != len(VECTOR):
        raise FeatureError(
            f"tokenizer: found bar vectors of shape {values.shape}, expected (n, {len(VECTOR)}): "
            f"{', '.join(VECTOR)}"
        )
    with np.errstate(over="ignore"):
        rows = values.astype(np.float32, copy=False)
    finite = np.isfinite(rows)
    if not finite.all():
        row, number = np.argwhere(~finite)[0]
        raise FeatureError(
            f"tokenizer: row {row} has {VECTOR[number]} = {values[row, number]}, expected a finite "
            "number; take valid rows only"
        )
    return rows


def _refuse_not_positive(name: str, numbers: FloatArray | float) -> None:
    numbers = np.asarray(numbers)
    good = np.isfinite(numbers) & (numbers > 0)
    if not good.all():
        raise FeatureError(
            f"tokenizer: found {name} {numbers[~good].flat[0]}, expected a positive number"
        )


def _span(span: Range) -> str:
    return f"{utc_text(span[0])} to {utc_text(span[1])}"


KINDS: dict[str, tuple[Callable[..., Codes], Callable[..., Codes]]] = {
    "vq": (fit_codebook, Codebook.from_arrays),
    "bins": (fit_bins, TokenBins.from_arrays),
}
"""Per kind how it is learned, and how it is made of stored arrays."""
