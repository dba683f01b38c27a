"""What positions pay for funding: by hand, against a slow loop, and in every number."""

import dataclasses
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtest.table import intentions, venue
from drawn import START_MS, bars_from, random_bars
from walkforge.backtest import PORTFOLIO, BacktestSetup, run
from walkforge.execution import Bracket, Costs
from walkforge.market import Bars, Funding

BRACKET = Bracket(stop_atr=1.0, target_atr=2.0, max_hold_bars=3, atr_bars=1)
FREE = Costs(fee_frac=0.0, slippage_ticks=0.0)
CALM = "100 101 99 100 \n" * 2
FLAT = "100 101 99 100 \n"
MINUTE_MS = 60_000


def _setup(**changes) -> BacktestSetup:
    quick = {"bracket": BRACKET, "costs": FREE, "size_contracts": 2.0}
    return BacktestSetup(**{**quick, "n_random": 0, "n_resamples": 0, **changes})


def _funding(rates: dict[float, float]) -> Funding:
    """Return rates by minutes after the bars' beginning."""
    stamps = [START_MS + round(minute * MINUTE_MS) for minute in rates]
    return Funding(np.array(stamps, dtype=np.int64), np.array(list(rates.values())))


def _run(bars: Bars, table: pl.DataFrame, rates: dict[float, float], setup=None, **instrument):
    return run(
        {bars.symbol: bars},
        table,
        setup or _setup(),
        instruments={bars.symbol: venue(bars.symbol, **instrument)},
        funding={bars.symbol: _funding(rates)},
    )


def _paid(bars: Bars, rates: dict[float, float], side: int = 1, **instrument) -> float:
    (trade,) = _run(bars, intentions(bars, {1: side}), rates, **instrument).trades.to_dicts()
    assert trade["pnl"] == pytest.approx(
        trade["side"]
        * (trade["exit_price"] - trade["entry_price"])
        * trade["size"]
        * instrument.get("contract_size", 1.0)
        - trade["funding"]
    )
    return trade["funding"]


# Decided at the close of bar 1: entered at the open of bar 2, which is minute 2.
LONG_HOLD = bars_from(CALM + "100 101 99.5 100 \n" + "101 101.5 100.5 101 \n" * 4)


def test_a_long_pays_the_rate_on_its_size_at_the_open_of_the_bar():
    # Times out at the open of bar 5; bar 3 opens at 101.
    assert _paid(LONG_HOLD, {3.5: 0.001}) == pytest.approx(2 * 101 * 0.001)


def test_a_short_earns_what_a_long_pays_and_a_negative_rate_turns_both_around():
    assert _paid(LONG_HOLD, {3.5: 0.001}, side=-1) == pytest.approx(-2 * 101 * 0.001)
    assert _paid(LONG_HOLD, {3.5: -0.001}) == pytest.approx(-2 * 101 * 0.001)
    assert _paid(LONG_HOLD, {3.5: -0.001}, side=-1) == pytest.approx(2 * 101 * 0.001)


def test_the_contract_size_counts():
    assert _paid(LONG_HOLD, {3.5: 0.001}, contract_size=10.0) == pytest.approx(20 * 101 * 0.001)


@pytest.mark.parametrize(
    ("minute", "counts"),
    [(1.99, 0), (2.0, 0), (2.02, 1), (3.0, 1), (5.0, 1), (5.02, 0)],
    ids=str,
)
def test_whoever_leaves_at_an_open_pays_after_the_entry_and_up_to_that_moment(minute, counts):
    (trade,) = _run(LONG_HOLD, intentions(LONG_HOLD, {1: 1}), {minute: 0.001}).trades.to_dicts()
    assert (trade["exit_kind"], trade["left_at_open"]) == ("timeout", True)
    assert (trade["funding"] > 0) == bool(counts)


@pytest.mark.parametrize(
    ("minute", "counts"),
    [(2.0, 0), (2.5, 1), (3.0, 1), (3.98, 1), (4.0, 0)],
    ids=str,
)
def test_whoever_leaves_inside_a_bar_pays_as_if_it_stayed_to_its_close(minute, counts):
    bars = bars_from(CALM + "100 101 99.5 100 \n 100 100.5 90 99 \n" + FLAT * 2)
    (trade,) = _run(bars, intentions(bars, {1: 1}), {minute: 0.001}).trades.to_dicts()
    assert (trade["exit_kind"], trade["left_at_open"]) == ("stop", False)
    assert (trade["funding"] > 0) == bool(counts)


