"""Every rule of DESIGN section 6 on a market drawn by hand; each runs as a long and as a short.

Bar 1 of every drawing has a true range of 2, so the bracket puts the stop 2 below the fill and
the target 4 above it (see drawn_trades.BRACKET); prices of shorts are mirrored back.
"""

import pytest

from execution.drawn_trades import decide, only_trade
from walkforge.execution import Bracket

pytestmark = pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])

CALM = """
    100  101   99  100
    100  101   99  100   # decide at this close; true range 2
"""


def test_a_decision_fills_at_the_next_open(side):
    trade = only_trade(CALM + "100.5 101 100 101", side)
    assert (trade.entry_row, trade.entry_price) == (2, 100.5)


def test_the_entry_pays_slippage(side):
    assert only_trade(CALM + "100.5 101 100 101", side, slippage=0.25).entry_price == 100.75


def test_levels_lie_at_multiples_of_the_atr_from_the_fill_price(side):
    trade = only_trade(CALM + "100.5 101 100 101", side, slippage=0.25)
    assert (trade.stop, trade.target) == (98.75, 104.75)


def test_the_atr_is_that_of_the_decision_and_not_of_the_entry(side):
    drawing = CALM + "100 103.5 98.5 100"  # the entry bar's own range would make the stop 95
    assert only_trade(drawing, side).stop == 98.0


def test_own_levels_go_before_the_brackets(side):
    trade = only_trade(CALM + "100 101 99.5 100", side, stop=99.25, target=107.0)
    assert (trade.stop, trade.target) == (99.25, 107.0)


def test_an_own_stop_goes_with_the_brackets_target(side):
    trade = only_trade(CALM + "100 101 99.5 100", side, stop=99.25)
    assert (trade.stop, trade.target) == (99.25, 104.0)


def test_a_stop_touched_inside_a_bar_fills_at_the_stop_not_at_the_low(side):
    trade = only_trade(
        CALM
        + """
        100  101   99  100
        100  101   97   97.5  # 98 is touched on the way to 97
        """,
        side,
    )
    assert (trade.kind, trade.row, trade.price, trade.at_open) == ("stop", 3, 98.0, False)


def test_a_stop_pays_slippage(side):
    drawing = CALM + "100 101 97 97.5"
    trade = only_trade(drawing, side, slippage=0.5)  # filled at 100.5, so the stop is 98.5
    assert (trade.kind, trade.price) == ("stop", 98.0)


def test_a_stop_touched_exactly_counts(side):
    assert only_trade(CALM + "100 101 98 99", side).kind == "stop"


def test_a_stop_missed_by_a_hair_does_not_count(side):
    assert only_trade(CALM + "100 101 98.001 99", side).kind == "segment_end"


def test_the_stop_lives_in_the_entry_bar(side):
    trade = only_trade(CALM + "100 101 97 100", side)
    assert (trade.kind, trade.row, trade.entry_row) == ("stop", 2, 2)


def test_the_target_lives_in_the_entry_bar(side):
    trade = only_trade(CALM + "100 105 99 100", side)
    assert (trade.kind, trade.row, trade.price) == ("target", 2, 104.0)


def test_a_target_fills_at_the_target_and_pays_no_slippage(side):
    drawing = CALM + "100 105 99.5 103"
    trade = only_trade(drawing, side, slippage=0.25)  # filled at 100.25, so the target is 104.25
    assert (trade.kind, trade.price) == ("target", 104.25)


def test_a_bar_that_touches_both_counts_as_the_stop(side):
    trade = only_trade(CALM + "100 105 97 103", side)
    assert (trade.kind, trade.price) == ("stop", 98.0)


def test_an_open_beyond_the_stop_fills_at_the_open_with_slippage(side):
    trade = only_trade(
        CALM
        + """
        100  101   99  100
         96   97   95   96   # opens 2 below the stop
        """,
        side,
        stop=98.0,
        slippage=0.25,
    )
    assert (trade.kind, trade.row, trade.price, trade.at_open) == ("stop", 3, 95.75, True)


def test_an_open_beyond_the_target_fills_at_the_better_open_without_slippage(side):
    trade = only_trade(
        CALM
        + """
        100  101   99  100
        106  107  105  106   # opens 2 above the target
        """,
        side,
        target=104.0,
        slippage=0.25,
    )
    assert (trade.kind, trade.row, trade.price, trade.at_open) == ("target", 3, 106.0, True)


def test_a_gap_over_the_target_that_falls_to_the_stop_later_is_a_target(side):
    drawing = CALM + "100 101 99 100 \n 106 107 90 91"
    assert only_trade(drawing, side).kind == "target"


def test_an_entry_that_opens_beyond_an_own_stop_leaves_at_that_very_open(side):
    trade = only_trade(CALM + "97 98 96 97", side, stop=98.0, slippage=0.25)
    assert (trade.entry_price, trade.kind, trade.price) == (97.25, "stop", 96.75)
    assert (trade.row, trade.at_open) == (trade.entry_row, True)


