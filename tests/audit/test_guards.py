"""Each guard on its own: silent on what is sound, a sentence with numbers on what is not."""

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from audit.made_bars import coin_walk, lively, with_holes
from drawn import random_bars
from execution.slow_fills import Wish, walk
from study_runs import small_bars, small_study
from walkforge.audit import FAULTS
from walkforge.audit import _faults_bars as faults
from walkforge.audit import _guards_bars as bars_guard
from walkforge.audit import _guards_clock as clock_guard
from walkforge.audit._asked import furthest, plain_loss
from walkforge.audit._guards_alarms import alarms_raised
from walkforge.audit._guards_fills import other_fills
from walkforge.audit._guards_network import _scores, strange_networks
from walkforge.audit._guards_poison import _changes, future_in_fits, future_in_weights
from walkforge.audit._guards_rows import misplaced_rows
from walkforge.audit._slow_fills import SlowRules, replay, slow_atr
from walkforge.audit._specimen import Specimen, poison
from walkforge.backtest import BacktestSetup
from walkforge.base import Silent
from walkforge.execution import Bracket, Costs, average_true_range
from walkforge.folds import FoldRows
from walkforge.market import Instrument, simulate
from walkforge.study import Learning
from walkforge.training import TrainingPlan, classification_loss


def _of(bars, *, other=None):
    """Return a specimen whose source is these bars."""
    source = {bars.symbol: bars} | ({} if other is None else {other.symbol: other})
    return Specimen.of(small_study(), source)


def _said(bars, **more):
    return list(bars_guard.unnatural_bars(_of(bars, **more)))


# Bars


def test_lively_bars_are_not_reported():
    assert _said(lively(12_000), other=lively(12_000, symbol="BBBUSDT", seed=1)) == []


def test_bars_that_say_they_are_simulated_are_not_reported():
    assert _said(simulate("gbm", n_bars=5_000)) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (faults._walk, "random walk"),
        (faults._blocks, "come more than once"),
        (faults._off_ticks, "no grid of ticks"),
        (faults._in_new_york, "moved by [+]5 h"),
    ],
)
def test_made_bars_are_reported(spoil, words):
    found = _said(spoil(lively(12_000)))
    assert all(one.startswith("AAAUSDT: ") for one in found)
    assert any(re.search(words, one) for one in found)


def test_half_a_year_of_minutes_without_a_gap_is_reported():
    real = with_holes(lively(264_000, timeframe="1m"), 30)
    looked = list(bars_guard._gaps(real))
    made = list(bars_guard._gaps(faults._without_gaps(real)))
    assert looked == []
    assert "without one hole" in made[0]


def test_short_spans_need_no_gap():
    assert list(bars_guard._gaps(lively(20_000, timeframe="1m"))) == []


def test_prices_on_ticks_that_float32_has_rounded_are_on_ticks():
    bars = lively(3_000)
    rounded = {
        name: getattr(bars, name).astype(np.float32).astype(np.float64)
        for name in ("open", "high", "low", "close")
    }
    assert bars_guard.tick_of(bars) == bars_guard.tick_of(replace(bars, **rounded)) == 0.1


def test_an_adjusted_past_is_no_missing_grid():
    bars = lively(3_000)
    factor = np.where(np.arange(3_000) < 2_900, 1 / 3.7, 1.0)
    adjusted = {n: getattr(bars, n) * factor for n in ("open", "high", "low", "close")}
    assert bars_guard.tick_of(replace(bars, **adjusted)) == 0.1


def test_two_series_on_two_clocks_are_reported():
    one = lively(4_000)
    other = replace(one, symbol="BBBUSDT")
    late = replace(other, timestamp=one.timestamp + 3 * 300_000)
    assert list(clock_guard.two_clocks(one, other)) == []
    assert "3 bars apart" in next(clock_guard.two_clocks(one, late))


