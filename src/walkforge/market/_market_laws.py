"""The laws of simulated markets: volatility and shock of every bar.

| kind | s[t] | shock[t] |
|---|---|---|
| `gbm` | constant | standard normal |
| `garch` | GARCH(1,1) | Student-t scaled to variance 1 |
| `planted` | GARCH(1,1) | the same, plus `edge * pattern[t - 1]` |
| `regimes` | that of a hidden regime, calm to wild | that of simple returns `s[t]` x Student-t |
| `markov` | constant | standard normal, but its K-quantile follows from the one before |

`pattern[t] = tanh(a * b)` looks at the last `pattern_bars` shocks only: `a` is their slope (half
a cosine, recent against old), `b` their curvature (a whole cosine, the ends against the middle),
both with weights of unit length and at right angles. The pattern is even in the shocks, so that
nothing linear in the noise says anything about the next bar; a tree has to carve a product of
two sums of twenty returns out of rectangles; a network needs one hidden layer. The pattern holds
for some bars (autocorrelation 0.7, 0.36, 0.04 at lags 1 to 3), long enough to trade. So the drift
itself leaves some momentum in the returns: autocorrelation 0.02 at an edge of 0.3, 0.2 at 1.

In `regimes` a regime is kept with `stay_frac` and left for any other alike, so that each holds
as many bars. It decides the size of a move and never its sign: simple returns are symmetric about
0, and none is beyond 90 % (with the defaults no bar of an hour in a billion would be). `markov`
is `_markov.py`.

GARCH(1,1): Bollerslev (1986), "Generalized autoregressive conditional heteroskedasticity".
Regimes: Hamilton (1989), "A new approach to the economic analysis of nonstationary time series
and the business cycle".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from walkforge.base import FloatArray, UsageError, derive_seed, one_of, timeframe_ms

from ._calendar import DAY_MS

_YEAR_MS = 365.25 * DAY_MS
# Volatility and pattern forget where they started long before this many bars.
_WARM_UP_BARS = 500
# A price of fewer ticks changes by 2 % where it changes at all. What a bar's move is in ticks is
# another matter: at the usual volatility a minute's is one tick where the price is 1 200.
FEWEST_TICKS = 50
# Prices of kinds about which a truth is told lie on a grid too fine to blur it: on one of 0.1 up to
# three minutes in a hundred fell into a wrong state, and ten where the price was low.
_FINE_TICK = {"regimes": 1e-6, "markov": 1e-6}
# Beyond that a fall is a loss of nearly everything, and a rise is bounded as falls are.
_LARGEST_RETURN_FRAC = 0.9
# Each regime moves twice as much as the calmer one: |returns| then correlate by about 0.2 from
# bar to bar, as those of hourly coins do.
_REGIME_STEP = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MarketLaw:
    """What a simulated market obeys; see the table above."""

    edge: float = 0.5
    """Largest expected move of the next bar, in that bar's volatility (`planted`, `markov`)."""
    pattern_bars: int = 20
    """How many shocks, the latest included, the pattern looks at (`planted`)."""
    annual_volatility_frac: float = 0.6
    """Long-run standard deviation of a bar's log return, times the root of the year's bars."""
    reaction: float = 0.06
    """GARCH's alpha: how much of the next variance the last squared shock makes."""
    memory: float = 0.92
    """GARCH's beta: how much of the variance stays."""
    tail_dof: float = 5.0
    """Degrees of freedom of the Student-t shocks; fewer make fatter tails."""
    regimes: int = 3
    """How many regimes of volatility there are, 2 or 3 (`regimes`)."""
    stay_frac: float = 0.98
    """Probability that the next bar keeps its regime (`regimes`)."""
    states: int = 8
    """How many states a move may be in, each an equal share of all moves (`markov`)."""
    price: float = 20_000.0
    """Price before the first bar, quote currency."""
    tick_size: float = 0.1
    """Every price is a multiple of it. `simulate` takes 1e-6 for `regimes` and `markov`."""

    def __post_init__(self) -> None:
        most_memory, most_tick = 1 - self.reaction, self.price / FEWEST_TICKS
        possible = {
            "edge": (0 <= self.edge <= 2, "0 to 2"),
            "pattern_bars": (3 <= self.pattern_bars <= _WARM_UP_BARS, f"3 to {_WARM_UP_BARS}"),
            "annual_volatility_frac": (
                0 < self.annual_volatility_frac < 10,
                "a fraction above 0 and below 10",
            ),
            "reaction": (0 <= self.reaction < 1, "0 to just below 1"),
            "memory": (0 <= self.memory < most_memory, f"0 to just below {most_memory:g}"),
            "tail_dof": (self.tail_dof > 2, "more than 2"),
            "regimes": (self.regimes in (2, 3), "2 or 3"),
            "stay_frac": (0 <= self.stay_frac < 1, "0 to just below 1"),
            "states": (2 <= self.states <= 100, "2 to 100"),
            "price": (0 < self.price < float("inf"), "any above 0"),
            "tick_size": (0 < self.tick_size <= most_tick, f"above 0, at most {most_tick:g}"),
        }
        for name, (good, words) in possible.items():
            if not good:
                found = f"{name} {getattr(self, name)}"
                raise UsageError(f"simulated market: {found} is impossible; expected {words}")


@dataclass(frozen=True, slots=True)
class Path:
    """Volatilities and shocks per bar (n,), and the drift that each close tells of the next bar.

    The drift, a fraction, is told for `planted` and is 0 elsewhere.
    """

    volatility: FloatArray
    shock: FloatArray
    drift: FloatArray


