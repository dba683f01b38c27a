"""The Markov market: where the next move falls is known as a law, and so is how far it is.

A move's state is the K-quantile that it falls into, so every bar shows its state. The next one
is drawn by a transition matrix whose rows and columns both sum to 1: each state then holds 1/K
of the bars, and moves taken out of their order are those of `gbm`. A row is `1/K` everywhere,
but for a share `w` of it that goes to two successors, one twice as likely as the other, which
the seed chooses; `w` is such that the largest expected move is `edge` volatilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from walkforge.base import FloatArray, IntArray, UsageError, derive_seed

from ._market_laws import MarketLaw, law_of, volatility_of_a_bar

_FAVOURITE_FRAC = 2 / 3


@dataclass(frozen=True, slots=True, eq=False)
class MarkovChain:
    """The truth about a `markov` market, for models to be compared with."""

    transition: FloatArray
    """(K, K): probability of each next state, given a row's; states from the deepest fall up."""
    limits: FloatArray
    """(K - 1,): log returns, close to close, that part the states.

    `np.searchsorted(limits, log_return)` tells a bar's state; rounding to ticks hides that of one
    bar in a hundred at the very worst, and of next to none with the usual price and tick.
    """

    @property
    def entropy_nats(self) -> float:
        """Return what stays unknown of the next state for one who knows everything before.

        The mean of the rows' entropies; `log(K)` where nothing can be known.
        """
        p = self.transition
        return float(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1).mean())


def markov_chain(*, seed: int = 0, timeframe: str = "1h", **law: Any) -> MarkovChain:
    """Return the chain of the `markov` market; arguments are those of `simulate`.

    All symbols of a seed share it; in a study symbol i, counted from 0, has the seed
    `data.simulated.seed + i`. Raises UsageError as `simulate` does, and for an `edge` that the
    seed's successors cannot give.
    """
    rules = law_of("markov", law)
    scale = volatility_of_a_bar(rules, timeframe)
    limits = _edges(rules.states)[1:-1]
    return MarkovChain(transition_of(seed, rules), scale * limits - scale**2 / 2)


def transition_of(seed: int, rules: MarketLaw) -> FloatArray:
    """Return the transition matrix (K, K) of a seed."""
    k = rules.states
    random = np.random.default_rng(derive_seed(seed, "simulated", "markov"))
    order = np.zeros((k, k))
    for share in (_FAVOURITE_FRAC, 1 - _FAVOURITE_FRAC):
        order[np.arange(k), random.permutation(k)] += share
    largest = float(np.abs(order @ _mean_shocks(k)).max())
    if rules.edge > largest:
        raise UsageError(
            f"simulated market: edge {rules.edge} is more than the {k} states of markov seed "
            f"{seed} can have, {largest:.3f}; take less, more states or another seed"
        )
    share = rules.edge / largest
    return (1 - share) / k + share * order


def shocks_of_states(state: IntArray, uniform: FloatArray, n_states: int) -> FloatArray:
    """Return standard normal shocks (n,), each within its state, placed there by `uniform`."""
    from scipy.special import ndtri

    # Exactly 0 would be a shock of minus infinity.
    return np.asarray(ndtri((state + np.maximum(uniform, 1e-12)) / n_states))


def _edges(n_states: int) -> FloatArray:
    from scipy.special import ndtri

    return np.asarray(ndtri(np.arange(n_states + 1) / n_states))


def _mean_shocks(n_states: int) -> FloatArray:
    """Return the mean (K,) of a standard normal within each of its K-quantiles."""
    density = np.exp(-(_edges(n_states) ** 2) / 2) / np.sqrt(2 * np.pi)
    return -n_states * np.diff(density)
