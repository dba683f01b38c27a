"""The promises of `build`: backwards only, within segments, scale-free, always defined."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import START_MS, random_bars
from features.markets import in_ticks, noise_after, replaced, scaled, troubled_markets
from walkforge.base import FeatureError, UsageError
from walkforge.features import _build, build, feature_set
from walkforge.market import Bars

SETS = ("v8", "gru", "v7", "aligned", "returns")
BARS = random_bars(1500, seed=5, holes_at=(700,))
TROUBLED = troubled_markets()
LOOK_BACK = feature_set("v8").look_back_bars


@pytest.fixture(params=[None, 200], ids=["one stretch", "many stretches"])
def stretch_rows(request, monkeypatch):
    """Let a segment be computed in one stretch, or in several."""
    if request.param is not None:
        monkeypatch.setattr(_build, "STRETCH_ROWS", request.param)
    return request.param


def column(table, name):
    return table.values[:, table.columns.index(name)]


@pytest.mark.parametrize("set_name", SETS)
def test_a_table_has_a_row_per_bar_and_a_column_per_feature(set_name):
    table = build(BARS, set_name)
    assert table.columns == tuple(c.name for c in feature_set(set_name).columns)
    assert table.values.shape == (len(BARS), len(table.columns))
    assert table.values.dtype == np.float32
    assert table.values.flags.c_contiguous
    assert table.valid.dtype == np.bool_


def test_an_unknown_set_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"feature set 'v88'.*did you mean 'v8'"):
        build(BARS, "v88")


# Looking backwards only


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, len(BARS)))
def test_cutting_off_the_future_leaves_every_bit_of_the_past(cut):
    whole, part = build(BARS, "v8"), build(BARS.take(slice(0, cut)), "v8")
    np.testing.assert_array_equal(part.values, whole.values[:cut])
    np.testing.assert_array_equal(part.valid, whole.valid[:cut])


@pytest.mark.parametrize("set_name", SETS)
@pytest.mark.parametrize("cut", [312, 511, 512, 513, 699, 700, 1012, 1211, 1212, 1499])
def test_cutting_near_the_edges_of_stretches_and_segments_changes_no_bit(
    set_name, cut, stretch_rows
):
    whole, part = build(BARS, set_name), build(BARS.take(slice(0, cut)), set_name)
    np.testing.assert_array_equal(part.values, whole.values[:cut])


@pytest.mark.parametrize("set_name", SETS)
@pytest.mark.parametrize("row", [311, 650, 699, 1100, 1498])
def test_noise_in_place_of_the_future_changes_no_bit_of_the_past(set_name, row, stretch_rows):
    whole, poisoned = build(BARS, set_name), build(noise_after(BARS, row), set_name)
    np.testing.assert_array_equal(poisoned.values[: row + 1], whole.values[: row + 1])
    np.testing.assert_array_equal(poisoned.valid[: row + 1], whole.valid[: row + 1])


@pytest.mark.parametrize("market", TROUBLED)
@pytest.mark.parametrize("set_name", SETS)
def test_the_last_row_of_the_look_back_equals_that_of_the_whole_history(set_name, market):
    bars, look_back = TROUBLED[market], feature_set(set_name).look_back_bars
    whole = build(bars, set_name)
    for row in [*range(look_back - 1, len(bars), 97), 605, 614, 615, 1100, 1101, 1115]:
        window = build(bars.take(slice(row - look_back + 1, row + 1)), set_name)
        assert window.valid.tolist() == [False] * (look_back - 1) + [True]
        np.testing.assert_allclose(window.values[-1], whole.values[row], rtol=0, atol=1e-6)


def test_stretches_do_not_show(monkeypatch):
    whole = build(BARS, "v8").values
    monkeypatch.setattr(_build, "STRETCH_ROWS", 50)
    np.testing.assert_allclose(build(BARS, "v8").values, whole, rtol=0, atol=1e-6)


# Segments


@pytest.mark.parametrize("set_name", SETS)
def test_a_segment_knows_nothing_of_the_one_before(set_name):
    whole = build(BARS, set_name)
    alone = build(BARS.take(slice(700, 1500)), set_name)
    np.testing.assert_array_equal(whole.values[700:], alone.values)
    np.testing.assert_array_equal(whole.valid[700:], alone.valid)


def test_rows_dropped_are_counted_by_reason():
    bars = random_bars(1500, seed=5, holes_at=(700, 800, 900))
    table = build(bars, "v8")
    warm_up = LOOK_BACK - 1
    assert table.dropped == {
        "warm-up": 2 * warm_up,  # of the segments of 700 and of 600 bars
        "segment shorter than the look-back": 200,
    }
    assert table.valid.sum() == 1500 - 200 - 2 * warm_up
    assert not table.values[~table.valid].any()


def test_a_segment_as_long_as_the_look_back_gives_one_row():
    assert build(BARS.take(slice(0, LOOK_BACK)), "v8").valid.sum() == 1
    assert build(BARS.take(slice(0, LOOK_BACK - 1)), "v8").valid.sum() == 0


def test_no_bars_give_an_empty_table():
    table = build(BARS.take(slice(0, 0)), "v8")
    assert table.values.shape == (0, 72)
    assert sum(table.dropped.values()) == 0


# Scale


@pytest.mark.parametrize("market", TROUBLED)
@pytest.mark.parametrize(("prices", "volumes"), [(1000.0, 7.0), (1e-6, 1.0), (1 / 3, 1e-6)])
def test_the_currency_and_the_contract_size_change_nothing(market, prices, volumes):
    bars = TROUBLED[market]
    for set_name in SETS:
        expected = build(bars, set_name).values
        found = build(scaled(bars, prices=prices, volumes=volumes), set_name).values
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_equal_moves_of_a_coarse_tick_stay_equal_in_another_currency():
    # +1 tick in the high and −1 tick in the low is no direction at all to Wilder; a rounding
    # error must not make it one.
    bars = in_ticks(random_bars(900, seed=8, volatility_frac=0.0004), 0.1)
    up, down = np.diff(bars.high), -np.diff(bars.low)
    assert np.sum((up > 0) & np.isclose(up, down) & (up != down)) > 5
    for prices in (1000.0, 0.1, 7.0):
        found = build(scaled(bars, prices=prices), "v8").values
        np.testing.assert_allclose(found, build(bars, "v8").values, rtol=0, atol=1e-6)


# Always defined


@pytest.mark.parametrize("market", TROUBLED)
@pytest.mark.parametrize("set_name", SETS)
def test_no_market_costs_a_row_or_leaves_the_limits(set_name, market):
    table = build(TROUBLED[market], set_name)
    warm_up = feature_set(set_name).look_back_bars - 1
    assert table.valid.sum() == len(TROUBLED[market]) - warm_up
    assert np.isfinite(table.values).all()
    assert np.abs(table.values).max() <= 8.0


@pytest.mark.parametrize("dust", ["still for 500 bars", "still but for the last bit"])
def test_a_market_that_stands_still_is_neutral_in_every_column(dust):
    table = build(TROUBLED[dust], "v8")
    row = table.values[1099]
    dead = math.log(1e-6 / 1e-3)
    for name, value in zip(table.columns, row, strict=True):
        if name.startswith(("volume_", "day_", "week_")):
            continue
        is_level = name.startswith(("parkinson", "garman", "natr", "bollinger_width")) or (
            name in ("volatility_10", "volatility_30", "volatility_120")
        )
        assert value == pytest.approx(dead if is_level else 0.0, abs=1e-6), name


@pytest.mark.parametrize("market", ["still for 500 bars", "tiny and still for 500 bars"])
def test_an_indicator_is_neutral_as_soon_as_its_own_window_stands_still(market):
    table = build(TROUBLED[market], "v8")
    # Rows 600 to 1099 have one price; what came before must not linger, as it would in a plain
    # recursion, whose ratio of two vanishing numbers never changes.
    first_neutral = {"rsi_7": 607, "rsi_14": 614, "dmi_14": 614, "true_range_14": 614}
    for name, row in first_neutral.items():
        assert column(table, name)[row - 2] != 0.0
        assert not column(table, name)[row:1100].any()
    for name, row in {"cci_20": 619, "bollinger_20": 619, "stochastic_k_14": 613}.items():
        assert not column(table, name)[row:1100].any()


def test_indicators_come_back_to_life_with_the_market():
    moving, still = build(TROUBLED["moving"], "v8"), build(TROUBLED["still for 500 bars"], "v8")
    assert np.abs(column(still, "rsi_14")[1115:1400]).max() > 0.1
    np.testing.assert_allclose(still.values[1420:], moving.values[1420:], rtol=0, atol=1e-6)


def test_zero_volume_is_neutral_and_vwap_becomes_the_mean_typical_price():
    table = build(TROUBLED["without volume"], "v8")
    for name in ("volume_20", "volume_5_60", "volume_20_240", "flow_20", "flow_60", "mfi_14"):
        assert not column(table, name).any()
    bars = TROUBLED["without volume"]
    typical = (bars.high + bars.low + bars.close) / 3
    sigma = math.sqrt(np.mean(np.diff(np.log(bars.close[1000:1061])) ** 2))
    expected = (bars.close[1060] / typical[1041:1061].mean() - 1) / (sigma * math.sqrt(20))
    assert column(table, "vwap_20")[1060] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_positive_prices_give_defined_values(data):
    # Not even high >= low is assumed: a file with broken bars is found by `data check`, and
    # must not take the features down.
    choices = data.draw(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=6))
    seed = data.draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    n_bars = LOOK_BACK + 40
    prices = random.choice(choices, (4, n_bars))
    bars = Bars(
        venue="drawn",
        symbol="ANY",
        timeframe="1h",
        timestamp=START_MS + np.arange(n_bars) * 3_600_000,
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=prices[3],
        volume=random.choice([0.0, 1e-9, 1.0, 1e9], n_bars),
    )
    table = build(bars, "v8")
    assert table.valid.sum() == 41
    assert np.isfinite(table.values).all()


def test_a_value_that_is_not_finite_names_column_and_bar():
    bars = replaced(BARS, volume=np.full(len(BARS), 1e308))
    with pytest.raises(FeatureError, match=r"bar 311 \(2024-01-01 05:11\) has mfi_14 = nan"):
        build(bars, "v8")
