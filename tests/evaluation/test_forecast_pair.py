"""Two runs' forecasts on the rows that both made."""

import polars as pl
import pytest

from evaluation.forecast_tables import baseline_of, quantile_name, walk
from walkforge.evaluation import forecast_metrics, paired_forecasts


def noisy(table, noise):
    """Return the forecasts of a table off by some noise, quantiles and all."""
    return baseline_of(table, "noisy", noise=noise, point=False).drop("baseline")


@pytest.fixture(scope="module")
def good():
    return walk(600, n_folds=3)


@pytest.fixture(scope="module")
def bad(good):
    return noisy(good, 0.01)


def test_the_better_forecasts_are_found_whichever_come_first(good, bad):
    there, back = paired_forecasts(bad, good), paired_forecasts(good, bad)
    for kind in ("crps", "absolute_error"):
        assert 0 < there[kind]["low"] < there[kind]["value"] < there[kind]["high"]
        assert there[kind]["p_value"] < 0.001
        assert back[kind]["value"] == pytest.approx(-there[kind]["value"])
        assert back[kind]["p_value"] == pytest.approx(there[kind]["p_value"])


def test_the_values_are_those_of_the_measures(good, bad):
    ours, theirs = (forecast_metrics(table, None)["model"]["pooled"] for table in (bad, good))
    found = paired_forecasts(bad, good)
    for kind, measure in (("crps", "crps_bps"), ("absolute_error", "mae_bps")):
        expected = ours[measure]["value"] - theirs[measure]["value"]
        assert found[kind]["value"] == pytest.approx(expected)


def test_only_common_forecasts_count_whatever_the_folds(good, bad):
    later = bad.filter(pl.col("timestamp") > bad["timestamp"].median())
    renumbered = later.with_columns(fold=pl.col("fold") + 7)
    found = paired_forecasts(good, renumbered)
    assert found["n_common"] == len(later)
    assert found["crps"] == paired_forecasts(good, later)["crps"]


def test_seeds_are_averaged():
    two, one = walk(400, n_seeds=2), walk(400)
    found = paired_forecasts(one, two)
    assert found["n_common"] == len(one)
    assert found["comparable"]


def test_a_run_and_its_copy_do_not_differ(good):
    found = paired_forecasts(good, good)
    assert found["crps"]["value"] == 0.0
    assert found["crps"]["p_value"] == 1.0


def test_points_alone_have_no_crps(good):
    points = good.drop(quantile_name(level) for level in (0.05, 0.5, 0.95))
    points = points.drop([c for c in points.columns if c.startswith("q_")])
    both = paired_forecasts(points, points)
    assert "absolute_error" in both


def test_what_cannot_be_compared_says_why(good):
    assert paired_forecasts(good.filter(pl.col("symbol") == "AAA"),
                            good.filter(pl.col("symbol") == "BBB")) == {
        "n_common": 0, "comparable": False, "reason": "no forecast is in both"}  # fmt: skip
    other_bars = good.with_columns(close=pl.col("close") * 1.001)
    assert "Give both the same bars" in paired_forecasts(good, other_bars)["reason"]
    fewer = good.drop("q_10")
    found = paired_forecasts(good, fewer)
    assert not found["comparable"]
    assert "the same levels" in found["reason"]
