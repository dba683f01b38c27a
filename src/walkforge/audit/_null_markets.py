"""Markets without anything to know about direction, by the hundred.

`garch`   GARCH(1,1) with Student-t shocks: volatility that clusters, fat tails, nothing else.
`signs`   Real bars, the move of each mirrored or not by a fair coin: all of real volatility, volume
          and time of day, and no direction.
`blocks`  Real bars, cut into blocks of 24 that are put together in random order: what happens
          within a block, and no memory beyond it.

`signs` is a null in the strict sense: given everything before, up and down are equally likely. In
`blocks` whatever real bars tell of the next few bars stays, so that models that are let out there
are false alarms or finds: their rate bounds that of false alarms from above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from walkforge.base import BoolArray, FloatArray, UsageError, derive_seed, one_of
from walkforge.market import Bars, instrument_of, simulate

_BLOCK_BARS = 24
# Mirrored or shuffled prices wander; where they fall below so many ticks the grid would show.
_FEWEST_TICKS = 50.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """What null markets are made from."""

    kind: str
    seed: int
    n_bars: int
    timeframe: str
    real: Sequence[Bars] = ()
    """Series that `signs` and `blocks` are made from, in turns."""


def null_market(recipe: Recipe, number: int) -> Bars:
    """Return the market of a number, counted from 0; it depends on recipe and number alone.

    Raises UsageError for an unknown kind, or where a kind of real bars has none.
    """
    make = _KINDS[one_of("null market", recipe.kind, _KINDS)]
    return make(recipe, number)


def _garch(recipe: Recipe, number: int) -> Bars:
    return simulate(
        "garch",
        n_bars=recipe.n_bars,
        seed=derive_seed(recipe.seed, "null market", number),
        symbol=name_of(number),
        timeframe=recipe.timeframe,
    )


def _signs(recipe: Recipe, number: int) -> Bars:
    real = _real(recipe, number)
    mirrored = _random(recipe, number).random(len(real)) < 0.5
    return _rebuilt(recipe, number, real, _Moves.of(real).mirrored(mirrored))


def _blocks(recipe: Recipe, number: int) -> Bars:
    real = _real(recipe, number)
    starts = np.arange(0, len(real), _BLOCK_BARS)
    order = _random(recipe, number).permutation(len(starts))
    rows = np.concatenate(
        [np.arange(start, min(start + _BLOCK_BARS, len(real))) for start in starts[order]]
    )
    return _rebuilt(recipe, number, real, _Moves.of(real).take(rows))


_KINDS: dict[str, Callable[[Recipe, int], Bars]] = {
    "garch": _garch,
    "signs": _signs,
    "blocks": _blocks,
}

NULL_MARKETS = tuple(_KINDS)


def name_of(number: int) -> str:
    """Return the symbol of a market."""
    return f"M{number:04d}"


_MOVES = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class _Moves:
    """Log moves of bars (n,) from the close before: of open, high, low and close; and volume."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    @classmethod
    def of(cls, bars: Bars) -> _Moves:
        before = np.log(np.concatenate([bars.open[:1], bars.close[:-1]]))
        prices = (bars.open, bars.high, bars.low, bars.close)
        opens, highs, lows, closes = (np.log(price) - before for price in prices)
        return cls(opens, highs, lows, closes, bars.volume)

    def take(self, rows: np.ndarray) -> _Moves:
        return replace(self, **{name: getattr(self, name)[rows] for name in _MOVES})

    def mirrored(self, chosen: BoolArray) -> _Moves:
        """Return the moves with those of the chosen bars turned upside down."""
        sign = np.where(chosen, -1.0, 1.0)
        return _Moves(
            sign * self.open,
            np.where(chosen, -self.low, self.high),
            np.where(chosen, -self.high, self.low),
            sign * self.close,
            self.volume,
        )


def _real(recipe: Recipe, number: int) -> Bars:
    if not recipe.real:
        raise UsageError(
            f"null markets of kind {recipe.kind!r} are made from real bars, and the study has "
            "none; name a folder with --bars, or take garch"
        )
    one = recipe.real[number % len(recipe.real)]
    return one.take(slice(max(0, len(one) - recipe.n_bars), len(one)))


def _random(recipe: Recipe, number: int) -> np.random.Generator:
    return np.random.default_rng(derive_seed(recipe.seed, "null market", recipe.kind, number))


def _rebuilt(recipe: Recipe, number: int, real: Bars, moves: _Moves) -> Bars:
    """Return bars at the times of real ones, with these moves, on their grid of ticks."""
    tick = instrument_of(real.venue, real.symbol, real).tick_size
    before = np.log(real.open[0]) + np.concatenate([[0.0], np.cumsum(moves.close)[:-1]])
    prices = {
        name: np.exp(before + getattr(moves, name)) for name in ("open", "high", "low", "close")
    }
    lowest = float(prices["low"].min())
    tick = min(tick, lowest / _FEWEST_TICKS)
    prices = {name: np.round(np.round(price / tick) * tick, 12) for name, price in prices.items()}
    return replace(
        real,
        venue="simulated",
        symbol=name_of(number),
        **prices,
        volume=moves.volume,
        provenance="simulated",
        history=(f"{recipe.kind} of {real.name}, seed {recipe.seed}, market {number}",),
        more={},
    )
