"""Block bootstraps: against theory, slow code and the truth that they should hold."""

import math

import numpy as np
import pytest

from walkforge.statistics import FEWEST_VALUES, block_bootstrap, optimal_block_length
from walkforge.statistics._block_bootstrap import _circular, _stationary

KINDS = ["circular", "stationary"]


def _mean(drawn: np.ndarray) -> np.ndarray:
    return drawn.mean(axis=1)


def _interval(values: np.ndarray, kind="circular", seed: int = 0, n_resamples: int = 400):
    return block_bootstrap(values, _mean, n_resamples=n_resamples, seed=seed, unit="x", kind=kind)


def _with_memory(random: np.random.Generator, n: int, rho: float) -> np.ndarray:
    """Return an autoregression of order 1 after it has forgotten its start."""
    shocks = random.normal(size=n + 100)
    series = np.zeros(n + 100)
    for i in range(1, n + 100):
        series[i] = rho * series[i - 1] + shocks[i]
    return series[100:]


# The length of a block


def slow_politis_white(series: np.ndarray) -> dict[str, float]:
    """Return both lengths by the definitions of the papers of 2004 and 2009, term by term."""
    n, mean = len(series), sum(series) / len(series)
    centred = [x - mean for x in series]

    def covariance(k):
        return sum(centred[i] * centred[i + k] for i in range(n - k)) / n

    quiet, most = max(5, int(math.log10(n))), math.ceil(math.sqrt(n)) + max(5, int(math.log10(n)))
    band = 2 * math.sqrt(math.log10(n) / n)
    loud = []
    for k in range(most + 1):
        early = sum(x * x for x in centred[: n - k - 1])
        late = sum(x * x for x in centred[k + 1 :])
        loud.append(abs(covariance(k) * n) / math.sqrt(early * late) >= band)
    starts = [k for k in range(most - quiet + 1) if not any(loud[k : k + quiet])]
    m = min(2 * max(starts[0], 1), most) if starts else most

    def window(x):
        return 1.0 if abs(x) <= 0.5 else 2 * (1 - abs(x))

    lags = range(-m, m + 1)
    slope = sum(window(k / m) * abs(k) * covariance(abs(k)) for k in lags)
    level = sum(window(k / m) * covariance(abs(k)) for k in lags)
    longest = math.ceil(min(3 * math.sqrt(n), n / 3))
    constants = {"circular": 4 / 3, "stationary": 2.0}
    return {
        kind: min(longest, (2 * slope**2 / (constant * level**2) * n) ** (1 / 3))
        for kind, constant in constants.items()
    }


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.9])
def test_the_length_is_that_of_politis_and_whites_rule(rho):
    series = _with_memory(np.random.default_rng(5), 200, rho)
    slow = slow_politis_white(series)
    for kind in KINDS:
        found = optimal_block_length(series, kind=kind)
        assert found == pytest.approx(max(1.0, slow[kind]), rel=1e-9)


@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_the_length_is_about_the_best_one_of_an_autoregression(rho):
    # Patton, Politis and White (2009): (2 G^2 / D)^(1/3) n^(1/3) with D = 4/3 g^2 for the circular
    # and 2 g^2 for the stationary bootstrap; an AR(1) has G / g = 2 rho / (1 - rho^2).
    n, random = 2000, np.random.default_rng(1)
    root = 2 * rho / (1 - rho**2)
    best = {"circular": (1.5 * root**2 * n) ** (1 / 3), "stationary": (root**2 * n) ** (1 / 3)}
    series = [_with_memory(random, n, rho) for _ in range(40)]
    for kind in KINDS:
        found = [optimal_block_length(one, kind=kind) for one in series]
        assert np.mean(found) == pytest.approx(best[kind], rel=0.15)


def test_short_constant_and_independent_values_need_no_blocks():
    for kind in KINDS:
        assert optimal_block_length(np.zeros(0), kind=kind) == 1.0
        assert optimal_block_length(np.arange(FEWEST_VALUES - 1.0), kind=kind) == 1.0
        assert optimal_block_length(np.full(500, 0.1), kind=kind) == 1.0
        assert optimal_block_length(np.random.default_rng(2).normal(size=4000), kind=kind) < 5


def test_a_long_series_is_measured_in_cells_and_says_about_the_same():
    series = _with_memory(np.random.default_rng(3), 12_000, 0.95)
    found = optimal_block_length(series, kind="circular")
    cells = optimal_block_length(series.reshape(4000, 3).mean(axis=1), kind="circular")
    whole = optimal_block_length(series[:4000], kind="circular")
    assert found == 3 * cells
    # Three times the values make the best length 3^(1/3) times as long.
    assert found == pytest.approx(whole * 3 ** (1 / 3), rel=0.3)
    assert optimal_block_length(np.random.default_rng(4).normal(size=40_000), kind="circular") >= 10


# What is drawn


