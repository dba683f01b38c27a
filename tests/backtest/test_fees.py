"""One fee for all, or each instrument's own: the maker's at a target, the taker's elsewhere."""

import dataclasses

import polars as pl
import pytest

from backtest.table import intentions, venue
from drawn import bars_from, random_bars
from walkforge.backtest import BacktestSetup, run
from walkforge.base import UsageError
from walkforge.execution import Bracket, Costs

BRACKET = Bracket(stop_atr=1.0, target_atr=2.0, max_hold_bars=3, atr_bars=1)
OWN = Costs(fee_frac=None, slippage_ticks=0.0)
CALM = "100 101 99 100 \n" * 2
FLAT = "100 101 99 100 \n"


def _setup(**changes) -> BacktestSetup:
    quick = {"bracket": BRACKET, "costs": OWN, "size_contracts": 2.0}
    return BacktestSetup(**{**quick, "n_random": 0, "n_resamples": 0, **changes})


def _run(bars, setup=None, **instrument):
    fees = {"maker_fee_frac": 0.0002, "taker_fee_frac": 0.0005, **instrument}
    named = {bars.symbol: venue(bars.symbol, **fees)}
    table = intentions(bars, {1: 1})
    return run({bars.symbol: bars}, table, setup or _setup(), instruments=named)


@pytest.mark.parametrize(
    ("rest", "kind", "exit_price", "exit_fee"),
    [
        ("100 105 99.5 104 \n" + FLAT, "target", 104.0, 0.0002),  # 2 x ATR 2 above the entry
        (FLAT + "106 107 105 106", "target", 106.0, 0.0002),  # a gap beyond it: still a limit
        ("100 101 97 98 \n" + FLAT, "stop", 98.0, 0.0005),
        (FLAT * 4, "timeout", 100.0, 0.0005),
        (FLAT, "segment_end", 100.0, 0.0005),
    ],
)
def test_own_fees_are_the_makers_at_the_target_and_the_takers_elsewhere(
    rest, kind, exit_price, exit_fee
):
    (trade,) = _run(bars_from(CALM + rest)).trades.to_dicts()
    assert (trade["exit_kind"], trade["exit_price"]) == (kind, exit_price)
    assert trade["fee"] == pytest.approx(2 * (100 * 0.0005 + exit_price * exit_fee))


def test_makers_may_be_paid():
    bars = bars_from(CALM + "100 105 99.5 104 \n" + FLAT)
    (trade,) = _run(bars, maker_fee_frac=-0.0001).trades.to_dicts()
    assert trade["fee"] == pytest.approx(2 * (100 * 0.0005 - 104 * 0.0001))


@pytest.mark.parametrize("who", ["maker", "taker"])
def test_an_instrument_without_a_fee_is_refused_by_name(who):
    bars = bars_from(CALM + FLAT, symbol="ODDUSDT")
    with pytest.raises(UsageError, match=rf"^ODDUSDT: its {who} fee is not known .*; give a fee"):
        _run(bars, **{f"{who}_fee_frac": None})


def test_one_fee_for_all_asks_no_instrument():
    bars = bars_from(CALM + "100 105 99.5 104 \n" + FLAT)
    setup = _setup(costs=Costs(fee_frac=0.001, slippage_ticks=0.0))
    (trade,) = _run(bars, setup, maker_fee_frac=None, taker_fee_frac=None).trades.to_dicts()
    assert trade["fee"] == pytest.approx(2 * 204 * 0.001)


def test_the_run_at_the_takers_fee_is_the_setups_unless_that_or_the_fee_is_none():
    bars = bars_from(CALM + "100 105 99.5 104 \n" + FLAT)
    notional = 2 * 204
    for costs, taker, expected in [
        (Costs(slippage_ticks=0.0), 0.003, 0.003),
        (Costs(slippage_ticks=0.0), None, 0.0005),
        (OWN, 0.003, 0.0005),
    ]:
        summary = _run(bars, _setup(costs=costs, taker_fee_frac=taker)).summary
        assert summary["taker"]["fee_frac"] == expected
        assert summary["taker"]["fees"] == pytest.approx(notional * expected)


def test_taker_fees_that_differ_have_no_single_number():
    bars = {symbol: random_bars(60, seed=k, symbol=symbol) for k, symbol in enumerate("AB")}
    table = pl.concat([intentions(one, {20: 1, 40: -1}) for one in bars.values()])
    fees = {"A": 0.001, "B": 0.002}
    named = {s: venue(s, maker_fee_frac=0.0, taker_fee_frac=fee) for s, fee in fees.items()}
    result = run(bars, table, _setup(bracket=Bracket()), instruments=named)
    notional = pl.col("size") * (pl.col("entry_price") + pl.col("exit_price"))
    expected = result.trades.select(notional * pl.col("symbol").replace_strict(fees)).to_series()
    assert result.summary["taker"]["fee_frac"] is None
    assert result.summary["taker"]["fees"] == pytest.approx(expected.sum())


def test_cost_stress_multiplies_own_fees():
    bars = bars_from(CALM + "100 105 99.5 104 \n" + FLAT)
    rows = _run(bars).summary["cost_stress"]
    fees = [row["fees"] for row in rows]
    assert fees == pytest.approx([0.0, fees[1], 2 * fees[1], 4 * fees[1]])
    assert fees[1] == pytest.approx(2 * (100 * 0.0005 + 104 * 0.0002))
    assert [row["fee_frac"] for row in rows] == [None] * 4


def test_cost_stress_never_earns_more_where_makers_are_paid():
    bars = bars_from(CALM + "100 105 99.5 104 \n" + FLAT)
    rows = _run(bars, maker_fee_frac=-0.001).summary["cost_stress"]
    assert [row["factor"] for row in rows] == [0.0, 1.0, 2.0, 4.0]
    entry, rebate = 2 * 100 * 0.0005, 2 * 104 * 0.001
    expected = [0.0, entry - rebate, 2 * entry - rebate, 4 * entry - rebate]
    assert [row["fees"] for row in rows] == pytest.approx(expected)


def test_stored_fees_of_a_venue_are_taken_where_no_instrument_is_given():
    bars = dataclasses.replace(random_bars(60, symbol="BTCUSDT"), venue="binance")
    setup = _setup(bracket=Bracket(), size_contracts=1.0)
    (trade,) = run({"BTCUSDT": bars}, intentions(bars, {20: 1}), setup).trades.to_dicts()
    assert trade["fee"] == pytest.approx(0.001 * (trade["entry_price"] + trade["exit_price"]))