STOPPED_SHORT = bars_from(CALM + "100 101 99.5 100 \n 100 110 99.5 101 \n" + FLAT * 2)


@pytest.mark.parametrize(
    ("minute", "earns"), [(2.5, True), (3.0, True), (3.02, False), (3.5, False)], ids=str
)
def test_whoever_leaves_inside_a_bar_earns_nothing_after_its_open(minute, earns):
    for rate in (0.001, -0.001):
        result = _run(STOPPED_SHORT, intentions(STOPPED_SHORT, {1: -1}), {minute: rate})
        (trade,) = result.trades.to_dicts()
        assert (trade["exit_kind"], trade["left_at_open"]) == ("stop", False)
        expected = -2 * 100 * rate if earns or rate < 0 else 0.0
        assert trade["funding"] == pytest.approx(expected)
    # What costs and what pays are told apart moment by moment, not in the sum.
    if not earns:
        both = {minute: 0.001, minute + 0.1: -0.001}
        assert _paid(STOPPED_SHORT, both, side=-1) == pytest.approx(2 * 100 * 0.001)


def test_whoever_leaves_at_a_close_was_there_for_all_of_the_bar_and_earns_it():
    bars = bars_from(CALM + FLAT * 2)
    result = _run(bars, intentions(bars, {1: -1}), {3.5: 0.001})
    (trade,) = result.trades.to_dicts()
    assert trade["exit_kind"] == "segment_end"
    assert trade["funding"] == pytest.approx(-2 * 100 * 0.001)


def test_a_settlement_stamped_some_milliseconds_late_falls_on_its_second():
    late = 5 + 7 / MINUTE_MS
    assert _paid(LONG_HOLD, {late: 0.001}) == _paid(LONG_HOLD, {5: 0.001}) > 0


def test_every_moment_on_the_way_is_paid_at_its_own_price():
    paid = _paid(LONG_HOLD, {2.5: 0.001, 3.5: -0.002, 4.5: 0.004, 6.5: 1e-1})
    assert paid == pytest.approx(2 * (100 * 0.001 - 101 * 0.002 + 101 * 0.004))


# Against a slow loop


def _slow(trade: dict, bars: Bars, funding: Funding, contract_size: float) -> float:
    """What a trade pays, settlement after settlement and bar after bar."""
    entered, left = (trade[name].timestamp() * 1000 for name in ("entered_at", "left_at"))
    paid = 0.0
    for stamp, rate in zip(funding.timestamp.tolist(), funding.rate.tolist(), strict=True):
        second = stamp // 1000 * 1000
        for opens, price in zip(bars.timestamp.tolist(), bars.open.tolist(), strict=True):
            if not opens <= second < opens + MINUTE_MS:
                continue
            there = second <= left if trade["left_at_open"] else second < left
            if not (entered < second and there):
                continue
            owed = trade["side"] * trade["size"] * contract_size * price * rate
            touched = trade["exit_kind"] in ("stop", "target") and not trade["left_at_open"]
            may_be_gone = touched and second > left - MINUTE_MS
            paid += max(owed, 0.0) if may_be_gone else owed
    return paid


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    hold=st.sampled_from([1, 4, 20]),
    step_s=st.sampled_from([20, 60, 90, 480]),
    late_ms=st.sampled_from([0, 9, 20_000]),
)
def test_funding_is_that_of_a_slow_loop(seed, hold, step_s, late_ms):
    random = np.random.default_rng(seed)
    bars = random_bars(150, seed=seed, symbol="TEST", volatility_frac=0.004, holes_at=(60, 110))
    stamps = np.arange(bars.timestamp[0], bars.closes_at[-1] + 600_000, step_s * 1000) + late_ms
    funding = Funding(stamps, random.normal(0, 0.001, len(stamps)))
    rows = np.flatnonzero(random.random(len(bars) - 1) < 0.4)
    table = intentions(bars, {int(row): int(random.choice([-1, 1])) for row in rows})
    result = run(
        {"TEST": bars},
        table,
        _setup(bracket=Bracket(max_hold_bars=hold)),
        instruments={"TEST": venue(contract_size=3.0)},
        funding={"TEST": funding},
    )
    expected = [_slow(trade, bars, funding, 3.0) for trade in result.trades.to_dicts()]
    assert len(expected) > 5
    assert result.trades["funding"].to_list() == pytest.approx(expected, abs=1e-10)
    if step_s <= 60 and hold > 1:
        assert np.count_nonzero(expected) > 0.5 * len(expected)


