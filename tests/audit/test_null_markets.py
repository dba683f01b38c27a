"""Null markets keep what they claim: what is real of them stays, and direction is gone."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from scipy.stats import binomtest

from drawn import random_bars
from walkforge.audit import NULL_MARKETS, Recipe, null_market
from walkforge.base import UsageError
from walkforge.market import Bars

REAL = random_bars(3000, seed=3, symbol="REAL")


def _recipe(kind: str, **more) -> Recipe:
    return Recipe(kind, **{"seed": 5, "n_bars": 2400, "timeframe": "1m", "real": (REAL,)} | more)


def _moves(bars: Bars) -> dict[str, np.ndarray]:
    """Return log moves of each price from the close before (n - 1,)."""
    before = np.log(bars.close[:-1])
    prices = {"open": bars.open, "high": bars.high, "low": bars.low, "close": bars.close}
    return {name: np.log(price[1:]) - before for name, price in prices.items()}


@pytest.fixture(scope="module")
def source() -> Bars:
    return REAL.take(slice(600, 3000))


@pytest.mark.parametrize("kind", NULL_MARKETS)
def test_a_market_depends_on_its_recipe_and_number_alone(kind):
    alone = null_market(_recipe(kind), 7)
    after_others = [null_market(_recipe(kind), number) for number in (0, 3, 7)][-1]
    assert alone.digest() == after_others.digest()
    assert alone.digest() != null_market(_recipe(kind), 8).digest()
    assert alone.digest() != null_market(_recipe(kind, seed=6), 7).digest()


@pytest.mark.parametrize("kind", NULL_MARKETS)
def test_a_market_has_the_bars_asked_for_and_is_known_as_simulated(kind):
    market = null_market(_recipe(kind), 12)
    assert (market.symbol, market.timeframe, len(market)) == ("M0012", "1m", 2400)
    assert market.provenance == "simulated"
    assert (market.high >= np.maximum(market.open, market.close)).all()
    assert (market.low <= np.minimum(market.open, market.close)).all()
    assert (market.low > 0).all()


def test_signs_keep_times_volumes_and_the_size_of_every_move(source):
    market = null_market(_recipe("signs"), 1)
    assert (market.timestamp == source.timestamp).all()
    assert (market.volume == source.volume).all()
    tick_moves = 3 * 0.01 / market.low.min()  # three prices, each rounded to the grid
    made, real = _moves(market), _moves(source)
    np.testing.assert_allclose(np.abs(made["close"]), np.abs(real["close"]), atol=tick_moves)


def test_signs_turn_a_bar_upside_down_with_its_highs_and_lows(source):
    made, real = _moves(null_market(_recipe("signs"), 1)), _moves(source)
    clear = np.abs(real["close"]) > 1e-3
    mirrored = clear & (np.sign(made["close"]) != np.sign(real["close"]))
    kept = clear & ~mirrored
    assert 0.4 < mirrored.sum() / clear.sum() < 0.6
    tick = 5e-4
    np.testing.assert_allclose(made["high"][mirrored], -real["low"][mirrored], atol=tick)
    np.testing.assert_allclose(made["low"][mirrored], -real["high"][mirrored], atol=tick)
    np.testing.assert_allclose(made["open"][mirrored], -real["open"][mirrored], atol=tick)
    np.testing.assert_allclose(made["high"][kept], real["high"][kept], atol=tick)


def test_signs_take_the_direction_out_of_a_market_that_only_rises():
    rising = REAL.close[0] * np.exp(1e-3 * np.arange(3000))
    steps = np.concatenate([rising[:1], rising[:-1]])
    real = replace(
        REAL, open=steps, close=rising, high=np.maximum(steps, rising), low=steps, more={}
    )
    moves = [_moves(null_market(_recipe("signs", real=(real,)), n))["close"] for n in range(4)]
    ups = int(sum((move > 0).sum() for move in moves))
    assert binomtest(ups, sum(map(len, moves))).pvalue > 0.01
    # Nor does a move tell of the next one.
    same = int(sum((np.sign(move[1:]) == np.sign(move[:-1])).sum() for move in moves))
    assert binomtest(same, sum(len(move) - 1 for move in moves)).pvalue > 0.01


def test_blocks_hold_the_same_moves_in_another_order(source):
    market = null_market(_recipe("blocks"), 2)
    assert (market.timestamp == source.timestamp).all()
    assert sorted(market.volume) == sorted(source.volume)
    assert (market.volume != source.volume).any()
    total = log(market.close[-1]) - log(source.close[-1])
    assert abs(total) < 2400 * 0.01 / market.low.min()  # but for the grid, the same end
    # Within a block of 24 bars their order stays.
    first = np.flatnonzero(source.volume == market.volume[0])[0]
    assert (market.volume[:24] == source.volume[first : first + 24]).all()


def test_markets_are_made_from_the_real_series_in_turns():
    two = (REAL, replace(REAL, symbol="OTHER"))
    histories = [null_market(_recipe("signs", real=two), n).history[0] for n in range(3)]
    assert ["OTHER" in text for text in histories] == [False, True, False]


def test_real_kinds_without_real_bars_say_what_to_do():
    with pytest.raises(UsageError, match="name a folder with --bars, or take garch"):
        null_market(_recipe("signs", real=()), 0)


def test_an_unknown_kind_names_those_there_are():
    with pytest.raises(UsageError, match="did you mean 'garch'"):
        null_market(_recipe("garhc"), 0)
