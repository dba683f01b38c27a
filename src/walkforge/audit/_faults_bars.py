"""Faults of the bars: made ones passed off as real, wrong clocks, and the dead left out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from walkforge.base import FloatArray, timeframe_ms
from walkforge.market import Asset, Bars, Universe, write_universe

from ._guards_bars import is_long_and_fine, tick_of
from ._plant import Fault, in_bars
from ._specimen import Specimen

_BLOCK_BARS = 250
_HOUR_MS = 3_600_000
_ZONE_HOURS = -5
_OFF_GRID = np.pi / 3.0
LENT_SYMBOL = "GONE"
_PRICES = ("open", "high", "low", "close")


def _remade(bars: Bars, moves: FloatArray, above: FloatArray, below: FloatArray) -> Bars:
    """Return bars that walk by log `moves` (n,) on the same ticks, with shadows (n,) in logs."""
    log_close = np.log(bars.close[0]) + np.cumsum(moves)
    log_open = np.append(np.log(bars.open[0]), log_close[:-1])
    tick = tick_of(bars) or 0.0
    top, bottom = np.maximum(log_open, log_close) + above, np.minimum(log_open, log_close) - below
    levels = {"open": log_open, "high": top, "low": bottom, "close": log_close}
    prices: dict[str, Any] = {n: _on_ticks(np.exp(v), tick) for n, v in levels.items()}
    return replace(bars, **prices)


def _on_ticks(prices: FloatArray, tick: float) -> FloatArray:
    on_grid = np.round(prices / tick) * tick if tick else prices
    return np.maximum(np.round(on_grid, 10), tick or 1e-10)


def _walk(bars: Bars) -> Bars:
    """A geometric Brownian motion of the same volatility, with the real stamps and volumes."""
    random = np.random.default_rng(0)
    spread = float(np.diff(np.log(bars.close)).std())
    shadows = np.abs(random.normal(0.0, spread / 2, (2, len(bars))))
    return _remade(bars, random.normal(0.0, spread, len(bars)), *shadows)


def _blocks(bars: Bars) -> Bars:
    """Blocks out of the first eighth of the bars, one after the other."""
    random = np.random.default_rng(0)
    pool = max(len(bars) // 8, 2 * _BLOCK_BARS)
    starts = random.integers(1, pool - _BLOCK_BARS, -(-len(bars) // _BLOCK_BARS))
    rows = (starts[:, None] + np.arange(_BLOCK_BARS)).ravel()[: len(bars)]
    moves = np.log(bars.close[rows] / bars.close[rows - 1])
    above = np.log(bars.high[rows] / np.maximum(bars.open[rows], bars.close[rows]))
    below = np.log(np.minimum(bars.open[rows], bars.close[rows]) / bars.low[rows])
    remade = _remade(bars, moves, np.maximum(above, 0.0), np.maximum(below, 0.0))
    return replace(remade, volume=bars.volume[rows])


def _off_ticks(bars: Bars) -> Bars:
    prices: dict[str, Any] = {name: getattr(bars, name) * _OFF_GRID for name in _PRICES}
    return replace(bars, **prices)


def _without_gaps(bars: Bars) -> Bars:
    """Every bar a timeframe after the one before, each with a trade."""
    stamps = bars.timestamp[0] + np.arange(len(bars)) * timeframe_ms(bars.timeframe)
    least = float(bars.volume[bars.volume > 0].min(initial=1.0))
    return replace(bars, timestamp=stamps, volume=np.maximum(bars.volume, least))


def _in_new_york(bars: Bars) -> Bars:
    return replace(bars, timestamp=bars.timestamp + _ZONE_HOURS * _HOUR_MS)


def _claims_real(specimen: Specimen) -> str | None:
    made = all(one.provenance == "simulated" for one in specimen.source.values())
    return "the study's bars are simulated, and say so" if made else None


def _has_ticks(specimen: Specimen) -> str | None:
    if all(tick_of(one) is None for one in specimen.source.values()):
        return "the study's own bars lie on no grid of ticks"
    return _claims_real(specimen)


def _has_gaps(specimen: Specimen) -> str | None:
    if not any(is_long_and_fine(one) for one in specimen.source.values()):
        return "the study's bars are not minutes of half a year or more, where gaps are due"
    return _claims_real(specimen)


@contextmanager
def lent_universe(sound: Specimen) -> Iterator[Specimen]:
    """Lend a study a universe: its own symbols, and a twin of one that died half-way.

    A study that names its symbols has nothing that could tell what died beside them.
    """
    bars = next(iter(sound.source.values()))
    half = replace(bars, symbol=LENT_SYMBOL).take(slice(0, len(bars) // 2))
    gone_ms = int(half.closes_at[-1])
    lives = {one.symbol: _asset(one) for one in sound.source.values()}
    lives[LENT_SYMBOL] = _asset(half, delisted_ms=gone_ms)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lent.yaml"
        write_universe(path, Universe("lent", tuple(lives.values())))
        data = replace(sound.study.data, universe=str(path), symbols=())
        lent = replace(sound.from_stage("bars"), study=replace(sound.study, data=data))
        lent.source = {**sound.source, LENT_SYMBOL: half}
        yield lent


def _asset(bars: Bars, delisted_ms: int | None = None) -> Asset:
    return Asset(
        symbol=bars.symbol,
        venue=bars.venue,
        category="lent",
        currency="USD",
        calendar=bars.calendar,
        delisted_ms=delisted_ms,
    )


@contextmanager
def _only_survivors(sound: Specimen) -> Iterator[Specimen]:
    """Drop every series that ends before the others do."""
    with lent_universe(sound) as lent:
        end_ms = max(int(one.closes_at[-1]) for one in lent.source.values())
        alive = {n: one for n, one in lent.source.items() if int(one.closes_at[-1]) == end_ms}
        lent.source = alive
        yield lent


BAR_FAULTS: tuple[Fault, ...] = (
    Fault(name="survivors_only", says="symbols that died are left out", stage="bars",
          planted=_only_survivors),
    in_bars("random_walk", "a geometric Brownian motion is passed off as real bars", _walk,
            _claims_real),
    in_bars("repeated_blocks", "blocks of real bars are repeated and passed off as a longer past",
            _blocks, _claims_real),
    in_bars("no_ticks", "prices lie on no grid of ticks", _off_ticks, _has_ticks),
    in_bars("no_gaps", "made bars have no hole and no bar without a trade", _without_gaps,
            _has_gaps),
    in_bars("wrong_time_zone", "stamps are in New York time and are taken for UTC", _in_new_york,
            _claims_real),
)  # fmt: skip
