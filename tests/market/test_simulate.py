"""Simulated markets obey the law they state, and say for ever that they are simulated."""

import re
import shlex
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from walkforge import market, study
from walkforge.base import BarsError, UsageError
from walkforge.market import (
    SIMULATED_MARKETS,
    BarStore,
    bars_from_frame,
    bars_to_frame,
    check_bars,
    instrument_of,
    markov_chain,
    planted_drift,
    resample,
    simulate,
)

YEAR_HOURS = 365.25 * 24
FIELDS = ("timestamp", "open", "high", "low", "close", "volume")


def log_returns(bars) -> np.ndarray:
    return np.diff(np.log(bars.close))


def kurtosis(values: np.ndarray) -> float:
    values = values - values.mean()
    return float((values**4).mean() / (values**2).mean() ** 2)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize("kind", SIMULATED_MARKETS)
def test_simulated_bars_are_clean_whole_and_on_the_tick_grid(kind):
    bars = simulate(kind, n_bars=3000, seed=3)
    assert len(bars) == 3000
    assert bars.segments == [slice(0, 3000)]
    assert check_bars(bars).usable
    assert (bars.provenance, bars.calendar, bars.venue) == ("simulated", "24/7", "simulated")
    tick_size = 1e-6 if kind in ("regimes", "markov") else 0.1
    for name in ("open", "high", "low", "close"):
        ticks = getattr(bars, name) / tick_size
        np.testing.assert_allclose(ticks, np.round(ticks), atol=1e-4)
    np.testing.assert_array_equal(bars.open[1:], bars.close[:-1])
    assert instrument_of(bars.venue, bars.symbol, bars).tick_size == 0.1


@pytest.mark.parametrize("kind", SIMULATED_MARKETS)
def test_the_same_seed_gives_the_same_bars_and_another_gives_others(kind):
    one, same, other = (simulate(kind, n_bars=300, seed=seed) for seed in (1, 1, 2))
    assert one.digest() == same.digest() != other.digest()
    assert simulate(kind, n_bars=300, seed=1, symbol="OTHER").digest() != one.digest()


@pytest.mark.parametrize("kind", SIMULATED_MARKETS)
def test_a_shorter_market_is_the_beginning_of_a_longer_one(kind):
    long, short = (simulate(kind, n_bars=n, seed=5) for n in (500, 300))
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(short, name), getattr(long, name)[:300])


@pytest.mark.parametrize("kind", SIMULATED_MARKETS)
def test_a_years_volatility_is_the_stated_one(kind):
    bars = simulate(kind, n_bars=40_000, seed=0, annual_volatility_frac=0.8, edge=0.0)
    assert log_returns(bars).std() * np.sqrt(YEAR_HOURS) == pytest.approx(0.8, rel=0.1)


def test_gbm_is_normal_and_garch_has_fat_tails_and_clustered_volatility():
    normal = log_returns(simulate("gbm", n_bars=20_000))
    fat = log_returns(simulate("garch", n_bars=20_000))
    assert kurtosis(normal) == pytest.approx(3, abs=0.2)
    assert kurtosis(fat) > 5
    assert abs(correlation(np.abs(normal[1:]), np.abs(normal[:-1]))) < 0.03
    assert correlation(np.abs(fat[1:]), np.abs(fat[:-1])) > 0.1


@pytest.mark.parametrize("kind", ["gbm", "garch", "regimes"])
def test_a_market_without_signal_has_no_expected_return(kind):
    bars = simulate(kind, n_bars=50_000, seed=2)
    simple = np.expm1(log_returns(bars))
    assert abs(simple.mean()) < 3 * simple.std() / np.sqrt(len(simple))
    for lag in (1, 2, 5):
        assert abs(correlation(simple[lag:], simple[:-lag])) < 0.02


def test_volume_is_positive_and_grows_with_the_move():
    bars = simulate("garch", n_bars=10_000)
    assert bars.volume.min() > 0
    assert correlation(np.log(bars.volume[1:]), np.abs(log_returns(bars))) > 0.3


def test_wicks_reach_beyond_the_body_as_a_walk_inside_the_bar_would():
    bars = simulate("gbm", n_bars=20_000)
    scale = log_returns(bars).std()
    # The range of a Brownian bridge with a free end over ten steps lies near 1.25 deviations.
    ranges = np.log(bars.high / bars.low) / scale
    assert ranges.mean() == pytest.approx(1.3, abs=0.15)


