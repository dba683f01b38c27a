"""Does a model hit as often as it says? A test that may be looked at every day.

A gambler who is offered the model's own odds bets that it hits less often than it says. Where the
model is right no strategy makes money, so that his fortune exceeds 1 / alpha, ever, with a
probability of at most alpha (Ville 1939): whoever looks after every outcome and stops at the
worst moment is wrong no more often than one who looks once.

Shapes: n decisions
"""

from typing import Any

import numpy as np

from walkforge.base import BoolArray, FloatArray, IntArray

FEWER_HITS_FRAC = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
"""The alternatives: a model that hits so much less often than it says, as a share of that. The
fortune is the mean over a gambler for each, which needs no guess which one is true."""


def one_after_another(decided_at: IntArray, resolved_at: IntArray) -> BoolArray:
    """Tell which decisions (n,), in order of time, come when all earlier ones told are settled.

    Decisions of one moment go together. Outcomes that overlap share their future: a bet on one
    while another is open would not be fair, however right the model is.
    """
    told = np.zeros(len(decided_at), dtype=np.bool_)
    if len(told) == 0:
        return told
    moments, first = np.unique(decided_at, return_index=True)
    last_resolved = np.maximum.reduceat(resolved_at, first)
    free_at = np.iinfo(np.int64).min
    for moment, start, stop, resolved in zip(
        moments, first, [*first[1:], len(decided_at)], last_resolved, strict=True
    ):
        if moment >= free_at:
            told[start:stop] = True
            free_at = int(resolved)
    return told


def hits_test(
    moment: IntArray, confidence: FloatArray, hit: BoolArray, *, margin_frac: float = 0.0
) -> dict[str, Any]:
    """Test whether top classes come true as often as their confidence (n,), 0 to 1, says.

    Rows in order of `moment` (n,), each moment's decided after the one before was settled; rows of
    one moment are averaged. `margin_frac` (probability) is what the confidence may be too high
    by all the same. Of a moment with confidence c, less the margin, and hit rate h a gambler's
    fortune is multiplied by 1 + bet (c - h), his bet being f / (1 - c) for f in FEWER_HITS_FRAC:
    for a single decision the likelihood ratio of hitting with (1 - f) c against c (Wald 1945,
    sequential probability ratio), a capital process of Waudby-Smith and Ramdas (2024)
    in any case. Only the mean of the outcome has to be what was said: nothing is assumed about how
    moments hang together.

    Returns `n`, `n_moments`, `claimed` (mean confidence), `hit_rate`, `margin`, `e_value` (the
    fortune now), `e_value_most` and `p_value` = 1 / e_value_most, valid whenever one looks.
    """
    n = len(moment)
    if n == 0:
        return {"n": 0, "n_moments": 0, "p_value": None, "reason": "no outcome is known yet"}
    _, place = np.unique(moment, return_inverse=True)
    n_rows = np.bincount(place)
    said = np.bincount(place, confidence) / n_rows
    came = np.bincount(place, hit.astype(np.float64)) / n_rows
    held = np.clip(said - margin_frac, 1e-6, 1.0 - 1e-6)
    fortune = _fortune(held, came)
    most = float(np.exp(max(0.0, fortune.max())))
    return {
        "n": n,
        "n_moments": len(said),
        "claimed": float(confidence.mean()),
        "hit_rate": float(hit.mean()),
        "margin": float(margin_frac),
        "e_value": float(np.exp(fortune[-1])),
        "e_value_most": most,
        "p_value": 1.0 / most,
    }


def _fortune(said: FloatArray, came: FloatArray) -> FloatArray:
    """Return the logarithm of the fortune after every moment; it begins with 0."""
    shares = np.array(FEWER_HITS_FRAC)[:, None]
    paths = np.cumsum(np.log1p(shares / (1.0 - said) * (said - came)), axis=1)
    return np.logaddexp.reduce(paths, axis=0) - np.log(len(shares))