def test_days_of_a_session_that_begin_elsewhere_are_reported():
    days = lively(40, timeframe="1d", symbol="IDX")
    weekdays = (days.timestamp // 86_400_000 + 3) % 7 < 5
    names = ("timestamp", "open", "high", "low", "close", "volume")
    session = replace(
        days, calendar="session", **{name: getattr(days, name)[weekdays] for name in names}
    )
    assert list(clock_guard.wrong_clock(session)) == []
    found = list(clock_guard.wrong_clock(faults._in_new_york(session)))
    assert "open at odd times" in found[0]
    assert "Saturdays or Sundays" in found[1]


# Rows


@pytest.fixture(scope="module")
def sound():
    return Specimen.of(small_study(), small_bars(), n_bars=2_200)


def _with_rows(sound, **rows):
    first = sound.prepared.parts[0]
    part = replace(first, rows=replace(first.rows, **rows))
    specimen = sound.from_stage("learn")
    specimen.prepared = replace(sound.prepared, parts=[part])
    return list(misplaced_rows(specimen))


def test_rows_of_a_sound_split_are_not_reported(sound):
    assert list(misplaced_rows(sound)) == []


def test_rows_that_are_out_of_place_are_reported(sound):
    rows: FoldRows = sound.prepared.parts[0].rows
    early = np.append(rows.validation, rows.calibration[:1])
    assert f"1 of {len(early)} validation rows are decided outside" in " ".join(
        _with_rows(sound, validation=early)
    )
    assert "2 rows stand twice in test" in " ".join(
        _with_rows(sound, test=np.append(rows.test, rows.test[-2:]))
    )
    late = np.append(rows.train, rows.train[-1] + np.arange(1, 4))
    found = _with_rows(sound, train=late)
    assert len(found) == 1
    assert "3 labels of train are known only in or after the validation slice" in found[0]


# Poison


def test_weights_that_know_no_future_are_not_reported(sound):
    assert list(future_in_weights(sound)) == []


def test_poison_leaves_what_was_complete_before(sound):
    bars = sound.bars["AAA"]
    cut = int(bars.closes_at[1_000])
    dirty = poison(bars, cut)
    np.testing.assert_array_equal(dirty.timestamp, bars.timestamp)
    np.testing.assert_array_equal(dirty.close[:1_000], bars.close[:1_000])
    assert (dirty.close[1_000:] != bars.close[1_000:]).all()


def test_what_changes_is_said_with_both_values():
    clean = {"A: limits": {"low": 1, "up": 2}, "A: weights": np.array([1.0, 2.0]), "A: epoch": 4}
    assert list(_changes(clean, clean, "noise")) == []
    dirty = clean | {"A: weights": np.array([1.0, 2.5]), "A: epoch": 5}
    assert list(_changes(clean, dirty, "noise")) == [
        "A: noise changes weights and 1 more: 2 becomes 2.5, expected the same"
    ]
    limits = {"A: limits": {"low": 1, "up": 3}}
    assert list(_changes(clean | limits, clean, "noise")) == [
        "A: noise changes limits: up 3 becomes 2, expected the same"
    ]


def test_a_training_that_the_test_slice_stops_is_reported(sound):
    [fault] = [one for one in FAULTS if one.name == "stopped_on_test"]
    with fault.planted(sound) as specimen:
        found = list(future_in_weights(specimen))
    assert len(found) == 1
    assert "AAA/fold0/seed0: " in found[0]
    assert "changes the chosen epoch" in found[0] or "changes the validation loss" in found[0]


def test_a_forecaster_that_the_test_slice_stops_is_reported():
    bars = {"AAA": random_bars(1_500, seed=1, symbol="AAA")}
    sound = Specimen.of(small_study(*FAMILIES["bilstm"]), bars)
    assert list(future_in_weights(sound)) == []
    [fault] = [one for one in FAULTS if one.name == "stopped_on_test"]
    with fault.planted(sound) as specimen:
        assert "AAA/fold0/seed0: noise from" in next(future_in_weights(specimen))


def test_series_on_calendars_of_their_own_are_poisoned_where_their_own_slices_end():
    late = random_bars(2_200, seed=2, symbol="BBB").take(slice(900, None))
    bars = {"AAA": random_bars(1_500, seed=1, symbol="AAA"), "BBB": late}
    sound = Specimen.of(small_study("folds.calendar=own"), bars)
    assert len(set(sound.edges("train").values())) == 2
    assert list(future_in_fits(sound)) == list(future_in_weights(sound)) == []
    for name, edge in sound.edges("train").items():
        early = sound.bars[name].closes_at < edge
        poisoned = sound.poisoned("train").bars[name]
        np.testing.assert_array_equal(poisoned.close != sound.bars[name].close, ~early)


# Networks

FAMILIES = {
    "mlp": ["model.norm=batch", "model.dropout=0.2", "training.class_weights=balanced"],
    "gru": ["model.name=gru", "model.dropout=0.2", "features.window_bars=4", "model.layers=2"],
    "cnn_lstm": ["model.name=cnn_lstm", "features.window_bars=6", "labels.kind=direction",
                 "training.loss=focal"],
    "bilstm": ["model.name=bilstm", "model.encoder=[8]", "features.window_bars=6"],
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_of_every_family_that_learn_are_not_reported(family):
    bars = {"AAA": random_bars(1_500, seed=1, symbol="AAA")}
    specimen = Specimen.of(small_study(*FAMILIES[family]), bars)
    assert list(strange_networks(specimen)) == []


def _with_state(sound, change):
    """Return a specimen whose first network has other weights than it was trained to."""
    first = sound.results.members[0]
    state = {name: change(name, tensor) for name, tensor in first.trained.state.items()}
    other = replace(first, trained=replace(first.trained, state=state))
    specimen = sound.from_stage("trade")
    specimen.results = replace(sound.results, members=[other])
    specimen.heard.epochs = sound.heard.epochs
    return " ".join(strange_networks(specimen))


def test_weights_that_are_not_those_of_training_are_reported(sound):
    found = _with_state(sound, lambda name, tensor: 1.05 * tensor)
    assert "the validation loss of its best epoch was" in found


def test_a_layer_that_stood_still_is_reported(sound):
    import torch

    first = sound.results.members[0].trained
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(first.member.random_seed)
        drawn = Learning(sound.study, sound.prepared, Silent()).architecture.twin().state_dict()
    still = "1.weight"
    found = _with_state(sound, lambda name, one: drawn[name] if name == still else one)
    assert "1 of 6 tensors of weights (1.weight) are what they were before training" in found


def test_scores_that_run_away_or_stand_still_are_reported():
    random = np.random.default_rng(0)
    assert list(_scores(random.normal(0, 1, (100, 3)), may_be_large=False)) == []
    assert "reach 11" in next(_scores(np.array([[11.0, 0.0], [1.0, 2.0]]), may_be_large=False))
    assert list(_scores(np.array([[11.0, 0.0], [1.0, 2.0]]), may_be_large=True)) == []
    still = np.repeat(random.normal(0, 1, (1, 3)), 100, axis=0)
    assert "100 test rows have 1 different predictions" in next(_scores(still, may_be_large=False))
    assert "1 scores" in next(_scores(np.array([[np.nan, 1.0], [1.0, 2.0]]), may_be_large=False))


def test_the_plain_loss_is_that_of_training():
    import torch

    random = np.random.default_rng(0)
    logits, labels = random.normal(0, 2, (50, 3)), random.integers(0, 3, 50)
    for plan in (
        TrainingPlan(label_smoothing=0.1),
        TrainingPlan(loss="focal", focal_gamma=1.5, label_smoothing=0.05),
    ):
        wanted = classification_loss(
            torch.from_numpy(logits)[None],
            torch.from_numpy(labels)[None],
            torch.ones(1, 3, dtype=torch.float64),
            focal_gamma=plan.focal_gamma if plan.loss == "focal" else None,
            label_smoothing=plan.label_smoothing,
        )[0].numpy()
        np.testing.assert_allclose(plain_loss(logits, labels, plan), wanted, atol=1e-9)


def test_differences_are_shares_of_large_outputs():
    assert furthest(np.array([100.0, 0.5]), np.array([101.0, 0.5])) == pytest.approx(1 / 101)


# Alarms and fills


def test_a_sound_run_raises_no_alarm_and_every_fill_is_right(sound):
    assert list(alarms_raised(sound)) == []
    assert list(other_fills(sound)) == []


def test_predictions_that_know_everything_raise_an_alarm(sound):
    specimen = sound.from_stage("trade")
    label = pl.col("label")
    sure = [
        pl.when(label == number).then(0.98).otherwise(0.01).alias(f"p_{name}")
        for number, name in enumerate(sound.prepared.classes)
    ]
    table = sound.results.predictions.with_columns(sure)
    specimen.results = replace(sound.results, predictions=table)
    assert "Near-perfect scores" in next(alarms_raised(specimen))


@pytest.mark.parametrize("column", ["fee", "entry_price", "exit_price", "pnl", "size"])
def test_a_trade_that_says_something_else_is_reported(sound, column):
    specimen = sound.from_stage("trade")
    trades = sound.traded.trades
    spoilt = trades.with_columns(
        pl.when(pl.int_range(pl.len()) == 1).then(pl.col(column) * 1.001).otherwise(pl.col(column))
        .alias(column)
    )  # fmt: skip
    specimen.traded = replace(sound.traded, trades=spoilt)
    found = list(other_fills(specimen))
    assert len(found) == 1
    assert f"has {column} " in found[0]


TICK = Instrument("RANDOM", tick_size=0.01, lot_step=0.001, min_notional=5.0)


@pytest.mark.parametrize("bracket", [Bracket(), Bracket(stop_atr=0.4, target_atr=0.4)])
def test_the_slow_replay_agrees_with_another_walk_over_the_bars(bracket):
    bars = random_bars(900, seed=3, holes_at=(400,))
    sides = coin_walk(len(bars))
    costs = Costs(slippage_ticks=2.0, fee_frac=0.001)
    setup = BacktestSetup(bracket=bracket, costs=costs, size_contracts=1.5)
    trades = replay(SlowRules(bars, TICK, setup), sides.tolist())
    atr = slow_atr(bars, bracket.atr_bars)
    np.testing.assert_allclose(atr, average_true_range(bars, bracket.atr_bars), rtol=1e-9)
    wishes = {row: Wish(int(side)) for row, side in enumerate(sides)}
    wanted, _ = walk(bars, wishes, bracket, atr=atr, slippage=0.02)
    assert len(trades) == len(wanted) > 50
    for one, other in zip(trades, wanted, strict=True):
        assert one.side == other.side
        assert one.exit_kind == other.exit_kind
        assert one.entered_at == bars.timestamp[other.entry_row]
        assert one.entry_price == pytest.approx(other.entry_price)
        assert one.exit_price == pytest.approx(other.exit_price)
        assert one.fee == pytest.approx(1.5 * 0.001 * (other.entry_price + other.exit_price))
        won = other.side * (other.exit_price - other.entry_price) * 1.5
        assert one.pnl == pytest.approx(won - one.fee)
    both = {one.exit_kind for one in trades}
    assert {"stop", "target", "segment_end"} <= both


def test_an_order_that_a_venue_refuses_is_no_trade():
    rules = SlowRules(random_bars(50), TICK, BacktestSetup(size_contracts=0.04))
    assert rules.size_at(100.0) == 0.0
    assert rules.size_at(200.0) == 0.04
