"""The sets: how many columns, how far each looks back, and the page that lists them."""

from pathlib import Path

import numpy as np
import pytest

from drawn import random_bars
from walkforge.base import UsageError
from walkforge.features import describe, feature_set
from walkforge.features._stretch import Stretch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"
SETS = ("v8", "gru", "v7", "aligned", "returns")
COLUMNS = {c.name: c for name in SETS for c in feature_set(name).columns}


def test_v8_has_exactly_72_columns():
    assert len(feature_set("v8").columns) == 72


@pytest.mark.parametrize(
    ("set_name", "n_columns"), [("gru", 17), ("v7", 14), ("aligned", 12), ("returns", 1)]
)
def test_the_other_sets_have_as_many_columns_as_they_say(set_name, n_columns):
    assert len(feature_set(set_name).columns) == n_columns


@pytest.mark.parametrize(("set_name", "n_indicators"), [("v7", 10), ("aligned", 8)])
def test_v7_and_aligned_are_the_bar_and_so_many_indicators(set_name, n_indicators):
    names = feature_set(set_name).names
    assert names[:4] == ("gap", "high", "low", "return_1")
    assert len(names[4:]) == n_indicators


@pytest.mark.parametrize("set_name", SETS)
def test_no_two_columns_share_a_name_or_a_formula(set_name):
    columns = feature_set(set_name).columns
    assert len({column.name for column in columns}) == len(columns)
    assert len({(column.formula, column.unit) for column in columns}) == len(columns)


def test_a_set_looks_back_as_far_as_its_longest_column():
    assert feature_set("v8").look_back_bars == 312
    assert feature_set("gru").look_back_bars == 201


def test_an_unknown_set_names_the_nearest_one():
    with pytest.raises(UsageError, match="did you mean 'gru'"):
        feature_set("grus")


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_needs_as_many_bars_as_it_says_and_not_one_more(name):
    column = COLUMNS[name]
    stretch = Stretch(random_bars(column.look_back_bars + 1, seed=2), slice(0, None))
    values = column.compute(stretch)
    assert np.isnan(values[:-2]).all()
    assert np.isfinite(values[-2:]).all()


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_says_formula_unit_and_look_back(name):
    column = COLUMNS[name]
    assert column.formula
    assert column.unit
    assert column.formula in column.description
    assert f"Look-back: {column.look_back_bars} bars" in column.description
    assert "{" not in column.description


@pytest.mark.parametrize("set_name", SETS)
def test_the_page_lists_the_columns_as_the_code_has_them(set_name):
    assert describe(set_name) in PAGE.read_text(encoding="utf-8")
