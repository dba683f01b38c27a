"""Blocks of time and what is drawn from them: against slow code, and against the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.tables import START_MS, STEP_MS, THREE, calibrated_rows, softmax, table_of
from walkforge.evaluation import measure
from walkforge.evaluation._blocks import MOST_BLOCKS, plan_blocks
from walkforge.evaluation._bootstrap import block_weights, interval
from walkforge.evaluation._measure import _values
from walkforge.evaluation._rows import rows_of
from walkforge.evaluation._scores import log_losses
from walkforge.evaluation._tally import tally


def plan_for(table):
    rows = rows_of(table, THREE)
    return plan_blocks(rows, log_losses(rows.p, rows.label))


def test_a_block_is_at_least_twice_the_longest_label():
    p, label = calibrated_rows(1000)
    plan = plan_for(table_of(p, label, span_bars=12))
    # The table resolves 12 bars after the opening: 11 later decisions fall before that.
    assert plan.label_span_times == 11.0
    assert plan.length_times >= 22.0
    assert plan.n_blocks == pytest.approx(1000 / 22, abs=1)


def test_losses_with_a_memory_make_longer_blocks():
    random = np.random.default_rng(1)
    state = np.zeros(2000)
    for i in range(1, 2000):
        state[i] = 0.95 * state[i - 1] + 0.3 * random.normal()
    sure = 1 / (1 + np.exp(-state))
    p = np.column_stack([sure, (1 - sure) / 2, (1 - sure) / 2])
    label = np.zeros(2000, dtype=np.int64)
    plan = plan_for(table_of(p, label))
    mixed = random.permutation(2000)
    assert plan.memory_times > 20
    assert plan.length_times >= 2 * plan.memory_times
    assert plan_for(table_of(p[mixed], label)).memory_times < 6


def test_there_are_never_more_than_five_hundred_blocks():
    p, label = calibrated_rows(9000)
    assert plan_for(table_of(p, label)).n_blocks <= MOST_BLOCKS


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 300), span=st.integers(1, 40), seed=st.integers(0, 99))
def test_blocks_follow_time_are_all_filled_and_hold_every_row_of_a_moment(n, span, seed):
    random = np.random.default_rng(seed)
    time = np.sort(random.choice(1000, n, replace=False))
    p, label = calibrated_rows(n, seed=seed)
    plan = plan_for(table_of(p, label, time=time, span_bars=span))
    block = plan.block_of(START_MS + time * STEP_MS)
    assert (np.diff(block) >= 0).all()
    assert np.unique(block).tolist() == list(range(plan.n_blocks))
    sizes = np.bincount(block)
    assert sizes.max() - sizes.min() <= 1


def test_a_drawn_sum_is_what_repeating_the_rows_would_give():
    p, label = calibrated_rows(300)
    rows = rows_of(table_of(p, label), THREE)
    block = np.arange(300) // 30
    per_block = tally(rows, block, 10)
    weights = block_weights(10, 25, 0)
    drawn = _values(per_block.shaped(weights @ per_block.flat()))
    for r in range(25):
        repeated = np.repeat(np.arange(300), weights[r][block].astype(int))
        again = table_of(p[repeated], label[repeated])
        slow = measure(again, classes=THREE, n_resamples=0)
        for name in ("accuracy", "balanced_accuracy", "mcc", "log_loss", "brier"):
            assert drawn[name][r] == pytest.approx(slow[name]["value"], abs=1e-9), name
        for name in ("roc_auc", "pr_auc", "direction_auc"):  # from 128 bins and not from ranks
            assert drawn[name][r] == pytest.approx(slow[name]["value"], abs=0.01), name


def test_the_interval_of_many_blocks_is_the_plain_percentile_interval():
    drawn = np.random.default_rng(0).normal(size=100_000)
    assert interval(drawn, 500) == pytest.approx((-1.96, 1.96), abs=0.04)


def test_the_interval_of_few_blocks_is_wider_and_of_very_few_there_is_none():
    drawn = np.random.default_rng(0).normal(size=100_000)
    low, high = interval(drawn, 8)
    assert high == pytest.approx(2.365 * np.sqrt(8 / 7), abs=0.1)  # Student's t, 7 degrees
    assert low == pytest.approx(-high, abs=0.1)
    assert interval(drawn, 4) == (None, None)


def test_resamples_without_a_value_are_left_out_up_to_a_tenth():
    drawn = np.linspace(0.0, 1.0, 1000)
    drawn[::20] = np.nan
    assert interval(drawn, 100)[0] is not None
    drawn[::5] = np.nan
    assert interval(drawn, 100) == (None, None)


def dependent_world(n_times, seed, *, horizon=6):
    """Return a table with overlapping labels, a slow state, and two symbols of one market."""
    random = np.random.default_rng(seed)
    together = random.normal(size=n_times + horizon)
    p, label = [], []
    for _ in range(2):
        noise = random.normal(size=n_times + horizon)
        state = np.zeros(n_times + horizon)
        for i in range(1, len(state)):
            state[i] = 0.9 * state[i - 1] + 0.436 * noise[i]
        moves = 0.2 * state + 0.6 * together + 0.8 * random.normal(size=len(state))
        sums = np.convolve(moves, np.ones(horizon), mode="full")[horizon : horizon + n_times]
        label.append(np.digitize(sums / np.sqrt(horizon), [-0.43, 0.43]))
        now = 0.4 * state[:n_times]
        p.append(softmax(np.column_stack([-now, 0 * now, now])))
    symbol = ["A"] * n_times + ["B"] * n_times
    time = np.tile(np.arange(n_times), 2)
    return table_of(
        np.concatenate(p), np.concatenate(label), time=time, symbol=symbol, span_bars=horizon
    )


def test_intervals_hold_the_truth_about_as_often_as_they_say_where_rows_hang_together():
    names = ("accuracy", "balanced_accuracy", "log_loss", "roc_auc", "direction_auc")
    truth = measure(dependent_world(40_000, 1000), classes=THREE, n_resamples=0)
    held, naive = dict.fromkeys(names, 0), 0
    n_worlds = 80
    for seed in range(n_worlds):
        table = dependent_world(500, seed)
        block = measure(table, classes=THREE, n_resamples=200)
        for name in names:
            held[name] += block[name]["low"] <= truth[name]["value"] <= block[name]["high"]
        share = block["accuracy"]["value"]
        half = 1.96 * np.sqrt(share * (1 - share) / len(table))
        naive += abs(share - truth["accuracy"]["value"]) <= half
    for name in names:
        assert 0.88 <= held[name] / n_worlds <= 1.0, (name, held)
    assert naive / n_worlds < 0.80  # what counting rows as independent would have given
