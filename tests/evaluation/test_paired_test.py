"""Two models on common rows: against slow code, against the truth, and against nonsense."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.tables import (
    START_MS,
    TWO,
    calibrated_rows,
    drawn_labels,
    skilled,
    softmax,
    table_of,
)
from walkforge.evaluation import paired_mean, paired_test
from walkforge.evaluation._bootstrap import interval, p_value

KINDS = ("log_loss", "accuracy", "balanced_accuracy")
P = ["p_down", "p_hold", "p_up"]


def _blurred(table, share=0.5):
    """Return the same rows with probabilities moved towards a shrug."""
    return table.with_columns(
        (pl.col(c) * (1 - share) + share / len(P)).alias(c) for c in P
    )  # fmt: skip


def test_a_model_beside_itself_gains_exactly_nothing():
    table = skilled()
    found = paired_test(table, table.sample(fraction=1.0, shuffle=True, seed=3))
    assert found["comparable"]
    assert found["identical"]
    assert found["n"] == found["n_common"] == 1600
    assert found["share_of_reference"] == found["share_of_other"] == 1.0
    for kind in KINDS:
        entry = found[kind]
        assert (entry["value"], entry["low"], entry["high"], entry["p_value"]) == (0, 0, 0, 1.0)


def test_truly_better_probabilities_are_found_and_the_other_way_round_is_the_mirror():
    better = skilled(n_times=2000, skill=0.8)
    worse = _blurred(better)
    there, back = paired_test(worse, better), paired_test(better, worse)
    gain = there["log_loss"]
    assert gain["low"] > 0
    assert gain["p_value"] < 0.01
    assert back["log_loss"]["value"] == pytest.approx(-gain["value"])
    assert back["log_loss"]["low"] == pytest.approx(-gain["high"])
    assert back["log_loss"]["p_value"] == pytest.approx(gain["p_value"])
    assert not there["identical"]


def test_the_gain_is_the_mean_over_decisions_of_losses_averaged_over_seeds():
    three_seeds, one_seed = skilled(300, n_seeds=3, seed=1), skilled(300, n_seeds=1, seed=1)
    one_seed = _blurred(one_seed, 0.3)
    found = paired_test(three_seeds, one_seed)["log_loss"]
    losses = []
    for table in (three_seeds, one_seed):
        p = table.select(P).to_numpy()
        own = table.select("symbol", "timestamp").with_columns(
            loss=pl.Series(-np.log(p[np.arange(len(p)), table["label"].to_numpy()]))
        )
        losses.append(own.group_by("symbol", "timestamp").agg(pl.col("loss").mean()))
    both = losses[0].join(losses[1], on=["symbol", "timestamp"])
    assert found["n"] == len(both) == 600
    assert found["value"] == pytest.approx((both["loss"] - both["loss_right"]).mean())
    by_symbol = [part["value"] for part in found["by_symbol"].values()]
    assert np.mean(by_symbol) == pytest.approx(found["value"])


def test_only_rows_that_both_predicted_count():
    p, label = calibrated_rows(900)
    early, late = (
        table_of(p[:600], label[:600]),
        table_of(p[300:], label[300:], time=range(300, 900)),
    )
    found = paired_test(early, _blurred(late))
    assert found["n_common"] == found["n"] == 300
    assert found["share_of_reference"] == pytest.approx(0.5)
    assert found["share_of_other"] == pytest.approx(0.5)
    assert found["from"] == "2024-01-02 01:00"
    whole = paired_test(early[300:], _blurred(late)[:300])
    assert found["log_loss"] == whole["log_loss"]


@pytest.mark.parametrize("change", ["time", "symbol", "timeframe"])
def test_without_a_common_row_nothing_is_compared(change):
    p, label = calibrated_rows(200)
    one = table_of(p, label)
    other = {
        "time": table_of(p, label, time=range(1000, 1200)),
        "symbol": table_of(p, label, symbol="BBB"),
        "timeframe": one.with_columns(timeframe=pl.lit("1h")),
    }[change]
    found = paired_test(one, other)
    assert found["n_common"] == 0
    assert not found["comparable"]
    assert "no row is common" in found["reason"]
    assert "log_loss" not in found


def test_a_few_other_labels_are_left_out_and_counted():
    p, label = calibrated_rows(1000)
    moved = label.copy()
    moved[:30] = (moved[:30] + 1) % 3
    found = paired_test(table_of(p, label), _blurred(table_of(p, moved)))
    assert found["comparable"]
    assert found["n_labels_differ"] == 30
    assert found["n"] == 970
    without = paired_test(table_of(p, label)[30:], _blurred(table_of(p, moved)))
    assert found["log_loss"]["value"] == pytest.approx(without["log_loss"]["value"])


def test_another_label_rule_is_refused():
    p, label = calibrated_rows(1000)
    moved = label.copy()
    moved[:80] = (moved[:80] + 1) % 3
    found = paired_test(table_of(p, label), table_of(p, moved))
    assert not found["comparable"]
    assert "8.0% of the common rows have another label" in found["reason"]
    few = paired_test(table_of(p, label), table_of(p, label), labels_may_differ_frac=0.0)
    assert few["comparable"]
    moved = label.copy()
    moved[0] = (moved[0] + 1) % 3
    strict = paired_test(table_of(p, label), table_of(p, moved), labels_may_differ_frac=0.0)
    assert not strict["comparable"]


def test_two_and_three_classes_are_not_compared():
    p, label = calibrated_rows(300, n_classes=2)
    three, three_label = calibrated_rows(300)
    found = paired_test(table_of(three, three_label), table_of(p, label))
    assert found["n_common"] == 300
    assert not found["comparable"]
    assert ", ".join(TWO) in found["reason"]


def test_rows_without_finite_probabilities_are_left_out_and_counted():
    p, label = calibrated_rows(500)
    broken = p.copy()
    broken[7] = np.nan
    found = paired_test(table_of(p, label), table_of(broken, label))
    assert found["n_not_finite"] == 1
    assert found["n"] == 499
    assert found["log_loss"]["value"] == 0.0
    nothing = paired_test(table_of(p, label), table_of(np.full_like(p, np.nan), label))
    assert "finite" in nothing["reason"]


def test_too_few_blocks_of_time_give_neither_interval_nor_p_value():
    p, label = calibrated_rows(40)
    table = table_of(p, label, span_bars=20)
    entry = paired_test(table, _blurred(table))["log_loss"]
    assert entry["low"] is None
    assert entry["p_value"] is None
    assert "independent blocks" in entry["reason"]


@settings(max_examples=30, deadline=None)
@given(shift=st.floats(-4, 4), n_blocks=st.integers(5, 400), seed=st.integers(0, 99))
def test_p_is_below_five_percent_just_where_the_interval_leaves_zero(shift, n_blocks, seed):
    drawn = np.random.default_rng(seed).normal(shift, 1.0, 4000)
    low, high = interval(drawn, n_blocks)
    p = p_value(drawn, n_blocks)
    # A p-value counts whole resamples, an interval lies between two of them.
    assert 0 < p <= 1
    if low > 0.05 or high < -0.05:
        assert p < 0.05
    if low < -0.05 and high > 0.05:
        assert p > 0.05


def test_models_that_are_equally_good_are_told_apart_in_few_worlds_only():
    random, wrong, n_worlds = np.random.default_rng(4), 0, 120
    for _ in range(n_worlds):
        state = np.zeros((400, 3))
        noise = random.normal(0, 0.5, (400, 3))
        for row in range(1, 400):
            state[row] = 0.8 * state[row - 1] + noise[row]
        label = drawn_labels(softmax(state), random)
        one, other = (softmax(state + random.normal(0, 0.4, state.shape)) for _ in range(2))
        found = paired_test(table_of(one, label), table_of(other, label), n_resamples=400)
        wrong += found["log_loss"]["p_value"] < 0.05
    # 5 in 100 are meant; 14 of 120 would come out by chance once in 250 times.
    assert wrong <= 13


def test_the_mean_of_daily_differences_has_an_interval_that_holds_it():
    day = START_MS + 86_400_000 * np.arange(200)
    more = np.random.default_rng(2).normal(1.0, 2.0, 200)
    entry = paired_mean(day, more, unit="quote currency per day")
    assert entry["value"] == pytest.approx(more.mean())
    assert 0 < entry["low"] < entry["value"] < entry["high"]
    assert entry["p_value"] < 0.01
    nothing = paired_mean(day, np.zeros(200), unit="quote currency per day")
    assert (nothing["value"], nothing["p_value"]) == (0.0, 1.0)
