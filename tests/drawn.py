"""Markets for tests: drawn by hand, or at random with a seed."""

import numpy as np

from walkforge.base import timeframe_ms
from walkforge.market import Bars

START_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC, a Monday


def bars_from(
    drawing: str,
    *,
    symbol: str = "TEST",
    timeframe: str = "1m",
    volume: float = 100.0,
    missing_before: tuple[int, ...] = (),
) -> Bars:
    """Return the bars of a drawing: `open high low close` a line, `#` starts a comment.

    One bar is missing before each row in `missing_before`, so that a new segment starts there.
    """
    lines = [line.split("#")[0].split() for line in drawing.splitlines()]
    prices = np.array([[float(word) for word in words] for words in lines if words])
    steps = np.arange(len(prices))
    for row in missing_before:
        steps[row:] += 1
    return Bars(
        venue="drawn",
        symbol=symbol,
        timeframe=timeframe,
        timestamp=START_MS + steps * timeframe_ms(timeframe),
        open=prices[:, 0],
        high=prices[:, 1],
        low=prices[:, 2],
        close=prices[:, 3],
        volume=np.full(len(prices), volume),
        provenance="simulated",
        calendar="24/7",
    )


def random_bars(
    n_bars: int,
    seed: int = 0,
    *,
    symbol: str = "RANDOM",
    timeframe: str = "1m",
    volatility_frac: float = 0.002,
    holes_at: tuple[int, ...] = (),
) -> Bars:
    """Return a random walk with wicks, volume and a hole of ten bars before each row named."""
    random = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, volatility_frac, n_bars)))
    open_ = np.concatenate([[100.0], close[:-1]]) * np.exp(
        random.normal(0.0, volatility_frac / 10, n_bars)
    )
    wick = np.abs(random.normal(0.0, volatility_frac, (2, n_bars)))
    steps = np.arange(n_bars)
    for row in holes_at:
        steps[row:] += 10
    return Bars(
        venue="drawn",
        symbol=symbol,
        timeframe=timeframe,
        timestamp=START_MS + steps * timeframe_ms(timeframe),
        open=open_,
        high=np.maximum(open_, close) * np.exp(wick[0]),
        low=np.minimum(open_, close) * np.exp(-wick[1]),
        close=close,
        volume=random.lognormal(3.0, 1.0, n_bars),
        provenance="simulated",
        calendar="24/7",
    )