def test_later_rates_change_no_trade_that_was_over():
    bars = random_bars(300, seed=3, symbol="TEST")
    minutes = np.arange(0, 300, 7.0)
    rates = np.random.default_rng(0).normal(0, 0.001, len(minutes))
    poisoned = np.where(minutes > 150, 0.5, rates)
    table = intentions(bars, dict.fromkeys(range(20, 280, 9), 1))
    clean, other = (
        _run(bars, table, dict(zip(minutes, known, strict=True)), _setup(bracket=Bracket()))
        for known in (rates, poisoned)
    )
    over = pl.col("left_at").dt.epoch("ms") <= START_MS + 150 * MINUTE_MS
    assert clean.trades.filter(over).height > 5
    assert clean.trades.filter(over).equals(other.trades.filter(over))
    assert not clean.trades.equals(other.trades)


# In the account


def _of(result, symbol: str, column: str = "equity") -> list[float]:
    return result.equity.filter(pl.col("symbol") == symbol)[column].to_list()


@pytest.mark.parametrize("side", [1, -1])
def test_equity_has_the_funding_at_the_close_of_the_bar_it_falls_into(side):
    bars = bars_from(CALM + FLAT * 6)
    result = _run(bars, intentions(bars, {1: side, 3: 0}), {3.5: 0.01, 4.0: 0.02})
    # Bars 1 to 7, no price moves: 2 x 100 x 1 % in bar 3, 2 % more in bar 4, out at bar 5's open.
    paid = [0.0, 0.0, 2.0, 6.0, 6.0, 6.0, 6.0]
    assert _of(result, "TEST") == pytest.approx([10_000 - side * one for one in paid])
    assert _of(result, PORTFOLIO) == _of(result, "TEST")


def test_equity_ends_with_every_trades_pnl_and_blocks_sum_the_funding():
    bars = {
        symbol: random_bars(600, seed=k, symbol=symbol, holes_at=(300,))
        for k, symbol in enumerate("AB")
    }
    tables = [
        intentions(one, {row: 1 if row % 2 else -1 for row in range(20, 590, 7)})
        for one in bars.values()
    ]
    minutes = {minute + 0.5: 0.001 * math.sin(minute) for minute in range(0, 620, 3)}
    result = run(
        bars,
        pl.concat(tables),
        _setup(bracket=Bracket(), costs=Costs()),
        instruments={symbol: venue(symbol) for symbol in bars},
        funding={"A": _funding(minutes)},
    )
    assert _of(result, PORTFOLIO)[-1] == pytest.approx(10_000 + result.trades["pnl"].sum())
    by_symbol, pooled = result.summary["by_symbol"], result.summary["pooled"]
    of_a = result.trades.filter(pl.col("symbol") == "A")["funding"]
    assert by_symbol["A"]["funding"] == pytest.approx(of_a.sum()) != 0.0
    assert by_symbol["B"]["funding"] == 0.0
    assert pooled["funding"] == by_symbol["A"]["funding"]
    assert result.summary["setup"]["funding"]["A"]["moments"] > 150
    assert list(result.summary["setup"]["funding"]) == ["A"]


def test_buy_and_hold_pays_funding_and_holds_through_a_hole():
    bars = bars_from(
        CALM + "100 106 99 105 \n 150 151 149 150 \n 160 161 149 160", missing_before=(3,)
    )
    rates = {2.0: 0.5, 2.5: 0.01, 3.5: 0.02, 5.5: 0.04}
    result = _run(bars, intentions(bars, {1: 0, 3: 0}), rates)
    held = result.summary["buy_and_hold"]
    # Bought at the open of bar 2, minute 2; minute 3 is missing: its moment counts at the close
    # before it, 105; the last bar opens at minute 5 at 160.
    assert held["funding"] == pytest.approx(2 * (100 * 0.01 + 105 * 0.02 + 160 * 0.04))
    assert held["pnl"] == pytest.approx(2 * 60 - held["funding"])
    equity = _of(result, "TEST", "buy_and_hold")
    expected = [0, 2 * 5 - 2.0, 2 * 50 - 2.0 - 4.2, 2 * 60 - 2.0 - 4.2 - 12.8]
    assert equity == pytest.approx([10_000 + one for one in expected])


