"""Markets that never were: without signal, and with an edge of stated strength.

The close of bar t is `price * exp(sum of log returns)`, rounded to the tick. A log return is
`s[t] * shock[t] - s[t]**2 / 2`, so that without an edge the expected simple return is zero.
What `s` and `shock` are says each kind's law, in `_market_laws.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from walkforge.base import BarsError, FloatArray, parse_utc_ms, timeframe_ms, utc_text

from ._bars import Bars
from ._calendar import bin_starts
from ._market_laws import (
    FEWEST_TICKS,
    MarketLaw,
    Path,
    law_of,
    path_of,
    random_of,
    volatility_of_a_bar,
)

_STEPS_IN_A_BAR = 10
_USUAL_VOLUME = 100.0
# Ten steps of so many bars are 5 MB: years of minutes need no more memory than their bars.
_BARS_AT_ONCE = 65_536


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
    rules = law_of(law)
    path = path_of(kind, n_bars, seed, (symbol, timeframe), rules)
    first_ms = int(bin_starts(np.array([parse_utc_ms(start)]), timeframe)[0])
    log_close = np.cumsum(path.volatility * path.shock - path.volatility**2 / 2)
    log_open = np.concatenate([[0.0], log_close])[:-1]
    top, bottom = _extremes(log_open, log_close, path.volatility, random_of(seed, symbol, "wicks"))
    ticks = [
        np.round(rules.price * np.exp(level) / rules.tick_size)
        for level in (log_open, top, bottom, log_close)
    ]
    if n_bars and ticks[2].min() < FEWEST_TICKS:
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
        volume=_volume(path, rules, timeframe, random_of(seed, symbol, "volume")),
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
    return path_of("planted", n_bars, seed, (symbol, timeframe), law_of(law)).drift


def _extremes(
    log_open: FloatArray,
    log_close: FloatArray,
    volatility: FloatArray,
    random: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Return the highest and lowest log prices (n,) of a Brownian bridge within each bar."""
    top, bottom = np.empty(len(log_open)), np.empty(len(log_open))
    for start in range(0, len(log_open), _BARS_AT_ONCE):
        rows = slice(start, start + _BARS_AT_ONCE)
        bridge = _bridge(log_open[rows], log_close[rows], volatility[rows], random)
        # The bridge ends at the close but for rounding; open and close bound the wicks exactly.
        top[rows] = np.maximum(log_open[rows] + bridge.max(axis=1, initial=0.0), log_close[rows])
        bottom[rows] = np.minimum(log_open[rows] + bridge.min(axis=1, initial=0.0), log_close[rows])
    return top, bottom


def _bridge(
    log_open: FloatArray,
    log_close: FloatArray,
    volatility: FloatArray,
    random: np.random.Generator,
) -> FloatArray:
    """Return the steps (n, 10) of a walk from open to close, from the open."""
    steps = random.standard_normal((len(log_open), _STEPS_IN_A_BAR))
    walk = np.cumsum(steps, axis=1) * (volatility / np.sqrt(_STEPS_IN_A_BAR))[:, None]
    share = np.arange(1, _STEPS_IN_A_BAR + 1) / _STEPS_IN_A_BAR
    target = (log_close - log_open)[:, None]
    return np.asarray(walk + share * (target - walk[:, -1:]))


def _volume(
    path: Path, rules: MarketLaw, timeframe: str, random: np.random.Generator
) -> FloatArray:
    scale = volatility_of_a_bar(rules, timeframe)
    busy = path.volatility / scale * (0.3 + np.abs(path.shock))
    volume = _USUAL_VOLUME * busy * random.lognormal(0.0, 0.5, len(busy))
    return np.maximum(np.round(volume, 3), 0.001)
