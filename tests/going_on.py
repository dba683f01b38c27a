"""Markets that go on after a run has learned from them."""

from dataclasses import replace

import numpy as np

from walkforge.base import timeframe_ms
from walkforge.market import bars_to_frame

_PRICES = ("open", "high", "low", "close")


def going_on(bars, later):
    """Return bars, and behind them the moves of other bars."""
    step_ms = timeframe_ms(bars.timeframe)
    factor = bars.close[-1] / later.open[0]
    stamps = bars.timestamp[-1] + step_ms * np.arange(1, len(later) + 1)
    joined = {
        name: np.concatenate([getattr(bars, name), factor * getattr(later, name)])
        for name in _PRICES
    }
    return replace(
        bars,
        timestamp=np.concatenate([bars.timestamp, stamps]),
        volume=np.concatenate([bars.volume, later.volume]),
        **joined,
    )


def write_venue(folder, bars):
    """Write bars as the folder of a venue, and return it."""
    for symbol, one in bars.items():
        path = folder / symbol / f"{one.timeframe}.parquet"
        path.parent.mkdir(parents=True)
        bars_to_frame(one).write_parquet(path)
    return folder
