"""Numbers, times and names as people read them, and markup that cannot be broken out of."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walkforge.report._html import Html, join, json_inside_script, tag
from walkforge.report._words import (
    count,
    day,
    decimals,
    duration,
    exact,
    listed,
    moment,
    number,
    percent,
    span,
    titled,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-450.96, "−450.96"),
        (0.0141308, "0.01413"),
        (2 / 3, "0.6667"),
        (0.95, "0.95"),
        (12_345, "12,345"),
        (1234.5678, "1,234.57"),
        (0.00018, "1.80e−04"),
        (None, "–"),
        (float("nan"), "–"),
        (True, "–"),
    ],
)
def test_a_number_shows_what_it_can_and_no_more(value: object, text: str) -> None:
    assert number(value) == text


def test_fixed_decimals_carry_a_true_minus_and_no_minus_zero() -> None:
    assert decimals(-0.00004, 4, signed=True) == "0.0000"
    assert decimals(-0.0011, 4, signed=True) == "−0.0011"
    assert decimals(0.0061, 4, signed=True) == "+0.0061"
    assert percent(-0.0456, 1, signed=True) == "−4.6\u202f%"


def test_times_are_read_from_milliseconds_and_from_text() -> None:
    assert moment(1_704_067_200_000) == "2024-01-01 00:00"
    assert moment("2024-01-31T12:30:00+00:00") == "2024-01-31 12:30"
    assert day("2024-01-31 00:00") == "2024-01-31"
    assert moment("some day") == "some day"
    assert moment(None) == "–"
    assert [duration(s) for s in (4.25, 42.4, 734.2, 7_500)] == [
        "4.25 s",
        "42 s",
        "12 min 14 s",
        "2 h 5 min",
    ]


def test_names_and_counts_read_as_words() -> None:
    assert titled("beats_lightgbm") == "Beats LightGBM"
    assert count(1, "fold") == "1 fold"
    assert count(1200, "fold") == "1,200 folds"
    assert listed(["A", "B", "C"], 2) == "A, B and 1 more"
    assert span({"low": -0.1, "high": 0.2}, 2, signed=True) == "−0.10 … +0.20"
    assert span({"low": None, "high": 0.2}, 2) == ""


def test_the_exact_number_stands_behind_the_shown_one() -> None:
    assert exact(1 / 3, "0.33") == (
        '<data value="0.3333333333333333" title="0.3333333333333333">0.33</data>'
    )


@given(text=st.text())
def test_text_and_attributes_cannot_leave_their_place(text: str) -> None:
    html = tag("p", text, title=text)
    assert html.count("<") == 2
    assert html.count('"') == 2
    assert join(Html("<b>"), text).count("<") == 1


@given(text=st.text())
def test_data_cannot_close_the_script_it_stands_in(text: str) -> None:
    inside = json_inside_script({"name": text + "</script><!--"})
    assert "<" not in inside
    assert json.loads(inside) == {"name": text + "</script><!--"}