def test_time_runs_out_at_the_open_of_the_entry_bar_plus_the_longest_hold(side):
    trade = only_trade(
        CALM
        + """
        100    101   99   100    # entered here, bar 2
        100    101   99   100
        100    101   99   100
        100.5  101   99   100    # bar 2 + 3
        """,
        side,
        slippage=0.25,
        bracket=Bracket(stop_atr=3, target_atr=3, max_hold_bars=3, atr_bars=1),
    )
    assert (trade.kind, trade.row, trade.price, trade.at_open) == ("timeout", 5, 100.25, True)


def test_levels_live_in_the_last_bar_before_time_runs_out(side):
    flat = "100 101 99 100 \n"
    trade = only_trade(CALM + flat + flat + "100 101 97 97.5 \n" + flat, side)
    assert (trade.kind, trade.row) == ("stop", 4)


def test_at_the_open_that_ends_its_time_a_position_leaves_by_timeout_whatever_the_open_is(side):
    flat = "100 101 99 100 \n"
    above = only_trade(CALM + flat * 3 + "106 107 105 106", side, slippage=0.25)
    below = only_trade(CALM + flat * 3 + "90 91 89 90", side, slippage=0.25)
    assert (above.kind, above.price) == ("timeout", 105.75)
    assert (below.kind, below.price) == ("timeout", 89.75)


def test_a_hold_of_one_bar_leaves_at_the_next_open(side):
    bracket = Bracket(stop_atr=1, target_atr=2, max_hold_bars=1, atr_bars=1)
    trade = only_trade(CALM + "100 101 99 100 \n 101 102 90 91", side, bracket=bracket)
    assert (trade.kind, trade.row, trade.price) == ("timeout", 3, 101.0)


def test_at_the_end_of_the_bars_a_position_leaves_at_the_close_with_slippage(side):
    trade = only_trade(CALM + "100 101 99 100.5", side, slippage=0.25)
    assert (trade.kind, trade.row, trade.price, trade.at_open) == ("segment_end", 2, 100.25, False)


def test_at_the_last_bar_before_a_hole_a_position_leaves_at_that_close(side):
    drawing = CALM + "100 101 99 100.5 \n 100 101 99 100 \n 100 101 99 100"
    trade = only_trade(drawing, side, missing_before=(3,))
    assert (trade.kind, trade.row, trade.price) == ("segment_end", 2, 100.5)


def test_a_stop_touched_in_the_last_bar_goes_before_the_segments_end(side):
    drawing = CALM + "100 101 97 100.5 \n 100 101 99 100"
    assert only_trade(drawing, side, missing_before=(3,)).kind == "stop"


def test_a_time_out_in_a_segments_last_bar_leaves_at_its_open(side):
    flat = "100 101 99 100 \n"
    trade = only_trade(CALM + flat * 3 + "100.5 101 99 99.5", side)
    assert (trade.kind, trade.row, trade.price) == ("timeout", 5, 100.5)


def test_a_decision_at_a_segments_last_bar_cannot_enter(side):
    drawing = CALM + "100 101 99 100 \n 100 101 99 100"
    assert decide(drawing, side, missing_before=(2,)) == ([], ["last_bar"])
    assert decide(drawing, side, at=(3,)) == ([], ["last_bar"])


def test_a_decision_before_the_atr_is_there_cannot_enter(side):
    drawing = CALM + "100 101 99 100"
    assert decide(drawing, side, at=(0,)) == ([], ["no_atr"])


def test_a_decision_with_both_levels_of_its_own_needs_no_atr(side):
    trade = only_trade(CALM + "100 101 99 100", side, at=(0,), stop=99.0, target=105.0)
    assert (trade.entry_row, trade.kind) == (1, "stop")


def test_after_a_hole_the_atr_warms_up_anew(side):
    drawing = CALM + "100 101 99 100 \n" * 2
    assert decide(drawing, side, at=(2,), missing_before=(2,)) == ([], ["no_atr"])


def test_a_decision_while_in_a_position_does_not_count(side):
    trades, became = decide(CALM + "100 101 99 100 \n" * 4, side, at=(1, 2, 3))
    assert became == ["entered", "not_flat", "not_flat"]
    assert len(trades) == 1


def test_after_an_exit_inside_a_bar_the_same_close_can_decide_again(side):
    drawing = CALM + "100 101 97 97.5 \n 100 101 99 100"
    trades, became = decide(drawing, side, at=(1, 2))
    assert became == ["entered", "entered"]
    assert [trade.entry_row for trade in trades] == [2, 3]


def test_after_an_exit_at_an_open_the_same_bars_close_can_decide_but_not_the_one_before(side):
    flat = "100 101 99 100 \n"
    # Bar 5 ends the position at its open: at the close of bar 4 it was still there.
    trades, became = decide(CALM + flat * 5, side, at=(1, 4, 5))
    assert became == ["entered", "not_flat", "entered"]
    assert [trade.entry_row for trade in trades] == [2, 6]


def test_a_dead_market_stops_out_where_it_entered(side):
    drawing = "100 100 100 100 \n" * 4  # an ATR of 0 leaves no room between fill and levels
    trade = only_trade(drawing, side, slippage=0.25)
    assert (trade.kind, trade.entry_price, trade.price) == ("stop", 100.25, 99.75)
