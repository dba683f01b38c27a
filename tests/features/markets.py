"""Markets that trouble an indicator."""

import dataclasses

import numpy as np

from drawn import random_bars
from walkforge.base import FloatArray, IntArray, timeframe_ms
from walkforge.market import Bars

PRICES = ("open", "high", "low", "close")


def scaled(bars: Bars, *, prices: float = 1.0, volumes: float = 1.0) -> Bars:
    changed = {name: getattr(bars, name) * prices for name in PRICES}
    return replaced(bars, volume=bars.volume * volumes, **changed)


def replaced(bars: Bars, **columns: FloatArray | IntArray) -> Bars:
    known = {
        field.name: getattr(bars, field.name)
        for field in dataclasses.fields(bars)
        if field.name != "segment"
    }
    return Bars(**(known | columns))


def in_ticks(bars: Bars, tick: float) -> Bars:
    """Return the bars with prices rounded to ticks, so that many prices and moves are equal."""
    rounded = {name: np.round(getattr(bars, name) / tick) * tick for name in PRICES}
    return replaced(bars, **rounded)


def frozen(bars: Bars, rows: slice, *, volume: float | None = None) -> Bars:
    """Return the bars with one price, the open of the first frozen row, in all of these rows."""
    changed = {name: getattr(bars, name).copy() for name in (*PRICES, "volume")}
    for name in PRICES:
        changed[name][rows] = bars.open[rows.start]
    if volume is not None:
        changed["volume"][rows] = volume
    return replaced(bars, **changed)


def with_dust(bars: Bars, seed: int = 0) -> Bars:
    """Return the bars with the last bit of every price at random, as after a mean of two."""
    random = np.random.default_rng(seed)
    dusty = {
        name: np.nextafter(getattr(bars, name), random.choice([0.0, np.inf], len(bars)))
        for name in PRICES
    }
    return replaced(bars, **dusty)


def noise_after(bars: Bars, row: int, seed: int = 0) -> Bars:
    """Return the bars up to and including `row`, and then unrelated ones with other holes."""
    random = np.random.default_rng(seed)
    n_after = len(bars) - row - 1
    steps = np.cumsum(random.integers(1, 3, n_after))
    after = {name: random.uniform(1e-9, 1e9, n_after) for name in (*PRICES, "volume")}
    columns = {
        name: np.concatenate([getattr(bars, name)[: row + 1], after[name]]) for name in after
    }
    stamps = bars.timestamp[row] + steps * timeframe_ms(bars.timeframe)
    return replaced(bars, timestamp=np.concatenate([bars.timestamp[: row + 1], stamps]), **columns)


def troubled_markets() -> dict[str, Bars]:
    """Return markets of 1800 bars that move, stand still in some way, and move again."""
    market = random_bars(1800, seed=11)
    tiny = scaled(market, prices=1e-8, volumes=1e-9)
    still = frozen(market, slice(600, 1100))
    crash = {name: getattr(market, name).copy() for name in PRICES}
    for name in PRICES:
        crash[name][600:] *= 1e-5
    blinking = market
    for row in (500, 502, 600, 700, 701, 720):
        blinking = frozen(blinking, slice(row, row + 1))
    return {
        "moving": market,
        "still for 500 bars": still,
        "still for 500 bars without volume": frozen(market, slice(600, 1100), volume=0.0),
        "still for 100 bars, again and again": _frozen_often(market, 100, 130),
        "still for 13 of 15 bars": _frozen_often(market, 13, 15),
        "still but for the last bit": with_dust(frozen(market, slice(600, 1100))),
        "without volume": scaled(market, volumes=0.0),
        "still throughout": frozen(market, slice(0, 1800)),
        "still throughout without volume": frozen(market, slice(0, 1800), volume=0.0),
        "single still bars": blinking,
        "in coarse ticks": in_ticks(market, 0.05),
        "a crash to a hundred-thousandth": replaced(market, **crash),
        "tiny": tiny,
        "tiny and still for 500 bars": scaled(still, prices=1e-8, volumes=1e-9),
        "huge": scaled(market, prices=1e12, volumes=1e12),
        "quiet after a storm": _quiet_after_a_storm(market),
    }


def _frozen_often(bars: Bars, n_still: int, every: int) -> Bars:
    for start in range(600, len(bars) - n_still, every):
        bars = frozen(bars, slice(start, start + n_still))
    return bars


def _quiet_after_a_storm(bars: Bars) -> Bars:
    """Return moves of 0.2 %, then ten thousand times smaller ones."""
    path = np.concatenate([np.log(bars.close[:900]), np.log(bars.close[899]) + np.zeros(900)])
    path[900:] += 1e-4 * (np.log(bars.close[900:]) - np.log(bars.close[899]))
    close = np.exp(path)
    wick = np.where(np.arange(len(bars)) < 900, 1e-3, 1e-7)
    open_ = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    return replaced(bars, open=open_, high=high * (1 + wick), low=low * (1 - wick), close=close)
