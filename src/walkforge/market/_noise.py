"""Bars whose future is another one: what may not look ahead must not notice."""

from dataclasses import replace
from typing import Any

import numpy as np

from ._bars import Bars

# Far beyond what a market does, so that a mean, a largest price or a spread that looked ahead
# would move by more than rounding.
_SPREAD = 0.5
_VOLUME_SPREAD = 2.0


def noise_after(bars: Bars, n_kept: int, *, seed: int = 0) -> Bars:
    """Return the bars with noise in place of all but the first `n_kept`; the stamps stay.

    Prices and volumes of the noise lie around the last ones kept, some far above and some far
    below all of them.
    """
    random = np.random.default_rng(seed)
    n_noise = len(bars) - n_kept
    level, volume = bars.close[max(n_kept - 1, 0)], bars.volume[max(n_kept - 1, 0)]
    prices = level * np.exp(random.normal(0.0, _SPREAD, (2, n_noise)))
    wicks = np.exp(np.abs(random.normal(0.0, _SPREAD, (2, n_noise))))
    noise = {
        "open": prices[0],
        "high": prices.max(axis=0) * wicks[0],
        "low": prices.min(axis=0) / wicks[1],
        "close": prices[1],
        "volume": (1.0 + volume) * np.exp(random.normal(0.0, _VOLUME_SPREAD, n_noise)),
    }
    changed: dict[str, Any] = {
        name: np.append(getattr(bars, name)[:n_kept], new) for name, new in noise.items()
    }
    return replace(bars, more={}, **changed)
