"""Markets that never were: without signal, and with an edge of stated strength.

The close of bar t is `price * exp(sum of log returns)`, rounded to the tick. A log return is
`s[t] * shock[t] - s[t]**2 / 2`, so that without an edge the expected simple return is zero.

| kind | s[t] | shock[t] |
|---|---|---|
| `gbm` | constant | standard normal |
| `garch` | GARCH(1,1) | Student-t scaled to variance 1 |
| `planted` | GARCH(1,1) | the same, plus `edge * pattern[t - 1]` |

`pattern[t] = tanh(a * b)` looks at the last `pattern_bars` shocks only: `a` is their slope (half
a cosine, recent against old), `b` their curvature (a whole cosine, the ends against the middle),
both with weights of unit length and at right angles. The pattern is even in the shocks, so that
nothing linear in the noise says anything about the next bar; a tree has to carve a product of
two sums of twenty returns out of rectangles; a network needs one hidden layer. The pattern holds
for some bars (autocorrelation 0.7, 0.36, 0.04 at lags 1 to 3), long enough to trade. So the drift
itself leaves some momentum in the returns: autocorrelation 0.02 at an edge of 0.3, 0.2 at 1.

GARCH(1,1): Bollerslev (1986), "Generalized autoregressive conditional heteroskedasticity".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from walkforge.base import (
    BarsError,
    FloatArray,
    UsageError,
    derive_seed,
    one_of,
    parse_utc_ms,
    timeframe_ms,
    utc_text,
)

from ._bars import Bars
from ._calendar import DAY_MS, bin_starts

SIMULATED_MARKETS = ("gbm", "garch", "planted")

_YEAR_MS = 365.25 * DAY_MS
# Volatility and pattern forget where they started long before this many bars.
_WARM_UP_BARS = 500
_STEPS_IN_A_BAR = 10
_USUAL_VOLUME = 100.0
# Below this many ticks rounding to the grid is no longer small beside a bar's own move.
_FEWEST_TICKS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class MarketLaw:
    """What a simulated market obeys; see the table above."""

    edge: float = 0.5
    """Largest expected move of the next bar, in units of that bar's volatility (`planted`)."""
    pattern_bars: int = 20
    """How many shocks, the latest included, the pattern looks at (`planted`)."""
    annual_volatility_frac: float = 0.6
    """Long-run standard deviation of a year's log return."""
    reaction: float = 0.06
    """GARCH's alpha: how much of the next variance the last squared shock makes."""
    memory: float = 0.92
    """GARCH's beta: how much of the variance stays."""
    tail_dof: float = 5.0
    """Degrees of freedom of the Student-t shocks; fewer make fatter tails."""
    price: float = 20_000.0
    """Price before the first bar, quote currency."""
    tick_size: float = 0.1
    """Every price is a multiple of it."""

    def __post_init__(self) -> None:
        allowed = {
            "edge": 0 <= self.edge <= 2,
            "pattern_bars": 3 <= self.pattern_bars <= _WARM_UP_BARS,
            "annual_volatility_frac": 0 < self.annual_volatility_frac < 10,
            "reaction": 0 <= self.reaction < 1,
            "memory": 0 <= self.memory < 1 - self.reaction,
            "tail_dof": self.tail_dof > 2,
            "price": 0 < self.price < float("inf"),
            "tick_size": 0 < self.tick_size <= self.price / _FEWEST_TICKS,
        }
        for name, good in allowed.items():
            if not good:
                raise UsageError(
                    f"simulated market: {name} {getattr(self, name)} is impossible; see MarketLaw"
                )


@dataclass(frozen=True, slots=True)
class _Path:
    """Log returns and volatilities per bar (n,), and the expected simple return of the next."""

    log_return: FloatArray
    volatility: FloatArray
    shock: FloatArray
    drift: FloatArray


def simulate(
    kind: str,
    *,
    n_bars: int,
    seed: int = 0,
    symbol: str = "SIMUSDT",
    timeframe: str = "1h",
    start: str = "2020-01-01",
    **law: Any,
) -> Bars:
    """Return simulated 24/7 bars without holes; `law` holds fields of `MarketLaw`.

    Each bar opens at the close before it. High and low are the extremes of a Brownian bridge of
    ten steps between open and close; volume grows with volatility and with the size of the move.
    Seed, symbol and timeframe set the noise: `garch` and `planted` share it, and a shorter
    market is the beginning of a longer one. Provenance `simulated`.

    Raises UsageError for an unknown kind or an impossible law, BarsError where the price falls
    so low that the tick grid would show.
    """
    rules = _law(law)
    path = _path(kind, n_bars, seed, (symbol, timeframe), rules)
    first_ms = int(bin_starts(np.array([parse_utc_ms(start)]), timeframe)[0])
    log_close = np.cumsum(path.log_return)
    log_open = np.concatenate([[0.0], log_close])[:-1]
    top, bottom = _extremes(log_open, log_close, path.volatility, _random(seed, symbol, "wicks"))
    ticks = [
        np.round(rules.price * np.exp(level) / rules.tick_size)
        for level in (log_open, top, bottom, log_close)
    ]
    if n_bars and ticks[2].min() < _FEWEST_TICKS:
        raise BarsError(
            f"simulated {symbol}: the price falls to {ticks[2].min():.0f} ticks; start from a "
            "higher price, or take a finer tick or less volatility"
        )
    open_, high, low, close = (np.round(level * rules.tick_size, 10) for level in ticks)
    return Bars(
        venue="simulated",
        symbol=symbol,
        timeframe=timeframe,
        timestamp=first_ms + np.arange(n_bars) * timeframe_ms(timeframe),
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=_volume(path, rules, timeframe, _random(seed, symbol, "volume")),
        provenance="simulated",
        calendar="24/7",
        history=(f"simulated: {kind}, seed {seed}, from {utc_text(first_ms)}",),
    )


