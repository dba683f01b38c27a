"""Labels of every kind on drawn markets, against slow code, across holes and with poison."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import bars_from, random_bars
from walkforge.execution import Bracket, Decisions, fill, make_tape
from walkforge.labels import KINDS, NEVER, LabelRule, class_names, fit_limits, outcomes
from walkforge.market import Bars, past_volatility

BARS = random_bars(600, seed=8, volatility_frac=0.004, holes_at=(200, 203, 450))


def _outcomes(bars: Bars, rule: LabelRule, slippage: float = 0.01):
    return outcomes(bars, rule, slippage_price=slippage)


def _rule(kind: str, **fields) -> LabelRule:
    return LabelRule(kind=kind, **{"horizon_bars": 5, "volatility_bars": 20, **fields})


def _closes(*closes: float) -> Bars:
    return bars_from("\n".join(f"{c} {c} {c} {c}" for c in closes))


def _classes(bars: Bars, rule: LabelRule) -> list[str]:
    found = _outcomes(bars, rule)
    names = class_names(rule)
    limits = fit_limits(rule, found.score)
    return [names[index] if index >= 0 else "" for index in limits.classify(found.score)]


def test_a_move_of_more_than_the_threshold_has_a_direction():
    rule = LabelRule(kind="threshold", horizon_bars=1, threshold_frac=0.01)
    bars = _closes(100.0, 101.1, 101.0, 99.9, 100.0)
    assert _classes(bars, rule) == ["up", "hold", "down", "hold", ""]


def test_the_threshold_is_the_moves_own_percentage_up_and_down():
    rule = LabelRule(kind="threshold", horizon_bars=1, threshold_frac=0.012)
    assert _classes(_closes(100.0, 101.2001, 100.0), rule)[0] == "up"
    assert _classes(_closes(100.0, 101.1999, 100.0), rule)[0] == "hold"
    assert _classes(_closes(100.0, 98.7999, 100.0), rule)[0] == "down"
    assert _classes(_closes(100.0, 98.8001, 100.0), rule)[0] == "hold"


def test_direction_knows_no_hold_and_an_unmoved_price_is_not_up():
    rule = LabelRule(kind="direction", horizon_bars=1)
    assert _classes(_closes(100.0, 101.0, 101.0, 100.0), rule) == ["up", "down", "down", ""]


def test_the_horizon_looks_that_many_bars_ahead():
    rule = LabelRule(kind="threshold", horizon_bars=2, threshold_frac=0.01)
    assert _classes(_closes(100.0, 90.0, 102.0, 90.0), rule) == ["up", "hold", "", ""]


def test_a_return_is_resolved_at_the_close_of_the_bar_that_ends_it():
    found = _outcomes(BARS, _rule("threshold"))
    row = 100
    assert found.decided_at[row] == BARS.closes_at[row]
    assert found.resolved_at[row] == BARS.closes_at[row + 5]
    assert found.score[row] == np.log(BARS.close[row + 5]) - np.log(BARS.close[row])


def test_volatility_counts_in_what_the_last_returns_let_expect():
    rule = LabelRule(kind="volatility", horizon_bars=4, volatility_bars=3)
    log_close = np.log(BARS.close)
    row = 50
    spread = np.std(np.diff(log_close)[row - 3 : row], ddof=1)  # the three returns up to the close
    expected = (log_close[row + 4] - log_close[row]) / (spread * 2.0)
    assert _outcomes(BARS, rule).score[row] == pytest.approx(expected, rel=1e-9)


def test_volatility_has_no_label_until_it_has_its_returns():
    rule = LabelRule(kind="volatility", horizon_bars=1, volatility_bars=20)
    valid = _outcomes(random_bars(60, holes_at=(30,)), rule).valid
    assert np.flatnonzero(valid).tolist() == [*range(20, 29), *range(50, 59)]


def test_a_constant_price_scores_zero_and_not_nan():
    rule = LabelRule(kind="volatility", horizon_bars=1, volatility_bars=3)
    assert _outcomes(_closes(*[100.0] * 6), rule).score[3:5].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("kind", KINDS)
def test_no_outcome_looks_across_a_hole(kind):
    rule = _rule(kind, bracket=Bracket(max_hold_bars=4))
    found = _outcomes(BARS, rule)
    resolved = np.searchsorted(BARS.closes_at, found.resolved_at[found.valid])
    assert (BARS.segment[resolved] == BARS.segment[found.valid]).all()
    for rows in BARS.segments:  # the last five bars of each have no bar t + 5
        assert not found.valid[max(rows.start, rows.stop - 5) : rows.stop].any()
    assert np.isnan(found.score[~found.valid]).all()
    assert (found.resolved_at[~found.valid] == NEVER).all()
    assert (found.resolved_at[found.valid] > found.decided_at[found.valid]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_segment_shorter_than_the_horizon_has_no_labels(kind):
    rule = _rule(kind, horizon_bars=50, bracket=Bracket(max_hold_bars=50, atr_bars=2))
    assert not _outcomes(random_bars(30), rule).valid.any()
    assert not _outcomes(random_bars(30).take(slice(0, 0)), rule).valid.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_segment_shorter_than_the_horizon_has_no_labels_and_spoils_no_later_ones(kind):
    rule = _rule(kind, horizon_bars=30, bracket=Bracket(max_hold_bars=30))
    whole = random_bars(150, holes_at=(12, 13))
    found = _outcomes(whole, rule)
    assert not found.valid[:13].any()
    later = _outcomes(whole.take(slice(13, 150)), rule)
    assert later.valid.sum() > 80
    np.testing.assert_array_equal(found.score[13:], later.score)
    np.testing.assert_array_equal(found.resolved_at[13:], later.resolved_at)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(cut=st.integers(60, 599), seed=st.integers(0, 99))
def test_poisoned_bars_change_no_label_that_was_resolved_before_them(kind, cut, seed):
    rule = _rule(kind)
    random = np.random.default_rng(seed)
    noise = np.where(np.arange(len(BARS)) >= cut, random.lognormal(0.0, 1.0, len(BARS)), 1.0)
    poisoned = Bars(
        venue=BARS.venue,
        symbol=BARS.symbol,
        timeframe=BARS.timeframe,
        timestamp=BARS.timestamp,
        open=BARS.open * noise,
        high=BARS.high * noise,
        low=BARS.low * noise,
        close=BARS.close * noise,
        volume=BARS.volume * noise,
        calendar=BARS.calendar,
    )
    clean, dirty = _outcomes(BARS, rule), _outcomes(poisoned, rule)
    known = clean.valid & (clean.resolved_at <= BARS.timestamp[cut])
    assert known.sum() > 0
    np.testing.assert_array_equal(dirty.score[known], clean.score[known])
    np.testing.assert_array_equal(dirty.resolved_at[known], clean.resolved_at[known])
    # What training purges by resolution time is all that is learned from.
    learned = fit_limits(rule, clean.score[known]), fit_limits(rule, dirty.score[known])
    assert learned[0] == learned[1]


@pytest.mark.parametrize("kind", KINDS)
def test_cutting_the_bars_off_keeps_every_label_whose_future_is_left(kind):
    rule = _rule(kind)
    whole, part = _outcomes(BARS, rule), _outcomes(BARS.take(slice(0, 400)), rule)
    np.testing.assert_array_equal(part.score[:370], whole.score[:370])
    np.testing.assert_array_equal(part.resolved_at[:370], whole.resolved_at[:370])


@pytest.mark.parametrize("kind", ["threshold", "quantile", "volatility", "direction"])
def test_where_the_asset_dies_the_last_close_is_the_outcome_of_what_would_go_on(kind):
    rule, last = _rule(kind), len(BARS) - 1
    alive = _outcomes(BARS, rule)
    dead = outcomes(BARS, rule, slippage_price=0.01, ends_for_good=True)
    rows = np.arange(last - 5, last)
    assert np.flatnonzero(dead.valid & ~alive.valid).tolist() == rows[1:].tolist()
    moves = np.log(BARS.close[last] / BARS.close[rows])
    if kind == "volatility":  # in what the whole horizon lets expect, as nothing moves after it
        moves /= past_volatility(BARS, 20)[rows] * np.sqrt(5)
    np.testing.assert_allclose(dead.score[rows], moves, rtol=1e-9)
    assert (dead.resolved_at[rows] == BARS.closes_at[last]).all()
    before = slice(None, last - 4)  # at the holes nothing changes
    np.testing.assert_array_equal(dead.score[before], alive.score[before])
    np.testing.assert_array_equal(dead.resolved_at[before], alive.resolved_at[before])


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_close_of_a_dead_asset_is_no_decision_and_no_bars_are_no_end(kind):
    rule = _rule(kind, bracket=Bracket(max_hold_bars=4, atr_bars=2))
    for n in (1, 2, 40):
        bars = random_bars(n)
        found = outcomes(bars, rule, slippage_price=0.01, ends_for_good=True)
        assert not found.valid[-1]
        assert found.resolved_at[-1] == NEVER
        assert (found.resolved_at[found.valid] > found.decided_at[found.valid]).all()
    assert found.valid[-5:-1].all()
    empty = outcomes(random_bars(5).take(slice(0, 0)), rule, ends_for_good=True)
    assert len(empty.valid) == 0


# Triple barrier. Bar 1 has a true range of 2: stop 2 and target 4 from the fill, which is at 100.
BARRIER = LabelRule(
    kind="triple_barrier",
    bracket=Bracket(stop_atr=1.0, target_atr=2.0, max_hold_bars=3, atr_bars=1),
)
CALM = "100 101 99 100 \n" * 2
FLAT = "100 101 99 100 \n"


def _second_bar(
    drawing: str, rule: LabelRule = BARRIER, slippage: float = 0.0
) -> tuple[float, int]:
    """Return the score of bar 1, and the bar that settles it (-1 for none)."""
    bars = bars_from(drawing)
    found = _outcomes(bars, rule, slippage)
    settled = np.flatnonzero(bars.closes_at == found.resolved_at[1])
    return float(found.score[1]), int(settled[0]) if len(settled) else -1


def test_a_long_that_hits_its_target_makes_the_label_up():
    assert _second_bar(CALM + FLAT + "100 105 99 104 \n" + FLAT * 2) == (1.0, 3)


def test_a_short_that_hits_its_target_makes_the_label_down():
    assert _second_bar(CALM + FLAT + "100 101 95 96 \n" + FLAT * 2) == (-1.0, 3)


def test_neither_target_within_the_hold_makes_the_label_hold_when_time_is_up():
    assert _second_bar(CALM + FLAT * 4) == (0.0, 5)


def test_both_stopped_out_is_a_hold_known_at_the_later_stop():
    drawing = CALM + "100 102.5 99 100 \n 100 101 97.5 100 \n" + FLAT * 2
    assert _second_bar(drawing) == (0.0, 3)


def test_a_target_after_the_stop_does_not_count():
    drawing = CALM + "100 101 97.5 100 \n 100 104.5 99 104 \n" + FLAT * 2
    assert _second_bar(drawing) == (0.0, 3)


NEAR_TARGETS = LabelRule(
    kind="triple_barrier",
    bracket=Bracket(stop_atr=2.0, target_atr=1.0, max_hold_bars=3, atr_bars=1),
)


def test_where_both_sides_win_the_first_one_counts():
    up_first = CALM + "100 102.5 99 100 \n 100 101 97.5 100 \n" + FLAT * 2
    down_first = CALM + "100 101 97.5 100 \n 100 102.5 99 100 \n" + FLAT * 2
    assert _second_bar(up_first, NEAR_TARGETS) == (1.0, 2)
    assert _second_bar(down_first, NEAR_TARGETS) == (-1.0, 2)


def test_where_both_sides_win_in_one_bar_nobody_can_tell_and_it_is_a_hold():
    assert _second_bar(CALM + "100 102.5 97.5 100 \n" + FLAT * 3, NEAR_TARGETS) == (0.0, 2)


def test_without_room_for_a_full_hold_there_is_no_label_even_for_a_quick_winner():
    score, settled = _second_bar(CALM + "100 105 99 104 \n" + FLAT * 2)
    assert math.isnan(score)
    assert settled == -1


def _second_bar_of_a_dead_asset(drawing: str) -> tuple[float, int]:
    bars = bars_from(drawing)
    found = outcomes(bars, BARRIER, slippage_price=0.0, ends_for_good=True)
    return float(found.score[1]), int(np.flatnonzero(bars.closes_at == found.resolved_at[1])[0])


def test_a_level_that_is_touched_before_the_asset_dies_counts():
    assert _second_bar_of_a_dead_asset(CALM + "100 105 99 104 \n") == (1.0, 2)
    assert _second_bar_of_a_dead_asset(CALM + FLAT + "100 101 95 96 \n") == (-1.0, 3)


def test_what_is_open_when_the_asset_dies_leaves_at_the_last_close_as_a_hold():
    assert _second_bar_of_a_dead_asset(CALM + FLAT) == (0.0, 2)
    assert _second_bar_of_a_dead_asset(CALM + FLAT * 2) == (0.0, 3)


def test_slippage_moves_the_levels_with_the_fill():
    drawing = CALM + FLAT + "100 104.2 99 104 \n" + FLAT * 2  # the fill is 100.5, the target 104.5
    assert _second_bar(drawing) == (1.0, 3)
    assert _second_bar(drawing, slippage=0.5)[0] == 0.0


def test_a_tick_read_off_the_prices_reads_those_before_the_first_label():
    bars = random_bars(300, seed=1, symbol="UNHEARD")
    rule = LabelRule(kind="triple_barrier", bracket=Bracket(max_hold_bars=5))
    whole, part = outcomes(bars, rule), outcomes(bars.take(slice(0, 60)), rule)
    np.testing.assert_array_equal(part.score[:50], whole.score[:50])
    assert whole.valid.sum() > 250
    # 1/10 000 of the price stands in for what the bars' own decimals do not show.
    found = outcomes(bars, rule, slippage_price=0.01)
    np.testing.assert_array_equal(found.score, whole.score)


def test_the_tick_of_a_known_symbol_is_the_instruments():
    bars = random_bars(200, seed=1, symbol="BTCUSDT")
    rule = LabelRule(kind="triple_barrier", bracket=Bracket(max_hold_bars=5))
    given, known = outcomes(bars, rule, slippage_price=0.1), outcomes(bars, rule)
    np.testing.assert_array_equal(known.score, given.score)


@settings(max_examples=15, deadline=None)
@given(
    stop=st.sampled_from([0.5, 1.5, 3.0]),
    target=st.sampled_from([0.5, 2.5]),
    hold=st.sampled_from([1, 6, 20]),
    dies=st.booleans(),
)
def test_the_barrier_is_the_exit_of_a_single_intention_at_that_bar(stop, target, hold, dies):
    bracket = Bracket(stop_atr=stop, target_atr=target, max_hold_bars=hold)
    rule = LabelRule(kind="triple_barrier", bracket=bracket)
    found = outcomes(BARS, rule, slippage_price=0.02, ends_for_good=dies)
    assert found.valid[-20:-1].all() == dies
    tape = make_tape(BARS, bracket.atr_bars)
    none = np.array([np.nan])
    rows = np.flatnonzero(found.valid)
    for row in {*rows[::7], *rows[-hold:]}:
        exits = {}
        for side in (1, -1):
            alone = Decisions(row=[row], side=[side], size=[1.0], stop=none, target=none)
            fills, _ = fill(tape, alone, bracket, slippage_price=0.02)
            exits[side] = (int(fills.exit_kind[0]) == 2, int(fills.exit_row[0]))
        winners = [side for side in (1, -1) if exits[side][0]]
        if len(winners) == 2:
            first = sorted(winners, key=lambda side: exits[side][1])
            winners = first[:1] if exits[1][1] != exits[-1][1] else []
        settled = exits[winners[0]][1] if winners else max(exits[1][1], exits[-1][1])
        assert found.score[row] == (winners[0] if winners else 0.0)
        assert found.resolved_at[row] == BARS.closes_at[settled]
