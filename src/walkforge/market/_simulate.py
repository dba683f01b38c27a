"""Markets that never were: without signal, and with an edge of stated strength.

The close of bar t is `price * exp(sum of log returns)`, rounded to the tick. A log return is
`s[t] * shock[t] - s[t]**2 / 2`. What `s` and `shock` are says each kind's law, in
`_market_laws.py`.

Without an edge the expected simple return is zero: exactly in `gbm` and `markov`, whose shocks
are normal, and in `regimes`, which draws simple returns that are symmetric about zero. In `garch`
and `planted` it is so but for a rest: Student-t has no exponential moment, so that strictly the
expectation is not even finite. By the fourth moments the rest is about the fourth power of a
bar's volatility, 2e-9 of an hour and 1e-6 of a day (0.03 % a year); 16 million bars, each taken
with both signs of its shock, show 0 +- 2e-8 of an hour and (0.9 +- 0.8)e-6 of a day.
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
    fewest_ticks_a_move,
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
    so low that the tick grid would show: below 50 ticks, or in `regimes` and `markov` where a
    bar's volatility is no longer many of them.
    """
    rules = law_of(kind, law)
    path = path_of(kind, n_bars, seed, (symbol, timeframe), rules)
    first_ms = int(bin_starts(np.array([parse_utc_ms(start)]), timeframe)[0])
    log_close = np.cumsum(path.volatility * path.shock - path.volatility**2 / 2)
    log_open = np.concatenate([[0.0], log_close])[:-1]
    top, bottom = _extremes(log_open, log_close, path.volatility, random_of(seed, symbol, "wicks"))
    ticks = [
        np.round(rules.price * np.exp(level) / rules.tick_size)
        for level in (log_open, top, bottom, log_close)
    ]
    _refuse_coarse_ticks(symbol, ticks[2], path.volatility, fewest_ticks_a_move(kind, rules))
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

    It is the expected simple return from this close to the next, a fraction, but for the rounding
    to ticks and for half its square; the arguments are those of `simulate`. An oracle trades its
    sign.
    """
    return path_of("planted", n_bars, seed, (symbol, timeframe), law_of("planted", law)).drift


def _refuse_coarse_ticks(
    symbol: str, low: FloatArray, volatility: FloatArray, fewest_a_move: float
) -> None:
    """Raise BarsError where lows (n,), in ticks, or moves at them are too few ticks."""
    price = low.min(initial=np.inf)
    move = (low * volatility).min(initial=np.inf)
    found = ""
    if price < FEWEST_TICKS:
        found = f"the price falls to {price:.0f} ticks, fewer than {FEWEST_TICKS}"
    elif move < fewest_a_move:
        found = f"a bar's volatility falls to {move:.3g} ticks, less than {fewest_a_move:g}"
    if found:
        raise BarsError(
            f"simulated {symbol}: {found}; take another seed or fewer bars, or let `simulate` "
            "have a higher price, a finer tick_size or less annual_volatility_frac"
        )


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