def test_random_entries_pay_funding_too():
    bars = random_bars(800, seed=5, symbol="TEST")
    table = intentions(bars, dict.fromkeys(range(20, 780, 30), 1))
    setup = _setup(bracket=Bracket(), n_random=10)
    rates = {minute + 0.5: 0.001 for minute in range(800)}
    chance, free = (
        _run(bars, table, known, setup).summary["random_entries"] for known in (rates, {0.0: 0.0})
    )
    assert chance["funding"] > 0
    assert free["funding"] == 0.0
    assert chance["pnl"] == pytest.approx(free["pnl"] - chance["funding"])


def test_cost_stress_multiplies_fees_and_slippage_and_leaves_funding_alone():
    bars = random_bars(800, seed=5, symbol="TEST")
    far = [0.5 * price for price in bars.close], [2.0 * price for price in bars.close]
    rows = list(range(20, 780, 30))
    levels = {
        name: [float(level[row]) for row in rows]
        for name, level in zip(("stop", "target"), far, strict=True)
    }
    table = intentions(bars, dict.fromkeys(rows, 1), **levels)
    rates = {minute + 0.5: 0.001 for minute in range(800)}
    summary = _run(bars, table, rates, _setup(bracket=Bracket(), costs=Costs())).summary
    funding = [row["funding"] for row in summary["cost_stress"]]
    assert funding == pytest.approx([funding[0]] * 4)
    assert funding[0] > 0
    fees = [row["fees"] for row in summary["cost_stress"]]
    assert fees[2] == pytest.approx(2 * fees[1], rel=1e-3)


def test_without_rates_every_number_is_as_without_funding():
    bars = random_bars(400, seed=5, symbol="TEST")
    table = intentions(bars, dict.fromkeys(range(20, 380, 30), -1))
    plain = run({"TEST": bars}, table, _setup(), instruments={"TEST": venue()})
    zero = _run(bars, table, {minute + 0.5: 0.0 for minute in range(400)})
    assert plain.trades.equals(zero.trades)
    assert plain.equity.equals(zero.equity)
    assert plain.trades["funding"].to_list() == [0.0] * plain.trades.height
    assert {str(paid) for one in (plain, zero) for paid in one.trades["funding"]} == {"0.0"}


# What is said


def _notes(bars: Bars, rates: dict[float, float] | None) -> list[str]:
    table = intentions(bars, {20: 1, len(bars) - 5: 1})
    funding = {} if rates is None else {"TEST": _funding(rates)}
    result = run({"TEST": bars}, table, _setup(), instruments={"TEST": venue()}, funding=funding)
    return result.summary["notes"]


def test_a_perpetual_without_rates_is_said_in_one_sentence():
    days = random_bars(24 * 10, symbol="TEST", timeframe="1h")
    perpetual = dataclasses.replace(days, venue="binance_um")
    (note,) = _notes(perpetual, None)
    assert note == (
        "TEST: perpetuals without funding rates beside their bars; nothing is paid or earned for "
        "funding."
    )
    assert _notes(days, None) == []
    assert _notes(dataclasses.replace(days, venue="binance"), None) == []


def test_a_stretch_without_rates_is_said_with_its_length():
    days = random_bars(24 * 10, symbol="TEST", timeframe="1h")
    perpetual = dataclasses.replace(days, venue="binance_um")
    every_8_hours = {hour * 60.0: 1e-4 for hour in range(0, 241, 8)}
    assert _notes(perpetual, every_8_hours) == []
    early = {minute: rate for minute, rate in every_8_hours.items() if minute <= 6 * 1440}
    (note,) = _notes(perpetual, early)
    assert note.startswith("TEST: no funding rates for 4 of ")
    assert note.endswith("nothing is paid or earned there.")