def planted_drift(
    *,
    n_bars: int,
    seed: int = 0,
    symbol: str = "SIMUSDT",
    timeframe: str = "1h",
    **law: Any,
) -> FloatArray:
    """Return for each bar (n,) of the `planted` market what its close tells about the next.

    It is the expected simple return from this close to the next, a fraction, exact but for the
    rounding to ticks; the arguments are those of `simulate`. An oracle trades its sign.
    """
    return _path("planted", n_bars, seed, (symbol, timeframe), _law(law)).drift


def _law(options: dict[str, Any]) -> MarketLaw:
    for name in options:
        one_of("rule of a simulated market", name, MarketLaw.__dataclass_fields__)
    return MarketLaw(**options)


def _random(seed: int, symbol: str, what: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, "simulated", symbol, what))


def _path(kind: str, n_bars: int, seed: int, names: tuple[str, str], rules: MarketLaw) -> _Path:
    from ._paths import shocks

    one_of("simulated market", kind, SIMULATED_MARKETS)
    if n_bars < 0:
        raise UsageError(f"n_bars must be at least 0, found {n_bars}")
    symbol, timeframe = names
    random, n = _random(seed, symbol, timeframe), n_bars + _WARM_UP_BARS
    reaction, memory = (0.0, 0.0) if kind == "gbm" else (rules.reaction, rules.memory)
    if kind == "gbm":
        noise = random.standard_normal(n)
    else:
        noise = random.standard_t(rules.tail_dof, n) * np.sqrt(1 - 2 / rules.tail_dof)
    edge = rules.edge if kind == "planted" else 0.0
    slope, curve = _weights(rules.pattern_bars)
    total, relative, pattern = shocks(noise, slope, curve, edge, reaction, memory)
    scale = rules.annual_volatility_frac * np.sqrt(timeframe_ms(timeframe) / _YEAR_MS)
    volatility = scale * relative
    # The volatility of the bar after the last one follows from what is known at its close.
    next_variance = 1 - reaction - memory + relative**2 * (reaction * noise**2 + memory)
    kept = slice(_WARM_UP_BARS, None)
    return _Path(
        log_return=(volatility * total - volatility**2 / 2)[kept],
        volatility=volatility[kept],
        shock=total[kept],
        drift=(scale * np.sqrt(next_variance) * edge * pattern)[kept],
    )


def _weights(pattern_bars: int) -> tuple[FloatArray, FloatArray]:
    """Return slope and curvature weights (pattern_bars,) of unit length, latest shock first."""
    angle = np.pi * (np.arange(pattern_bars) + 0.5) / pattern_bars
    length = np.sqrt(2 / pattern_bars)
    return length * np.cos(angle), length * np.cos(2 * angle)


def _extremes(
    log_open: FloatArray,
    log_close: FloatArray,
    volatility: FloatArray,
    random: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Return the highest and lowest log prices (n,) of a Brownian bridge within each bar."""
    steps = random.standard_normal((len(log_open), _STEPS_IN_A_BAR))
    walk = np.cumsum(steps, axis=1) * (volatility / np.sqrt(_STEPS_IN_A_BAR))[:, None]
    share = np.arange(1, _STEPS_IN_A_BAR + 1) / _STEPS_IN_A_BAR
    target = (log_close - log_open)[:, None]
    bridge = walk + share * (target - walk[:, -1:])
    # The bridge ends at the close but for rounding; open and close bound the wicks exactly.
    top = np.maximum(log_open + bridge.max(axis=1, initial=0.0), log_close)
    bottom = np.minimum(log_open + bridge.min(axis=1, initial=0.0), log_close)
    return top, bottom


def _volume(
    path: _Path, rules: MarketLaw, timeframe: str, random: np.random.Generator
) -> FloatArray:
    scale = rules.annual_volatility_frac * np.sqrt(timeframe_ms(timeframe) / _YEAR_MS)
    busy = path.volatility / scale * (0.3 + np.abs(path.shock))
    volume = _USUAL_VOLUME * busy * random.lognormal(0.0, 0.5, len(busy))
    return np.maximum(np.round(volume, 3), 0.001)
