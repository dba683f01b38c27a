"""Many symbols in one table: the same bits as each alone, from wherever they come."""

import os
import sys

import numpy as np
import pytest

from drawn import random_bars
from features.markets import replaced
from walkforge.base import FeatureError, UsageError
from walkforge.features import _build_all, _helpers, build, build_all

BARS = {
    "LONG": random_bars(1500, seed=1, holes_at=(700,)),
    "SHORT": random_bars(40, seed=2),
    "OTHER": random_bars(900, seed=3),
}
ABSURD = replaced(BARS["OTHER"], volume=np.full(900, 1e308))

with_helpers = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="helper processes need memfd, which only Linux has"
)


@pytest.fixture
def helpers(monkeypatch):
    monkeypatch.setattr(_helpers, "LEAST_SHARED_ROWS", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})


def each_alone(bars, set_name):
    return np.concatenate([build(one, set_name).values for one in bars.values()])


@pytest.mark.parametrize("set_name", ["v8", "gru"])
def test_the_table_holds_every_symbol_bit_for_bit_as_alone(set_name):
    tables = build_all(BARS, set_name)
    np.testing.assert_array_equal(tables.values, each_alone(BARS, set_name))
    assert tables.first_row == {"LONG": 0, "SHORT": 1500, "OTHER": 1540}
    for symbol, one in BARS.items():
        alone = build(one, set_name)
        assert tables.columns == tables.by_symbol[symbol].columns == alone.columns
        assert tables.by_symbol[symbol].dropped == alone.dropped
        np.testing.assert_array_equal(tables.by_symbol[symbol].valid, alone.valid)


def test_the_values_of_a_symbol_are_no_second_copy():
    tables = build_all(BARS, "gru")
    for symbol, table in tables.by_symbol.items():
        assert np.shares_memory(table.values, tables.values)
        first = tables.first_row[symbol]
        tables.values[first] = 7.0
        assert (table.values[0] == 7.0).all()


def test_no_symbols_make_an_empty_table():
    tables = build_all({}, "v8")
    assert tables.values.shape == (0, 72)
    assert tables.by_symbol == {}


def test_an_unknown_set_and_absurd_bars_are_refused_as_by_build():
    with pytest.raises(UsageError, match="feature set 'v9'"):
        build_all(BARS, "v9")
    with pytest.raises(FeatureError, match="mfi_14 = nan"):
        build_all({"FINE": BARS["LONG"], "ABSURD": ABSURD}, "v8")


@with_helpers
def test_helper_processes_give_the_same_bits(helpers):
    notes = []
    tables = build_all(BARS, "v8", note=notes.append)
    np.testing.assert_array_equal(tables.values, each_alone(BARS, "v8"))
    assert notes[-1].endswith("on 2 cores")


@with_helpers
def test_bars_that_a_helper_fails_at_are_refused_by_name(helpers):
    with pytest.raises(FeatureError, match=r"drawn/RANDOM/1m: bar 311 .* mfi_14 = nan"):
        build_all({"FINE": BARS["LONG"], "ABSURD": ABSURD}, "v8")


@with_helpers
@pytest.mark.parametrize("executable", ["/bin/false", "/bin/cat"])
def test_a_helper_that_dies_or_answers_nonsense_is_done_without(helpers, monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    tables = build_all(BARS, "v8")
    np.testing.assert_array_equal(tables.values, each_alone(BARS, "v8"))


@with_helpers
def test_a_helper_computes_bars_of_any_length_one_after_the_other():
    values = np.full((1500, 17), 9.0, dtype=np.float32)
    with _helpers.Helpers(1, "gru", most_bars=1500) as helpers:
        for one in BARS.values():
            assert helpers.compute(values[: len(one)], one)
            np.testing.assert_array_equal(values[: len(one)], build(one, "gru").values)


@with_helpers
def test_helpers_keep_the_calendar_of_the_bars():
    # A week of stamps may look like either; whether a weekend is a hole is known to the caller.
    bars = random_bars(900, seed=4, timeframe="1h")
    bars = replaced(bars, timestamp=bars.timestamp + 48 * 3_600_000 * (np.arange(900) > 100))
    values = np.zeros((900, 17), dtype=np.float32)
    with _helpers.Helpers(1, "gru", most_bars=900) as helpers:
        for calendar in ("session", "24/7"):
            one = replaced(bars, calendar=calendar)
            assert helpers.compute(values, one)
            np.testing.assert_array_equal(values, build(one, "gru").values)


def test_a_few_rows_are_computed_without_helpers():
    assert _helpers.n_helpers([1_000, 2_000]) == 1
    assert _helpers.n_helpers([_helpers.LEAST_SHARED_ROWS]) == 1


def test_small_tables_are_not_kept():
    assert len(BARS["LONG"]) < _build_all.LEAST_CACHED_ROWS
    notes = []
    for _ in range(2):
        build_all(BARS, "v8", note=notes.append)
    assert all("3 computed" in note for note in notes)