class _Draw(NamedTuple):
    """What a law is played with: bars with their warm-up, and noise that is theirs alone."""

    n: int
    random: np.random.Generator
    other: np.random.Generator
    seed: int
    rules: MarketLaw
    scale: float  # long-run volatility of a bar


def law_of(kind: str, options: dict[str, Any]) -> MarketLaw:
    """Return the law that the options of a kind name.

    Raises UsageError for an unknown kind, and for an unknown or impossible option.
    """
    one_of("simulated market", kind, LAWS)
    for name in options:
        one_of("rule of a simulated market", name, MarketLaw.__dataclass_fields__)
    fine = {"tick_size": _FINE_TICK[kind]} if kind in _FINE_TICK else {}
    return MarketLaw(**{**fine, **options})


def fewest_ticks_a_move(kind: str, rules: MarketLaw) -> float:
    """Return how many ticks a bar's volatility needs for what is told of a kind to be so.

    Of a hundred bars at most one then shows no move or another state. 0: nothing is told.
    """
    return {"regimes": 50.0, "markov": 10.0 * rules.states}.get(kind, 0.0)


def random_of(seed: int, symbol: str, what: str) -> np.random.Generator:
    """Return the noise of one symbol that serves one purpose."""
    return np.random.default_rng(derive_seed(seed, "simulated", symbol, what))


def volatility_of_a_bar(rules: MarketLaw, timeframe: str) -> float:
    """Return the long-run standard deviation of a bar's log return."""
    return float(rules.annual_volatility_frac * np.sqrt(timeframe_ms(timeframe) / _YEAR_MS))


def path_of(kind: str, n_bars: int, seed: int, names: tuple[str, str], rules: MarketLaw) -> Path:
    """Return what a kind's law makes of the noise of (symbol, timeframe), warmed up.

    Raises UsageError for fewer than 0 bars.
    """
    if n_bars < 0:
        raise UsageError(f"n_bars must be at least 0, found {n_bars}")
    symbol, timeframe = names
    draw = _Draw(
        n=n_bars + _WARM_UP_BARS,
        random=random_of(seed, symbol, timeframe),
        other=random_of(seed, symbol, f"{timeframe} states"),
        seed=seed,
        rules=rules,
        scale=volatility_of_a_bar(rules, timeframe),
    )
    path, kept = LAWS[kind](draw), slice(_WARM_UP_BARS, None)
    return Path(path.volatility[kept], path.shock[kept], path.drift[kept])


def _gbm(draw: _Draw) -> Path:
    return _steady(draw, draw.random.standard_normal(draw.n))


def _garch(draw: _Draw) -> Path:
    return _clustered(draw, edge=0.0)


def _planted(draw: _Draw) -> Path:
    return _clustered(draw, edge=draw.rules.edge)


def _regimes(draw: _Draw) -> Path:
    from ._paths import chain

    n_regimes, stay = draw.rules.regimes, draw.rules.stay_frac
    transition = np.full((n_regimes, n_regimes), (1 - stay) / (n_regimes - 1))
    np.fill_diagonal(transition, stay)
    relative = _REGIME_STEP ** np.arange(n_regimes)
    relative /= np.sqrt((relative**2).mean())
    regime = chain(draw.other.random(draw.n), np.cumsum(transition, axis=1))
    volatility = draw.scale * relative[regime]
    most = _LARGEST_RETURN_FRAC
    simple = np.clip(volatility * _fat_tails(draw), -most, most)
    shock = (np.log1p(simple) + volatility**2 / 2) / volatility
    return Path(volatility, shock, np.zeros(draw.n))


def _markov(draw: _Draw) -> Path:
    from ._markov import shocks_of_states, transition_of
    from ._paths import chain

    transition = transition_of(draw.seed, draw.rules)
    state = chain(draw.other.random(draw.n), np.cumsum(transition, axis=1))
    return _steady(draw, shocks_of_states(state, draw.random.random(draw.n), draw.rules.states))


LAWS: dict[str, Callable[[_Draw], Path]] = {
    "gbm": _gbm,
    "garch": _garch,
    "planted": _planted,
    "regimes": _regimes,
    "markov": _markov,
}

SIMULATED_MARKETS = tuple(LAWS)


def _steady(draw: _Draw, shock: FloatArray) -> Path:
    return Path(np.full(draw.n, draw.scale), shock, np.zeros(draw.n))


def _fat_tails(draw: _Draw) -> FloatArray:
    dof = draw.rules.tail_dof
    return draw.random.standard_t(dof, draw.n) * np.sqrt(1 - 2 / dof)


def _clustered(draw: _Draw, *, edge: float) -> Path:
    from ._paths import shocks

    noise, rules = _fat_tails(draw), draw.rules
    slope, curve = _weights(rules.pattern_bars)
    reaction, memory = rules.reaction, rules.memory
    total, relative, pattern = shocks(noise, slope, curve, edge, reaction, memory)
    # The volatility of the bar after the last one follows from what is known at its close.
    next_variance = 1 - reaction - memory + relative**2 * (reaction * noise**2 + memory)
    return Path(
        volatility=draw.scale * relative,
        shock=total,
        drift=draw.scale * np.sqrt(next_variance) * edge * pattern,
    )


def _weights(pattern_bars: int) -> tuple[FloatArray, FloatArray]:
    """Return slope and curvature weights (pattern_bars,) of unit length, latest shock first."""
    angle = np.pi * (np.arange(pattern_bars) + 0.5) / pattern_bars
    length = np.sqrt(2 / pattern_bars)
    return length * np.cos(angle), length * np.cos(2 * angle)
