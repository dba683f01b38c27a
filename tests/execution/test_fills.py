"""The kernel against a slow walk over the bars, and its edges."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import random_bars
from execution.slow_fills import Wish, walk
from walkforge.base import IntentionsError, UsageError
from walkforge.execution import (
    DECISION_STATES,
    EXIT_KINDS,
    Bracket,
    Decisions,
    bracket_outcomes,
    fill,
    fill_at_random,
    make_tape,
    slipped,
)

BARS = random_bars(400, seed=5, volatility_frac=0.004, holes_at=(90, 91, 250))


def _decisions(wishes: dict[int, Wish]) -> Decisions:
    rows = sorted(wishes)
    chosen = [wishes[row] for row in rows]
    return Decisions(
        row=np.array(rows, np.int64),
        side=np.array([wish.side for wish in chosen], np.int8),
        size=np.array([wish.size for wish in chosen], float),
        stop=np.array([wish.stop for wish in chosen], float),
        target=np.array([wish.target for wish in chosen], float),
    )


@st.composite
def brackets(draw) -> Bracket:
    return Bracket(
        stop_atr=draw(st.sampled_from([0.3, 1.0, 1.5, 4.0])),
        target_atr=draw(st.sampled_from([0.3, 1.0, 2.5, 6.0])),
        max_hold_bars=draw(st.sampled_from([1, 2, 7, 20, 10_000])),
        atr_bars=draw(st.sampled_from([1, 5, 14])),
    )


def _wishes(random: np.random.Generator, n_bars: int, share: float) -> dict[int, Wish]:
    wishes = {}
    for row in np.flatnonzero(random.random(n_bars) < share):
        side = int(random.choice([-1, 1]))
        close = BARS.close[row]
        own_stop, own_target, refused = random.random(3) < (0.2, 0.2, 0.1)
        wishes[int(row)] = Wish(
            side,
            size=0.0 if refused else 1.0,
            stop=close * (1 - side * 0.005) if own_stop else math.nan,
            target=close * (1 + side * 0.005) if own_target else math.nan,
        )
    return wishes


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    share=st.sampled_from([0.02, 0.3, 1.0]),
    bracket=brackets(),
    slippage=st.sampled_from([0.0, 0.01, 0.3, 2.0]),  # 2.0 is more than 1 % of any price
)
def test_fills_are_those_of_a_slow_walk_to_the_last_digit(seed, share, bracket, slippage):
    wishes = _wishes(np.random.default_rng(seed), len(BARS), share)
    tape = make_tape(BARS, bracket.atr_bars)
    fills, states = fill(tape, _decisions(wishes), bracket, slippage_price=slippage)
    trades, became = walk(BARS, wishes, bracket, atr=tape.atr.tolist(), slippage=slippage)
    rows = sorted(wishes)
    assert [DECISION_STATES[state] for state in states] == [became[row] for row in rows]
    assert [rows[index] for index in fills.decision] == [trade.decision for trade in trades]
    for name in ("side", "entry_row", "exit_row", "at_open"):
        assert getattr(fills, name).tolist() == [getattr(trade, name) for trade in trades]
    for name in ("entry_price", "exit_price", "stop", "target"):
        assert getattr(fills, name).tolist() == [float(getattr(one, name)) for one in trades]
    assert [EXIT_KINDS[kind] for kind in fills.exit_kind] == [one.exit_kind for one in trades]


@pytest.mark.parametrize("side", [1, -1])
def test_the_outcome_of_every_bar_is_that_of_its_only_decision(side):
    bracket = Bracket(max_hold_bars=9)
    both = bracket_outcomes(BARS, bracket, slippage_price=0.02)
    outcome = both.long if side > 0 else both.short
    tape = make_tape(BARS, bracket.atr_bars)
    for row in range(len(BARS)):
        fills, _ = fill(tape, _decisions({row: Wish(side)}), bracket, slippage_price=0.02)
        if len(fills) == 0:
            assert outcome.exit_kind[row] == 0
            assert outcome.exit_row[row] == -1
            assert np.isnan([outcome.exit_price[row], outcome.entry_price[row]]).all()
            continue
        assert outcome.exit_kind[row] == fills.exit_kind[0]
        assert outcome.exit_row[row] == fills.exit_row[0]
        assert outcome.exit_price[row] == fills.exit_price[0]
        assert outcome.entry_price[row] == fills.entry_price[0]


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(40, 399))
def test_cutting_the_bars_off_changes_no_trade_that_was_over_before(cut):
    bracket = Bracket(max_hold_bars=10)
    wishes = _wishes(np.random.default_rng(1), len(BARS), 0.5)
    whole, _ = fill(make_tape(BARS, 14), _decisions(wishes), bracket, slippage_price=0.01)
    early = {row: wish for row, wish in wishes.items() if row < cut}
    part, _ = fill(
        make_tape(BARS.take(slice(0, cut)), 14), _decisions(early), bracket, slippage_price=0.01
    )
    over = int((whole.exit_row < cut - 1).sum())
    assert over > 0 or cut < 60
    np.testing.assert_array_equal(part.exit_price[:over], whole.exit_price[:over])
    np.testing.assert_array_equal(part.exit_kind[:over], whole.exit_kind[:over])


def test_no_position_runs_across_a_hole():
    both = bracket_outcomes(BARS, Bracket(max_hold_bars=1000), slippage_price=0.0)
    for outcome in (both.long, both.short):
        rows = np.flatnonzero(outcome.exit_kind > 0)
        assert (BARS.segment[outcome.exit_row[rows]] == BARS.segment[rows]).all()


def test_held_bars_do_not_count_the_bar_left_at_its_open():
    wishes = _wishes(np.random.default_rng(2), len(BARS), 1.0)
    fills, _ = fill(
        make_tape(BARS, 14), _decisions(wishes), Bracket(max_hold_bars=4), slippage_price=0.0
    )
    timeouts = fills.exit_kind == EXIT_KINDS.index("timeout")
    assert timeouts.any()
    assert (fills.held_bars[timeouts] == 4).all()
    assert (fills.held_bars <= 4).all()


def _at_random(bars, sides, seed, **changes):
    tape = make_tape(bars, 14)
    none = np.full(len(sides), np.nan)
    return fill_at_random(
        tape,
        sides,
        Bracket(),
        rows=changes.get("rows", tape.enterable()),
        stop_fracs=changes.get("stop_fracs", none),
        target_fracs=none,
        slippage_price=0.01,
        held_bars=8.0,
        random=np.random.default_rng(seed),
    )


def test_random_entries_follow_the_same_rules_as_decisions():
    bars = random_bars(3000, seed=3, holes_at=(700, 1900))
    sides = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), 80)
    drawn = _at_random(bars, sides, seed=4)
    assert len(drawn) == 80
    again = Decisions(
        row=drawn.entry_row - 1,
        side=drawn.side,
        size=np.ones(80),
        stop=np.full(80, np.nan),
        target=np.full(80, np.nan),
    )
    fills, states = fill(make_tape(bars, 14), again, Bracket(), slippage_price=0.01)
    assert not states.any()  # every one of them was flat, with an ATR and a bar to enter in
    np.testing.assert_array_equal(fills.exit_price, drawn.exit_price)
    np.testing.assert_array_equal(fills.exit_row, drawn.exit_row)
    np.testing.assert_array_equal(drawn.side, sides)


def test_random_entries_spread_evenly_over_the_bars():
    bars = random_bars(5000, seed=3)
    sides = np.ones(100, np.int8)
    rows = np.concatenate([_at_random(bars, sides, seed).entry_row for seed in range(60)])
    share_of_each_fifth = np.histogram(rows, 5, range=(0, 5000))[0] / len(rows)
    np.testing.assert_allclose(share_of_each_fifth, 0.2, atol=0.03)


def test_random_entries_may_be_decided_at_the_close_of_the_bar_that_ended_the_one_before():
    bars = random_bars(1000, seed=3)
    drawn = _at_random(bars, np.ones(400, np.int8), seed=4)  # more than there is room for
    decided = drawn.entry_row[1:] - 1
    assert (decided >= drawn.exit_row[:-1]).all()
    assert (decided == drawn.exit_row[:-1]).any()


def test_random_entries_depend_on_the_seed_alone():
    sides = np.ones(20, np.int8)
    first, same, other = (_at_random(BARS, sides, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.entry_row, same.entry_row)
    assert not np.array_equal(first.entry_row, other.entry_row)


def test_random_entries_stay_inside_the_rows_they_are_given():
    rows = np.arange(100, 140)
    drawn = _at_random(BARS, np.ones(500, np.int8), seed=1, rows=rows)
    assert 0 < len(drawn) <= 40
    assert np.isin(drawn.entry_row - 1, rows).all()


def test_random_entries_carry_own_stops_as_fractions_of_the_close():
    drawn = _at_random(BARS, np.ones(10, np.int8), 1, stop_fracs=np.full(10, 0.99))
    np.testing.assert_array_equal(drawn.stop, 0.99 * BARS.close[drawn.entry_row - 1])


def test_a_tick_above_the_price_slips_one_percent_and_every_fill_stays_positive():
    bars = random_bars(300, seed=2)
    crash = np.where(np.arange(300) < 150, 1.0, 1e-6)  # from 100 to less than a tick of 0.01
    prices = {name: getattr(bars, name) * crash for name in ("open", "high", "low", "close")}
    fallen = dataclasses.replace(bars, **prices)
    both = bracket_outcomes(fallen, Bracket(), slippage_price=0.01)
    for side, one in ((1, both.long), (-1, both.short)):
        rows = np.flatnonzero(one.exit_kind > 0)
        assert (one.exit_price[rows] > 0).all()
        low = rows[rows >= 150]
        np.testing.assert_allclose(one.entry_price[low], fallen.open[low + 1] * (1 + side * 0.01))
        high = rows[rows < 149]
        np.testing.assert_array_equal(one.entry_price[high], fallen.open[high + 1] + side * 0.01)


def test_slipped_prices_are_those_of_the_kernel():
    both = bracket_outcomes(BARS, Bracket(), slippage_price=0.7)
    for side, one in ((1, both.long), (-1, both.short)):
        rows = np.flatnonzero(one.exit_kind > 0)
        expected = slipped(BARS.open[rows + 1], side, slippage_price=0.7)
        np.testing.assert_array_equal(one.entry_price[rows], expected)


def test_slippage_below_zero_or_without_end_is_refused():
    with pytest.raises(UsageError, match=r"drawn/RANDOM/1m: slippage of inf .* check the instr"):
        bracket_outcomes(BARS, Bracket(), slippage_price=math.inf)
    with pytest.raises(UsageError, match="slippage of -1"):
        bracket_outcomes(BARS, Bracket(), slippage_price=-1.0)


def test_decisions_outside_the_bars_are_refused():
    with pytest.raises(IntentionsError, match=r"rows 400\.\.400, expected rows of its 400 bars"):
        fill(make_tape(BARS, 14), _decisions({400: Wish(1)}), Bracket(), slippage_price=0.0)


def test_decisions_that_do_not_rise_or_have_no_side_are_refused():
    one, two = np.ones(1), np.ones(2)
    with pytest.raises(IntentionsError, match="rows must rise"):
        Decisions(row=np.array([3, 3]), side=two, size=two, stop=two, target=two)
    with pytest.raises(IntentionsError, match=r"sides be \+1 or -1"):
        Decisions(row=np.array([3]), side=one * 0, size=one, stop=one, target=one)
    with pytest.raises(IntentionsError, match="2 values in 'stop', expected 1"):
        Decisions(row=np.array([3]), side=one, size=one, stop=two, target=one)