def test_planted_without_an_edge_is_garch():
    one = simulate("planted", n_bars=500, seed=4, edge=0.0)
    other = simulate("garch", n_bars=500, seed=4)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert not planted_drift(n_bars=500, seed=4, edge=0.0).any()


@pytest.mark.parametrize("edge", [0.3, 1.0])
def test_the_stated_drift_is_what_the_next_bar_does_on_average(edge):
    bars = simulate("planted", n_bars=40_000, seed=6, edge=edge)
    drift = planted_drift(n_bars=40_000, seed=6, edge=edge)[:-1]
    simple = np.expm1(log_returns(bars))
    slope = (drift @ simple) / (drift @ drift)
    error = simple.std() / np.sqrt(drift @ drift)
    assert slope == pytest.approx(1, abs=4 * error)
    assert error < 0.1


def test_an_oracle_earns_what_the_edge_states():
    # 0.43 is the mean of |tanh(a b)| for independent standard normal a and b.
    bars = simulate("planted", n_bars=60_000, seed=1, edge=0.3)
    drift = planted_drift(n_bars=60_000, seed=1, edge=0.3)[:-1]
    earned = np.sign(drift) * log_returns(bars)
    sharpe = earned.mean() / earned.std() * np.sqrt(YEAR_HOURS)
    assert sharpe == pytest.approx(0.43 * 0.3 * np.sqrt(YEAR_HOURS), rel=0.15)


def test_the_drift_is_known_at_the_close_and_never_later():
    long = planted_drift(n_bars=500, seed=5)
    np.testing.assert_array_equal(planted_drift(n_bars=300, seed=5), long[:300])


def test_the_pattern_can_be_told_from_the_bars_alone_by_slow_obvious_code():
    edge, n = 0.5, 4000
    bars = simulate("planted", n_bars=n, seed=8, edge=edge, tick_size=0.001)
    drift = planted_drift(n_bars=n, seed=8, edge=edge, tick_size=0.001)
    volatility = 0.6 / np.sqrt(YEAR_HOURS)
    returns = np.concatenate([[0.0], log_returns(bars)])
    angle = np.pi * (np.arange(20) + 0.5) / 20
    guessed = np.zeros(n)
    for t in range(100, n):
        recent = returns[t - 19 : t + 1][::-1]
        scaled = recent / max(returns[t - 49 : t + 1].std(), volatility / 10)
        slope = np.sqrt(2 / 20) * (np.cos(angle) @ scaled)
        curve = np.sqrt(2 / 20) * (np.cos(2 * angle) @ scaled)
        guessed[t] = np.tanh(slope * curve)
    assert correlation(guessed[100:], drift[100:]) > 0.9


def test_nothing_linear_in_past_returns_says_anything_about_the_next():
    n, lags = 40_000, 20
    returns = log_returns(simulate("planted", n_bars=n, seed=9, edge=0.3))
    past = np.lib.stride_tricks.sliding_window_view(returns[:-1], lags)
    ahead = returns[lags:]
    half = len(ahead) // 2
    weights = np.linalg.lstsq(past[:half], ahead[:half], rcond=None)[0]
    linear = correlation(past[half:] @ weights, ahead[half:])
    drift = planted_drift(n_bars=n, seed=9, edge=0.3)[lags:-1]
    oracle = correlation(drift[half:], ahead[half:])
    assert oracle > 0.12
    assert abs(linear) < 0.25 * oracle


def test_regimes_cluster_volatility_for_as_long_as_they_are_kept():
    n, lag = 60_000, 40
    moves = np.abs(log_returns(simulate("regimes", n_bars=n, seed=1, stay_frac=0.98)))
    near, far = (correlation(moves[k:], moves[:-k]) for k in (1, lag))
    # Of two bars so far apart a share of 0.97 to the power of the lag keeps its regime.
    assert near > 0.15
    assert far / near == pytest.approx(0.97 ** (lag - 1), abs=0.1)
    brief = np.abs(log_returns(simulate("regimes", n_bars=n, seed=1, stay_frac=1 / 3)))
    assert abs(correlation(brief[1:], brief[:-1])) < 0.02