def test_circular_blocks_have_one_length_and_go_on_at_the_first_value():
    drawn = _circular(np.random.default_rng(0), np.arange(50.0), 6.3, 300)
    step = np.diff(drawn, axis=1) % 50
    inside = np.arange(1, 50) % 7 != 0
    assert drawn.shape == (300, 50)
    assert (step[:, inside] == 1).all()
    assert (step[:, ~inside] != 1).mean() > 0.9
    assert ((drawn[:, :-1] == 49) & (step == 1)).any()


def test_stationary_blocks_have_geometric_lengths():
    drawn = _stationary(np.random.default_rng(0), np.arange(5000.0), 8.0, 40)
    breaks = np.diff(drawn, axis=1) % 5000 != 1
    runs = np.concatenate([np.diff(np.flatnonzero(row)) for row in breaks])
    assert runs.mean() == pytest.approx(8.0, rel=0.03)
    for length in (2, 5, 20):
        assert (runs >= length).mean() == pytest.approx((7 / 8) ** (length - 1), abs=0.01)
    assert np.unique(drawn).size > 4900


def test_the_variance_of_the_mean_is_that_of_the_papers():
    n, length = 120, 6
    values = _with_memory(np.random.default_rng(4), n, 0.6)
    centred = values - values.mean()
    around = np.concatenate([centred, centred[:length]])
    blocks = [around[start : start + length].mean() for start in range(n)]
    circular = length / n * np.mean(np.square(blocks))
    # Politis and Romano (1994), lemma 1, with autocovariances around the circle.
    stationary = np.mean(centred**2) + 2 * sum(
        (1 - k / n) * (1 - 1 / length) ** k * np.mean(centred * np.roll(centred, -k))
        for k in range(1, n)
    )
    for draw, expected in ((_circular, circular), (_stationary, stationary / n)):
        means = draw(np.random.default_rng(1), values, float(length), 40_000).mean(axis=1)
        assert means.mean() == pytest.approx(values.mean(), abs=0.01)
        assert means.var() == pytest.approx(expected, rel=0.03)


# Intervals


@pytest.mark.parametrize("kind", KINDS)
def test_an_interval_of_independent_values_is_about_two_standard_errors_wide(kind):
    values = np.random.default_rng(0).normal(3.0, 1.0, 2000)
    found = _interval(values, kind, n_resamples=1000)
    assert found.value == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 / math.sqrt(2000), rel=0.15)
    assert found.low < 3.0 < found.high


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_keep_runs_together_and_widen_the_interval(kind):
    noise = np.random.default_rng(0).normal(size=2000)
    runs = np.repeat(noise[:200], 10)  # the same spread, but ten equal values in a row
    width = [one.high - one.low for one in (_interval(noise, kind), _interval(runs, kind))]
    # The mean of 200 values is sqrt(10) times as unsure as that of 2000.
    assert width[1] / width[0] == pytest.approx(math.sqrt(10), rel=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_the_truth_about_as_often_as_they_say(kind):
    random = np.random.default_rng(6)
    held, alone = 0, 0
    for seed in range(150):
        values = _with_memory(random, 400, 0.5)
        found = _interval(values, kind, seed=seed, n_resamples=300)
        held += found.low <= 0 <= found.high
        alone += abs(values.mean()) <= 1.96 * values.std() / 20
    # 95 in 100 are meant; a percentile interval of 400 values with a memory is a little narrow.
    assert held / 150 > 0.87
    assert alone / 150 < 0.80


def test_an_interval_depends_on_the_seed_alone():
    values = np.random.default_rng(0).normal(size=100)
    for kind in KINDS:
        assert _interval(values, kind, seed=1) == _interval(values, kind, seed=1)
        assert _interval(values, kind, seed=1) != _interval(values, kind, seed=2)


def test_resamples_that_go_in_parts_are_the_same_in_number_and_spread(monkeypatch):
    values, sizes = np.random.default_rng(0).normal(size=100), []

    def counted(drawn):
        sizes.append(len(drawn))
        return drawn.mean(axis=1)

    monkeypatch.setattr("walkforge.statistics._block_bootstrap._MOST_DRAWN", 700)
    found = block_bootstrap(values, counted, n_resamples=400, seed=0, unit="x")
    assert sizes == [1] + [7] * 57 + [1]
    assert found == _interval(values)


def test_few_values_no_resamples_and_no_value_have_no_interval():
    assert math.isnan(_interval(np.arange(19.0)).low)
    assert _interval(np.arange(19.0)).value == 9.0
    assert math.isnan(_interval(np.arange(50.0), n_resamples=0).low)
    assert _interval(np.zeros(0)).n == 0
    none = block_bootstrap(
        np.arange(50.0), lambda x: np.full(len(x), np.nan), n_resamples=9, seed=0, unit="x"
    )
    assert (math.isnan(none.value), math.isnan(none.low), none.n) == (True, True, 50)


def test_resamples_in_which_the_number_is_undefined_are_left_out():
    values = np.zeros(100)
    values[::10] = 1.0

    def share_of_ones(drawn):
        ones = drawn.sum(axis=1)
        return np.where(ones > 8, ones / 100, np.nan)

    found = block_bootstrap(values, share_of_ones, n_resamples=300, seed=0, unit="fraction")
    assert 0.09 <= found.low <= found.value <= found.high
