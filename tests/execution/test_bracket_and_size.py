"""Brackets and costs refuse nonsense; sizes keep the venue's rules."""

import numpy as np
import pytest

from walkforge.base import UsageError
from walkforge.execution import Bracket, Charges, Costs, order_sizes, sizes_for_notional
from walkforge.market import Instrument


def _venue(**changes: float) -> Instrument:
    return Instrument(
        "TEST", **{"tick_size": 0.1, "lot_step": 0.001, "min_notional": 0.0, **changes}
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stop_atr", 0.0),
        ("stop_atr", float("nan")),
        ("target_atr", -1.0),
        ("target_atr", float("inf")),
        ("max_hold_bars", 0),
        ("max_hold_bars", 2.5),
        ("atr_bars", True),
    ],
)
def test_an_impossible_bracket_is_refused_by_name(field, value):
    with pytest.raises(UsageError, match=f"{field} is .*must be a"):
        Bracket(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("fee_frac", -0.1), ("fee_frac", 1.0), ("slippage_ticks", -1.0), ("fee_frac", float("nan"))],
)
def test_impossible_costs_are_refused_by_name(field, value):
    with pytest.raises(UsageError, match=f"{field} is .*must be a finite number at least 0"):
        Costs(**{field: value})


def test_costs_are_charged_by_the_instruments_tick_and_multiply():
    charges = Costs(fee_frac=0.001, slippage_ticks=2.0).of(_venue())
    assert charges.times(4) == Charges(
        market_fee_frac=0.004, limit_fee_frac=0.004, slippage_price=0.8
    )
    assert charges.at_fee(0.002) == Charges(
        market_fee_frac=0.002, limit_fee_frac=0.002, slippage_price=0.2
    )


def test_what_a_venue_pays_its_makers_does_not_grow_under_stress():
    paid = Charges(market_fee_frac=0.0005, limit_fee_frac=-0.0001, slippage_price=0.1)
    fees = [paid.times(factor).limit_fee_frac for factor in (0, 0.5, 1, 2, 4)]
    assert fees == [0.0, -0.00005, -0.0001, -0.0001, -0.0001]
    assert paid.times(4).market_fee_frac == 0.002


def test_no_fee_takes_the_instruments_own():
    venue = _venue(maker_fee_frac=0.0002, taker_fee_frac=0.0005)
    charges = Costs(fee_frac=None).of(venue)
    assert (charges.market_fee_frac, charges.limit_fee_frac) == (0.0005, 0.0002)
    with pytest.raises(UsageError, match=r"TEST: its maker fee is not known \(instrument given\)"):
        Costs(fee_frac=None).of(_venue(taker_fee_frac=0.0005))


def test_sizes_are_rounded_down_to_the_lot_step():
    sizes = order_sizes(np.array([0.0019, 0.0020, 0.0009]), np.full(3, 100.0), _venue())
    assert sizes.tolist() == [0.001, 0.002, 0.0]


def test_a_size_of_whole_lots_stays_what_it_is():
    wanted = np.array([0.3, 0.7, 1.1, 0.001])
    assert order_sizes(wanted, np.ones(4), _venue(lot_step=0.1)).tolist() == [0.3, 0.7, 1.1, 0.0]


def test_an_order_below_the_minimum_notional_is_refused():
    venue = _venue(min_notional=5.0)
    price = np.array([4999.0, 5000.0, 5001.0])
    assert order_sizes(np.full(3, 0.001), price, venue).tolist() == [0.0, 0.001, 0.001]


def test_the_minimum_counts_what_is_left_after_rounding():
    venue = _venue(lot_step=1.0, min_notional=5.0)
    assert order_sizes(np.array([1.99]), np.array([4.0]), venue).tolist() == [0.0]


def test_the_contract_size_is_part_of_the_notional():
    venue = _venue(lot_step=1.0, min_notional=5.0, contract_size=10.0)
    assert order_sizes(np.array([1.0]), np.array([0.6]), venue).tolist() == [1.0]
    assert sizes_for_notional(60.0, np.array([0.6]), venue).tolist() == [10.0]