@pytest.mark.parametrize("regimes", [2, 3])
def test_a_regime_is_twice_as_wild_as_the_calmer_one(regimes):
    law = {"n_bars": 60_000, "seed": 2, "regimes": regimes, "tail_dof": 1e9}
    bars = simulate("regimes", stay_frac=0.9999, **law)
    weekly = log_returns(bars)[:59_976].reshape(-1, 168).std(axis=1)
    levels = 2.0 ** np.arange(regimes) / np.sqrt((4.0 ** np.arange(regimes)).mean())
    levels *= 0.6 / np.sqrt(YEAR_HOURS)
    nearest = np.abs(np.log(weekly[:, None] / levels)).min(axis=1)
    assert np.median(nearest) < 0.05
    seen = np.abs(np.log(weekly[:, None] / levels)).argmin(axis=1)
    assert set(seen) == set(range(regimes))


@pytest.mark.parametrize("timeframe", ["1m", "1h"])
def test_over_300_000_bars_regimes_rise_as_often_as_they_fall(timeframe):
    bars = simulate("regimes", n_bars=300_000, seed=1, timeframe=timeframe)
    simple = bars.close / bars.open - 1
    assert abs((simple > 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(len(simple))
    assert abs(simple.mean()) < 4 * simple.std() / np.sqrt(len(simple))


def test_wild_regimes_are_as_fair_as_calm_ones():
    # Were it log returns that have no mean, 48 of a hundred of these bars would rise.
    law = {"n_bars": 1000, "timeframe": "1d", "annual_volatility_frac": 2.0}
    many = [simulate("regimes", seed=seed, **law) for seed in range(60)]
    simple = np.concatenate([bars.close / bars.open - 1 for bars in many])
    assert abs((simple > 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(len(simple))
    assert abs(simple.mean()) < 4 * simple.std() / np.sqrt(len(simple))


def test_no_bar_of_regimes_loses_everything():
    law = {"timeframe": "1w", "annual_volatility_frac": 6.0, "price": 1e6}
    simple = np.expm1(log_returns(simulate("regimes", n_bars=40, seed=1, **law)))
    assert (simple.min(), simple.max()) == (pytest.approx(-0.9), pytest.approx(0.9))


def test_nothing_that_is_known_tells_the_sign_of_a_regimes_next_bar():
    simple = np.expm1(log_returns(simulate("regimes", n_bars=60_000, seed=3)))
    for known in (np.abs(simple[:-1]), simple[:-1] ** 2, np.sign(simple[:-1])):
        assert abs(correlation(known, simple[1:])) < 0.02


def states_of(bars, chain) -> np.ndarray:
    return np.searchsorted(chain.limits, np.log(bars.close / bars.open))


def transitions(states: np.ndarray, n_states: int) -> np.ndarray:
    counts = np.zeros((n_states, n_states))
    np.add.at(counts, (states[:-1], states[1:]), 1)
    return counts


def frequencies(states: np.ndarray, n_states: int) -> np.ndarray:
    counts = transitions(states, n_states)
    return counts / counts.sum(axis=1, keepdims=True)


def deviations_of(bars, chain) -> float:
    """Return by how many standard deviations the bars' chi-squared lies above what chance gives."""
    n_states = len(chain.transition)
    counts = transitions(states_of(bars, chain), n_states)
    expected = counts.sum(axis=1, keepdims=True) * chain.transition
    free = n_states * (n_states - 1)
    return float((((counts - expected) ** 2 / expected).sum() - free) / np.sqrt(2 * free))


@pytest.mark.parametrize("timeframe", ["1m", "1h"])
@pytest.mark.parametrize("seed", [0, 1])
def test_300_000_bars_tell_the_matrix_and_the_entropy_within_their_own_error(timeframe, seed):
    n_bars = 300_000
    bars = simulate("markov", n_bars=n_bars, seed=seed, timeframe=timeframe)
    chain = markov_chain(seed=seed, timeframe=timeframe)
    assert deviations_of(bars, chain) < 4
    truth, counted = chain.transition, frequencies(states_of(bars, chain), 8)
    error = np.sqrt(truth * (1 - truth) / (n_bars / 8))
    assert (np.abs(counted - truth) / error).max() < 4.5
    surprise = -np.log(truth)
    entropy_error = np.sqrt(((truth / 8) * (surprise - chain.entropy_nats) ** 2).sum() / n_bars)
    assert entropy_error < 0.002
    # Counting 56 free probabilities makes them look surer than they are, by that over 2n.
    entropy = -(counted * np.log(counted)).sum(axis=1).mean() + 56 / (2 * n_bars)
    assert entropy == pytest.approx(chain.entropy_nats, abs=4 * entropy_error)


@pytest.mark.parametrize("states", [2, 8, 40])
def test_at_the_coarsest_tick_one_bar_in_a_hundred_shows_another_state(states):
    law = {"seed": 5, "states": states, "edge": 0.2, "annual_volatility_frac": 0.1}
    fine = simulate("markov", n_bars=20_000, **law)
    move = 0.1 / np.sqrt(YEAR_HOURS) * fine.low.min()
    coarse = simulate("markov", n_bars=20_000, tick_size=move / (10.5 * states), **law)
    chain = markov_chain(**law)
    wrong = (states_of(fine, chain) != states_of(coarse, chain)).mean()
    assert 0.001 < wrong < 0.01
    with pytest.raises(
        BarsError, match=rf"a bar's volatility falls to .*, less than {10 * states};"
    ):
        simulate("markov", n_bars=20_000, tick_size=move / (9 * states), **law)


def test_the_documentation_asks_for_the_truth_about_a_studys_second_symbol():
    page = (Path(__file__).parents[2] / "docs" / "market.md").read_text()
    example = next(
        one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "truth" in one
    )
    told: dict[str, Any] = {"market": market}
    exec(example, told)
    words = shlex.split(example.splitlines()[0])[4:]
    assert words[0] == "data.source=simulated"
    plain = study.plain_of_overrides([*words, "data.simulated.n_bars=60_000"])
    bars = study.read_bars(study.from_plain(plain, "docs"))
    assert deviations_of(bars["AAA"], told["truth_of_aaa"]) < 4
    assert deviations_of(bars["BBB"], told["truth_of_bbb"]) < 4
    assert deviations_of(bars["BBB"], told["truth_of_aaa"]) > 20


@pytest.mark.parametrize("seed", [0, 5])
def test_the_next_state_of_a_markov_market_comes_as_often_as_the_matrix_says(seed):
    chain = markov_chain(seed=seed)
    bars = simulate("markov", n_bars=80_000, seed=seed, symbol="ANY")
    states = states_of(bars, chain)
    np.testing.assert_allclose(np.bincount(states) / len(states), 1 / 8, atol=0.01)
    error = np.sqrt(chain.transition * (1 - chain.transition) / (len(states) / 8))
    off = np.abs(frequencies(states, 8) - chain.transition) / error
    assert off.max() < 4.5
    assert chain.transition.max() > 0.25


def test_the_states_before_the_last_one_say_nothing_more():
    chain = markov_chain(seed=1, states=3)
    bars = simulate("markov", n_bars=80_000, seed=1, states=3)
    states = states_of(bars, chain)
    for before in range(3):
        after = np.flatnonzero(states[:-2] == before) + 1
        counts = np.zeros((3, 3))
        np.add.at(counts, (states[after], states[after + 1]), 1)
        given = counts.sum(axis=1, keepdims=True)
        error = np.sqrt(chain.transition * (1 - chain.transition) / given)
        assert (np.abs(counts / given - chain.transition) / error).max() < 4.5


def test_moves_of_a_markov_market_out_of_their_order_are_those_of_gbm():
    scaled = log_returns(simulate("markov", n_bars=40_000, seed=4)) / (0.6 / np.sqrt(YEAR_HOURS))
    assert kurtosis(scaled) == pytest.approx(3, abs=0.15)
    for level, share in ((-1.2816, 0.1), (0.0, 0.5), (1.2816, 0.9)):
        assert (scaled < level).mean() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("edge", [0.0, 0.3, 0.5])
def test_the_largest_expected_move_of_a_markov_market_is_its_edge(edge):
    chain = markov_chain(seed=2, edge=edge)
    bars = simulate("markov", n_bars=80_000, seed=2, edge=edge)
    states, moves = states_of(bars, chain), np.log(bars.close / bars.open)
    scaled = (moves - moves.mean()) / (0.6 / np.sqrt(YEAR_HOURS))
    expected = np.array([scaled[1:][states[:-1] == state].mean() for state in range(8)])
    assert np.abs(expected).max() == pytest.approx(edge, abs=0.035)


def test_entropy_is_what_stays_unknown_of_the_next_state():
    assert markov_chain(edge=0.0, states=5).entropy_nats == pytest.approx(np.log(5))
    chain = markov_chain(seed=3)
    slow = 0.0
    for row in chain.transition:
        slow -= sum(p * np.log(p) for p in row) / 8
    assert chain.entropy_nats == pytest.approx(slow)
    entropies = [markov_chain(seed=3, edge=edge).entropy_nats for edge in (0.0, 0.2, 0.4, 0.5)]
    assert entropies == sorted(entropies, reverse=True)
    # What the market itself gives away, counted, is as much.
    bars = simulate("markov", n_bars=80_000, seed=3)
    counted = frequencies(states_of(bars, chain), 8)
    assert -(counted * np.log(counted)).sum(axis=1).mean() == pytest.approx(
        chain.entropy_nats, abs=0.01
    )


def test_a_matrix_is_fair_to_every_state_and_made_by_the_seed_alone():
    one, other = markov_chain(seed=1), markov_chain(seed=2)
    assert not np.array_equal(one.transition, other.transition)
    np.testing.assert_array_equal(one.transition, markov_chain(seed=1, timeframe="1m").transition)
    for axis in (0, 1):
        np.testing.assert_allclose(one.transition.sum(axis=axis), 1.0)


def test_an_edge_that_the_states_cannot_give_is_refused():
    with pytest.raises(UsageError, match=r"edge 1.9 is more than the 8 states of markov seed 0"):
        simulate("markov", n_bars=5, edge=1.9)
    with pytest.raises(UsageError, match="states 1 is impossible"):
        markov_chain(states=1)
    with pytest.raises(UsageError, match="regimes 4 is impossible"):
        simulate("regimes", n_bars=5, regimes=4)
    with pytest.raises(UsageError, match=r"stay_frac 1.0 is impossible"):
        simulate("regimes", n_bars=5, stay_frac=1.0)


@pytest.mark.parametrize("kind", SIMULATED_MARKETS)
def test_simulated_stays_simulated_whatever_is_done_with_the_bars(kind, tmp_path):
    bars = simulate(kind, n_bars=400, timeframe="1m")
    store = BarStore(tmp_path)
    store.write(bars)
    stored = store.read("simulated", "SIMUSDT", "1m")
    again = bars_from_frame(
        bars_to_frame(stored),
        venue=stored.venue,
        symbol=stored.symbol,
        timeframe=stored.timeframe,
        provenance=stored.provenance,
    )
    made = (resample(bars, "5m").take(slice(3, 20)), bars.between(None, None), stored, again)
    assert [one.provenance for one in made] == ["simulated"] * 4
    first = f"simulated: {kind}, seed 0, from 2020-01-01 00:00"
    assert [one.history[0] for one in made[:3]] == [first] * 3
    with pytest.raises(BarsError, match="never mixed"):
        store.write(bars_from_frame(bars_to_frame(bars), **named(bars), provenance="exchange"))


def named(bars) -> dict[str, str]:
    return {"venue": bars.venue, "symbol": bars.symbol, "timeframe": bars.timeframe}


def test_a_study_takes_every_simulated_market():
    kinds = get_type_hints(study.SimulatedMarket)["kind"]
    assert get_args(kinds) == SIMULATED_MARKETS


def test_no_bars_are_no_trouble():
    assert len(simulate("garch", n_bars=0)) == 0
    assert len(planted_drift(n_bars=0)) == 0


def test_nonsense_is_refused():
    with pytest.raises(UsageError, match=r"unknown simulated market 'gbn' \(did you mean 'gbm'"):
        simulate("gbn", n_bars=5)
    with pytest.raises(UsageError, match=r"unknown rule of a simulated market 'egde'"):
        simulate("gbm", n_bars=5, egde=1)
    for law, words in {
        "edge": (-1.0, "0 to 2"),
        "pattern_bars": (2, "3 to 500"),
        "annual_volatility_frac": (0.0, "a fraction above 0 and below 10"),
        "memory": (0.99, "0 to just below 0.94"),
        "tick_size": (500.0, "above 0, at most 400"),
        "price": (float("nan"), "any above 0"),
    }.items():
        with pytest.raises(UsageError, match=f"^simulated market: {law} {words[0]} is impossible; "
                           f"expected {words[1]}$"):  # fmt: skip
            simulate("planted", n_bars=5, **{law: words[0]})
    with pytest.raises(UsageError, match="n_bars must be at least 0"):
        simulate("gbm", n_bars=-1)
    with pytest.raises(
        BarsError, match=r"SIMUSDT: the price falls to \d+ ticks, fewer than 50; take"
    ):
        simulate("gbm", n_bars=20_000, annual_volatility_frac=4.0)
