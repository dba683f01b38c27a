"""A user's own columns: one value per bar, NaN where not known, and no way to cross a hole."""

import numpy as np
import polars as pl
import pytest

from drawn import bars_from, random_bars
from own_parts import mean_20, returns
from walkforge.base import FeatureError
from walkforge.features import build, build_own, build_own_all, own_columns


def test_rows_are_valid_where_every_value_is_known():
    bars = random_bars(60)
    table = build_own(bars, lambda bars: {**returns(bars), "mean": mean_20(bars)["mean"]})
    assert table.columns == ("change", "mean")
    assert table.values.dtype == np.float32
    assert table.valid.tolist() == [False] * 19 + [True] * 41
    assert (table.values[:19] == 0).all()
    assert table.dropped == {"warm-up": 19, "value is NaN": 0}
    expected = np.log(bars.close[1:] / bars.close[:-1]).astype(np.float32)
    np.testing.assert_array_equal(table.values[19:, 0], expected[18:])


def test_a_function_sees_one_stretch_without_a_hole_at_a_time():
    bars = random_bars(100, holes_at=(30, 31))
    seen = []

    def make(bars):
        seen.append(len(bars))
        return returns(bars)

    table = build_own(bars, make)
    assert seen == [30, 1, 69]
    assert np.flatnonzero(~table.valid).tolist() == [0, 30, 31]


def test_a_nan_amid_known_values_costs_its_row():
    def make(bars):
        return {"a": np.where(np.arange(len(bars)) == 7, np.nan, 1.0)}

    table = build_own(random_bars(20), make)
    assert np.flatnonzero(~table.valid).tolist() == [7]
    assert table.dropped == {"warm-up": 0, "value is NaN": 1}


def test_a_prediction_asks_for_as_many_bars_as_the_values_need():
    table = build_own(random_bars(50, holes_at=(10,)), returns, look_back_bars=12)
    assert np.flatnonzero(table.valid).tolist() == list(range(21, 50))


def test_mappings_frames_series_and_lists_are_the_same_columns():
    bars = random_bars(10)
    made = [
        {"a": bars.close, "b": bars.volume > 20},
        {"a": list(bars.close), "b": pl.Series(bars.volume > 20)},
        pl.DataFrame({"a": bars.close, "b": bars.volume > 20}),
    ]
    first, *others = (own_columns(lambda bars, one=one: one, bars) for one in made)
    for other in others:
        assert first.names == other.names
        np.testing.assert_array_equal(first.values, other.values)


def test_several_symbols_are_one_table():
    bars = {"A": random_bars(30, seed=1, symbol="A"), "B": random_bars(40, seed=2, symbol="B")}
    tables = build_own_all(bars, returns)
    assert tables.first_row == {"A": 0, "B": 30}
    for symbol, one in bars.items():
        alone = build_own(one, returns)
        np.testing.assert_array_equal(tables.by_symbol[symbol].values, alone.values)
        assert np.shares_memory(tables.by_symbol[symbol].values, tables.values)


def test_the_built_in_columns_can_be_asked_for_inside():
    def make(bars):
        table = build(bars, "gru")
        values = np.where(table.valid[:, None], table.values, np.nan)
        return dict(zip(table.columns, values.T, strict=True))

    bars = random_bars(500, holes_at=(200,))
    built, own = build(bars, "gru"), build_own(bars, make)
    np.testing.assert_array_equal(own.values, built.values)
    np.testing.assert_array_equal(own.valid, built.valid)


BARS = bars_from("""
    1 1 1 1
    2 2 2 2
    3 3 3 3
""")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (None, "returned NoneType, expected a mapping"),
        ({}, "returned dict, expected a mapping"),
        (np.ones(3), "returned ndarray"),
        ({3: np.ones(3)}, "3 is no name of a column"),
        ({"a": np.ones(2)}, r"a has shape \(2,\) for 3 bars; expected one value per bar"),
        ({"a": 1.0}, r"a has shape \(\) for 3 bars"),
        ({"a": ["x", "y", "z"]}, "a holds list, expected numbers"),
        ({"a": np.array([1.0, np.inf, 2.0])}, "a of drawn/TEST/1m is inf at 2024-01-01 00:01"),
        ({"a": np.array([1.0, 1e39, 2.0])}, "a of drawn/TEST/1m has values beyond 3e38"),
    ],
)
def test_what_is_no_column_is_refused_in_one_line(made, expected):
    with pytest.raises(FeatureError, match=expected) as caught:
        build_own(BARS, lambda bars: made)
    assert "\n" not in str(caught.value)


def test_columns_that_differ_between_symbols_are_refused():
    bars = {"A": random_bars(30, symbol="A"), "B": random_bars(40, symbol="B")}
    with pytest.raises(FeatureError, match="returned the columns B for drawn/B/1m, expected A"):
        build_own_all(bars, lambda bars: {bars.symbol: bars.close})


def test_bars_cannot_be_written():
    bars = random_bars(10)
    before = bars.close.copy()

    def make(bars):
        bars.close[:] = 1.0
        return {"a": bars.close}

    with pytest.raises(ValueError, match="read-only"):
        build_own(bars, make)
    np.testing.assert_array_equal(bars.close, before)
