"""Which bars become which tokens: the rule, and the five numbers of a bar it speaks of."""

import math
from dataclasses import dataclass

from walkforge.base import UsageError, one_of

VECTOR = ("move", "body", "upper", "lower", "volume")
"""The numbers of a bar vector, in order; `bar_vectors` says what each is."""

TOKENIZER_KINDS = ("vq", "bins")

MOST_CODES = 65_536
"""Tokens are uint16."""

# Each entry doubles the bins of one number, until the vocabulary is full. Of the splits of 1024
# tried on hourly coins and daily stocks, 16, 2, 4, 4, 2 is near the best in every price at once.
_DOUBLED = (
    *("move", "upper", "lower", "move", "volume", "body"),
    *("move", "upper", "lower", "move", "volume", "body"),
    *("move", "upper", "lower", "move"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerRule:
    """What a token is made of; refuses impossible values with UsageError."""

    kind: str = "vq"
    """`vq`: a codebook of whole bars, by k-means. `bins`: quantile bins of each number."""
    vocabulary: int = 1024
    """Codes of `vq`; the most that `bins` may have."""
    volatility_bars: int = 60
    """How many returns before a bar make the sigma in which it is measured."""
    volume_bars: int = 60
    """How many volumes before a bar its own is measured against."""
    bins: tuple[int, int, int, int, int] | None = None
    """`bins` only: bins of move, gap (move − body), upper, lower and volume. None: by vocabulary,
    16, 2, 4, 4 and 2 for 1024."""

    def __post_init__(self) -> None:
        one_of("kind of tokenizer", self.kind, TOKENIZER_KINDS)
        _refuse_outside("vocabulary", self.vocabulary, 2, MOST_CODES)
        _refuse_outside("volatility_bars", self.volatility_bars, 2)
        _refuse_outside("volume_bars", self.volume_bars, 1)
        if self.bins is not None:
            self._refuse_bins(self.bins)

    @property
    def bin_counts(self) -> tuple[int, ...]:
        """Return the bins of each number: those asked for, or those that fill the vocabulary."""
        if self.bins is not None:
            return self.bins
        doubled = _DOUBLED[: self.vocabulary.bit_length() - 1]
        return tuple(1 << doubled.count(name) for name in VECTOR)

    def _refuse_bins(self, bins: tuple[int, ...]) -> None:
        if self.kind != "bins":
            raise UsageError(f"tokenizer.bins is {bins}, but its kind is {self.kind!r}, not 'bins'")
        if len(bins) != len(VECTOR):
            raise UsageError(
                f"tokenizer.bins has {len(bins)} counts, expected one each for {', '.join(VECTOR)}"
            )
        for count in bins:
            _refuse_outside("bins", count, 1)
        if not 2 <= math.prod(bins) <= self.vocabulary:
            raise UsageError(
                f"tokenizer.bins {bins} make {math.prod(bins)} codes, expected 2 to "
                f"{self.vocabulary}, the vocabulary"
            )


def _refuse_outside(name: str, value: int, least: int, most: int | None = None) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and least <= value and (most is None or value <= most):
        return
    span = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise UsageError(f"tokenizer.{name} is {value!r}; it must be a whole number {span}")
