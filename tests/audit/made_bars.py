"""Bars that look like a market's, as far as the guard of bars looks, and say that they are real."""

from dataclasses import replace

import numpy as np

from walkforge.audit._guards_clock import _DOLLAR_HOURS
from walkforge.market import Bars, simulate


def lively(n_bars: int, *, timeframe: str = "5m", symbol: str = "AAAUSDT", seed: int = 0) -> Bars:
    """Return GARCH bars on ticks whose volume follows the American day."""
    bars = simulate("garch", n_bars=n_bars, seed=seed, symbol=symbol, timeframe=timeframe)
    hours = (bars.timestamp // 3_600_000) % 24
    noise = np.random.default_rng(seed).lognormal(0.0, 0.3, n_bars)
    return replace(bars, volume=_DOLLAR_HOURS[hours] * noise, provenance="file")


def with_holes(bars: Bars, n_holes: int) -> Bars:
    """Return the bars without some of them, evenly spread."""
    keep = np.ones(len(bars), dtype=bool)
    keep[np.linspace(10, len(bars) - 10, n_holes).astype(int)] = False
    names = ("timestamp", "open", "high", "low", "close", "volume")
    return replace(bars, **{name: getattr(bars, name)[keep] for name in names})


def coin_walk(n_bars: int, seed: int = 0) -> np.ndarray:
    """Return a side for every bar, by a coin."""
    return np.random.default_rng(seed).choice([-1, 1], n_bars)
