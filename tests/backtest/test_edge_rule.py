"""Probabilities to intentions by the stated rule."""

import polars as pl
import pytest

from walkforge.backtest import edge_rule, intentions_from_predictions
from walkforge.base import PredictionsError, UsageError

THREE = ("down", "hold", "up")


def _predictions(*rows: tuple[float, ...], seeds: int = 1) -> pl.DataFrame:
    """Return rows of p_down, p_hold, p_up, one bar each, for some seeds alike."""
    columns = {f"p_{name}": [row[k] for row in rows] for k, name in enumerate(THREE)}
    stamps = pl.Series(range(len(rows))).cast(pl.Datetime("ms", "UTC"))
    one = pl.DataFrame({"timestamp": stamps, "symbol": "A", "fold": 0, **columns})
    return pl.concat([one.with_columns(seed=pl.lit(seed)) for seed in range(seeds)])


def _sides(predictions: pl.DataFrame, min_edge: float = 0.0) -> list[int]:
    return intentions_from_predictions(predictions, classes=THREE, min_edge=min_edge)[
        "side"
    ].to_list()


def test_the_likeliest_class_decides():
    predictions = _predictions((0.2, 0.3, 0.5), (0.5, 0.3, 0.2), (0.2, 0.5, 0.3))
    assert _sides(predictions) == [1, -1, 0]


def test_a_tie_for_the_likeliest_class_is_no_intention():
    predictions = _predictions((0.2, 0.4, 0.4), (0.4, 0.2, 0.4), (0.4, 0.4, 0.2))
    assert _sides(predictions) == [0, 0, 0]


def test_the_lead_over_the_other_side_must_reach_the_edge():
    predictions = _predictions((0.25, 0.25, 0.5), (0.375, 0.125, 0.5), (0.5, 0.25, 0.25))
    assert _sides(predictions, min_edge=0.25) == [1, 0, -1]


def test_probabilities_are_averaged_over_seeds_before_the_rule():
    one = _predictions((0.1, 0.1, 0.8))
    two = _predictions((0.5, 0.4, 0.1)).with_columns(seed=pl.lit(1))
    assert _sides(pl.concat([one, two])) == [1]  # 0.30, 0.25, 0.45
    assert intentions_from_predictions(pl.concat([one, two]), classes=THREE).height == 1


def test_rows_that_trade_nothing_stay_in_the_table():
    table = intentions_from_predictions(_predictions((0.2, 0.5, 0.3), seeds=3), classes=THREE)
    assert table.schema == {
        "timestamp": pl.Datetime("ms", "UTC"),
        "symbol": pl.String,
        "side": pl.Int8,
    }
    assert table.height == 1


def test_two_classes_have_no_hold():
    predictions = _predictions((0.4, 0.0, 0.6), (0.5, 0.0, 0.5)).drop("p_hold")
    table = intentions_from_predictions(predictions, classes=("down", "up"))
    assert table["side"].to_list() == [1, 0]


def test_missing_columns_and_impossible_probabilities_are_refused():
    good = _predictions((0.2, 0.3, 0.5))
    with pytest.raises(PredictionsError, match="predictions: no column 'p_up'"):
        intentions_from_predictions(good.drop("p_up"), classes=THREE)
    with pytest.raises(PredictionsError, match="expected down and up among them"):
        intentions_from_predictions(good, classes=("hold", "up"))
    for value in (1.5, -0.1, float("nan"), None):
        bad = good.with_columns(p_hold=pl.lit(value, dtype=pl.Float64))
        with pytest.raises(PredictionsError, match=r"row 0 has p_hold .*, expected a probability"):
            intentions_from_predictions(bad, classes=THREE)


@pytest.mark.parametrize("edge", [-0.1, 1.0, float("nan")])
def test_an_impossible_edge_is_refused(edge):
    with pytest.raises(UsageError, match="min_edge is"):
        intentions_from_predictions(_predictions((0.2, 0.3, 0.5)), classes=THREE, min_edge=edge)


def test_the_rule_says_itself_in_one_sentence_with_its_edge():
    assert "at least 0.05" in edge_rule(0.05)
    assert edge_rule().count(".") == 1
