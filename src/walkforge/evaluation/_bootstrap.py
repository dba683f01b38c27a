"""The block bootstrap over sums: a resample is a weighted sum of blocks, and so a matrix product.

Shapes: R resamples, K blocks, S sums
"""

from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from walkforge.base import FloatArray, derive_seed

LEVEL = 0.95
FEWEST_BLOCKS = 5
"""With fewer blocks than this a resample says nothing: no interval is given."""


@lru_cache(maxsize=8)
def block_weights(n_blocks: int, n_resamples: int, seed: int) -> FloatArray:
    """Return how often each block is drawn in each resample (R, K); rows sum to K."""
    random = np.random.default_rng(derive_seed(seed, "blocks", n_blocks))
    even = np.full(n_blocks, 1.0 / n_blocks)
    weights = random.multinomial(n_blocks, even, size=n_resamples).astype(np.float64)
    weights.flags.writeable = False
    return weights


@lru_cache(maxsize=8)
def block_signs(n_blocks: int, n_resamples: int, seed: int) -> FloatArray:
    """Return +1 or -1 for each block in each resample (R, K)."""
    random = np.random.default_rng(derive_seed(seed, "signs", n_blocks))
    signs = random.choice([-1.0, 1.0], size=(n_resamples, n_blocks))
    signs.flags.writeable = False
    return signs


def resample(
    sums: Float[np.ndarray, "K S"], *, n_resamples: int, seed: int
) -> Float[np.ndarray, "R S"]:
    """Return the sums of every resample: K blocks drawn with replacement; none out of none."""
    if not len(sums):
        return np.zeros((0, sums.shape[1]))
    return block_weights(len(sums), n_resamples, seed) @ sums


def interval(drawn: Float[np.ndarray, " R"], n_blocks: int) -> tuple[float | None, float | None]:
    """Return the 95 % percentile interval, or None twice where there is none.

    The percentiles are those of Hesterberg's expanded interval (2015): wider for few blocks, by
    as much as Student's t exceeds the normal, because a bootstrap of K blocks is too narrow by
    about sqrt(1 - 1/K). Resamples in which the measure is undefined are left out, up to a tenth.
    """
    from scipy.stats import norm, t

    defined = _defined(drawn, n_blocks)
    if defined is None:
        return None, None
    stretch = np.sqrt(n_blocks / (n_blocks - 1)) * t.ppf((1 + LEVEL) / 2, n_blocks - 1)
    tail = float(norm.cdf(-stretch))
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return float(low), float(high)


def p_value(drawn: Float[np.ndarray, " R"], n_blocks: int) -> float | None:
    """Return the two-sided p-value of "the true value is 0", None where there is no interval.

    It is 1 less the level at which `interval` would just touch 0, so that both say the same. The
    value itself counts as one more resample: p is never 0, and R resamples cannot claim more
    than they saw. All resamples at 0, as of a model beside itself, give 1.
    """
    from scipy.stats import norm, t

    defined = _defined(drawn, n_blocks)
    if defined is None:
        return None
    beyond = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    tail = min(0.5, (1 + beyond) / (1 + len(defined)))
    stretch = -norm.ppf(tail) / np.sqrt(n_blocks / (n_blocks - 1))
    return min(1.0, float(2.0 * t.sf(stretch, n_blocks - 1)))


def p_above(drawn: Float[np.ndarray, " R"], limit: float, n_blocks: int) -> float | None:
    """Return the one-sided p-value of "the true value is at most `limit`", as `p_value` does.

    It is below 0.025 where the lower end of `interval` is above the limit. None where there is
    no interval.
    """
    from scipy.stats import norm, t

    defined = _defined(drawn, n_blocks)
    if defined is None:
        return None
    # Half a resample at either end: p is neither 0 nor 1, whatever was drawn.
    tail = (0.5 + int((defined <= limit).sum())) / (1 + len(defined))
    stretch = -norm.ppf(tail) / np.sqrt(n_blocks / (n_blocks - 1))
    return float(t.sf(stretch, n_blocks - 1))


def _defined(drawn: FloatArray, n_blocks: int) -> FloatArray | None:
    """Return the resamples with a number, None where they are too few to say anything."""
    defined = drawn[np.isfinite(drawn)]
    few = n_blocks < FEWEST_BLOCKS or len(defined) == 0 or len(defined) < 0.9 * len(drawn)
    return None if few else defined


def measured(
    value: float,
    drawn: Float[np.ndarray, " R"],
    *,
    n: int,
    n_blocks: int,
    unit: str = "fraction",
    undefined: str = "",
    above: float | None = None,
) -> dict[str, Any]:
    """Return the entry of one measure; null with the reason where there is no number.

    With `above` it holds `p_above`, how often luck alone would show so much more than that.
    """
    entry: dict[str, Any] = {"value": None, "low": None, "high": None, "n": n, "unit": unit}
    if not np.isfinite(value):
        return entry | {"reason": undefined or "undefined on these rows"}
    low, high = interval(drawn, n_blocks)
    entry |= {"value": float(value), "low": low, "high": high}
    if above is not None:
        entry["p_above"] = p_above(drawn, above, n_blocks)
    if low is None:
        entry["reason"] = f"no interval: {_why_none(n_blocks, len(drawn))}"
    return entry


def _why_none(n_blocks: int, n_resamples: int) -> str:
    if n_resamples == 0:
        return "no resamples were asked for"
    if n_blocks < FEWEST_BLOCKS:
        return f"{n_blocks} independent blocks of time, at least {FEWEST_BLOCKS} needed"
    return "undefined in more than a tenth of the resamples"
