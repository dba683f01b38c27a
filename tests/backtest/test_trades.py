"""What `run` makes of intentions: trades and money, by hand and against a slow walk."""

import dataclasses
import math
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtest.table import intentions, venue
from drawn import START_MS, bars_from, random_bars
from execution.slow_fills import Wish, walk
from walkforge.backtest import BacktestSetup, run
from walkforge.base import UsageError
from walkforge.execution import Bracket, Costs, average_true_range
from walkforge.market import Bars

BRACKET = Bracket(stop_atr=1.0, target_atr=2.0, max_hold_bars=3, atr_bars=1)
FREE = Costs(fee_frac=0.0, slippage_ticks=0.0)
CALM = "100 101 99 100 \n" * 2
FLAT = "100 101 99 100 \n"


def _setup(**changes) -> BacktestSetup:
    quick = {"bracket": BRACKET, "size_contracts": 2.0, "n_random": 0, "n_resamples": 0}
    return BacktestSetup(**{**quick, **changes})


def _run(bars: Bars, table: pl.DataFrame, setup: BacktestSetup | None = None, **instrument):
    named = {bars.symbol: venue(bars.symbol, **instrument)}
    return run({bars.symbol: bars}, table, setup or _setup(), instruments=named)


def _trade(bars: Bars, side: int = 1, setup: BacktestSetup | None = None, **instrument) -> dict:
    trades = _run(bars, intentions(bars, {1: side}), setup, **instrument).trades
    (trade,) = trades.to_dicts()
    return trade


def test_a_longs_money_by_hand():
    bars = bars_from(CALM + "100 101 99.5 101 \n 101 105 100 104 \n" + FLAT)
    trade = _trade(bars, setup=_setup(costs=Costs(fee_frac=0.001, slippage_ticks=10.0)))
    # Bought at 100 + 10 ticks of 0.01; the target lies 2 x ATR 2 above the fill and pays no tick.
    assert (trade["entry_price"], trade["exit_price"]) == (100.1, 104.1)
    assert trade["fee"] == pytest.approx(0.001 * 2 * 100.1 + 0.001 * 2 * 104.1)
    assert trade["pnl"] == pytest.approx(2 * 4.0 - trade["fee"])


def test_a_shorts_money_by_hand_and_the_contract_size_counts():
    bars = bars_from(CALM + "100 101 99.5 101 \n 101 103 100 102 \n" + FLAT)
    trade = _trade(bars, -1, _setup(costs=Costs(fee_frac=0.001)), contract_size=10.0)
    assert (trade["entry_price"], trade["exit_price"]) == (99.99, 102.0)  # stop 101.99 + a tick
    assert trade["fee"] == pytest.approx(0.001 * 20 * (99.99 + 102.0))
    assert trade["pnl"] == pytest.approx(-20 * 2.01 - trade["fee"])


def test_trades_have_the_columns_and_types_that_others_read():
    trades = _run(bars_from(CALM + FLAT), intentions(bars_from(CALM + FLAT), {1: 1})).trades
    moment = pl.Datetime("ms", "UTC")
    assert dict(trades.schema) == {
        "symbol": pl.String,
        "side": pl.Int8,
        "decided_at": moment,
        "entered_at": moment,
        "entry_price": pl.Float64,
        "left_at": moment,
        "exit_price": pl.Float64,
        "exit_kind": pl.String,
        "size": pl.Float64,
        "fee": pl.Float64,
        "funding": pl.Float64,
        "pnl": pl.Float64,
        "stop": pl.Float64,
        "target": pl.Float64,
        "held_bars": pl.Int64,
        "left_at_open": pl.Boolean,
    }


@pytest.mark.parametrize(
    ("rest", "kind", "left_at_minute"),
    [
        ("100 101 97 98 \n" + FLAT, "stop", 3),  # inside bar 2: known when it closes
        (FLAT + "106 107 105 106", "target", 3),  # a gap: at the open of bar 3
        (FLAT * 4, "timeout", 5),  # at the open of bar 5
        (FLAT, "segment_end", 3),  # at the close of bar 2
    ],
)
def test_a_trades_three_moments(rest, kind, left_at_minute):
    trade = _trade(bars_from(CALM + rest))
    minutes = {
        name: (trade[name].timestamp() * 1000 - START_MS) / 60_000
        for name in ("decided_at", "entered_at", "left_at")
    }
    assert trade["exit_kind"] == kind
    # Decided at the close of bar 1, which is the moment at which bar 2 opens.
    assert minutes == {"decided_at": 2, "entered_at": 2, "left_at": left_at_minute}


def test_no_intention_at_all_leaves_empty_tables_of_the_same_shape():
    bars = bars_from(CALM + FLAT)
    result = _run(bars, intentions(bars, {0: 0, 1: 0}))
    assert result.trades.height == 0
    assert result.trades.schema == _run(bars, intentions(bars, {1: 1})).trades.schema
    pooled = result.summary["pooled"]
    assert (pooled["n_trades"], pooled["pnl"], pooled["win_rate"]) == (0, 0.0, None)
    assert pooled["exits"] == {"stop": 0, "target": 0, "timeout": 0, "segment_end": 0}


def test_an_order_below_the_minimum_is_refused_counted_and_leaves_the_symbol_flat():
    bars = bars_from(CALM + "100 101 99.5 101 \n" + FLAT * 3)
    table = intentions(bars, {1: 1, 2: 1})
    result = _run(bars, table, _setup(size_contracts=1.0), min_notional=100.5)
    # Bar 1 closes at 100, too little; bar 2 closes at 101.
    assert result.trades["decided_at"].to_list() == [datetime(2024, 1, 1, 0, 3, tzinfo=UTC)]
    assert result.summary["pooled"]["decisions"] == {
        "entered": 1,
        "not_flat": 0,
        "last_bar": 0,
        "no_atr": 0,
        "below_minimum": 1,
    }


def test_refused_orders_are_said_in_a_note():
    bars = bars_from(CALM + FLAT * 3)
    table = intentions(bars, {1: 1, 2: 1})
    assert _run(bars, table).summary["notes"] == []
    (note,) = _run(bars, table, min_notional=1e6).summary["notes"]
    assert note.startswith("TEST: 2 of 2 orders were refused: a size of 2 (contracts) falls below")


def test_instruments_are_the_markets_where_not_given():
    bars = random_bars(60, symbol="BTCUSDT")
    result = run({"BTCUSDT": bars}, intentions(bars, {20: 1}), _setup(bracket=Bracket()))
    assert result.summary["setup"]["instruments"]["BTCUSDT"]["tick_size"] == 0.1
    assert result.trades["entry_price"][0] == bars.open[21] + 0.1


@pytest.mark.parametrize(
    ("calendar", "a_year"), [(None, 365.0), ("24/7", 365.0), ("session", 365 / (11 / 9))]
)
def test_the_instruments_calendar_says_how_many_days_make_a_year(calendar, a_year):
    # Two working weeks are too few to tell that there are no Saturdays.
    days = np.array([0, 1, 2, 3, 4, 7, 8, 9, 10, 11])
    bars = random_bars(10, symbol="TEST", timeframe="1d")
    bars = dataclasses.replace(bars, timestamp=START_MS + days * 86_400_000, calendar="24/7")
    summary = _run(bars, intentions(bars, {6: 1}), calendar=calendar).summary
    assert summary["setup"]["returns_per_year"] == pytest.approx(a_year)


def test_a_fraction_of_the_capital_buys_lots_at_the_decisions_close():
    bars = bars_from(CALM + "104 105 103 104 \n" + FLAT)
    setup = _setup(capital=1000.0, size_capital_frac=0.25)
    assert _trade(bars, setup=setup, lot_step=0.1)["size"] == 2.5  # 250 / 100, not 250 / 104
    assert _trade(bars, setup=setup, lot_step=1.0)["size"] == 2.0
    assert _trade(bars, setup=setup, lot_step=0.1, contract_size=0.5)["size"] == 5.0


def test_an_intentions_own_size_goes_before_the_setups():
    bars = bars_from(CALM + FLAT * 9)
    table = intentions(bars, {1: 1, 6: 1}, size=[0.5, None])
    assert _run(bars, table).trades["size"].to_list() == [0.5, 2.0]


def test_own_levels_reach_the_fills():
    bars = bars_from(CALM + "100 101 99.2 100 \n" + FLAT)
    table = intentions(bars, {1: 1}, stop=[99.25], target=[None])
    trade = _run(bars, table, _setup(costs=FREE)).trades.to_dicts()[0]
    assert (trade["stop"], trade["target"], trade["exit_price"]) == (99.25, 104.0, 99.25)


# Against the slow walk


def _random_table(bars: Bars, seed: int, share: float) -> tuple[pl.DataFrame, dict[int, Wish]]:
    random = np.random.default_rng(seed)
    rows = np.flatnonzero(random.random(len(bars)) < share)
    sides = random.choice([-1, 0, 1], len(rows))
    own = random.random((3, len(rows))) < 0.2
    size = np.where(own[0], random.integers(1, 5, len(rows)), np.nan)
    close = bars.close[rows]
    stop = np.where(own[1], close * (1 - sides * 0.004), np.nan)
    target = np.where(own[2], close * (1 + sides * 0.006), np.nan)
    stop, target = (np.where(sides == 0, np.nan, level) for level in (stop, target))
    columns = {
        name: [None if math.isnan(value) else float(value) for value in values]
        for name, values in (("size", size), ("stop", stop), ("target", target))
    }
    wishes = {
        int(row): Wish(int(side), 2.0 if math.isnan(s) else s, lower, upper)
        for row, side, s, lower, upper in zip(rows, sides, size, stop, target, strict=True)
        if side != 0
    }
    table = intentions(bars, dict(zip(rows.tolist(), sides.tolist(), strict=True)), **columns)
    return table, wishes


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    share=st.sampled_from([0.05, 0.4, 1.0]),
    ticks=st.sampled_from([0.0, 1.0, 30.0]),
    hold=st.sampled_from([1, 5, 20]),
)
def test_trades_are_those_of_a_slow_loop_to_the_last_digit(seed, share, ticks, hold):
    bracket = Bracket(max_hold_bars=hold)
    costs = Costs(fee_frac=0.0004, slippage_ticks=ticks)
    bars = {
        "A": random_bars(300, seed=seed, symbol="A", volatility_frac=0.004, holes_at=(100, 210)),
        "B": random_bars(200, seed=seed + 1, symbol="B", volatility_frac=0.004, holes_at=(50,)),
    }
    tables, expected = [], []
    for one in bars.values():
        table, wishes = _random_table(one, seed, share)
        tables.append(table)
        atr = average_true_range(one, 14).tolist()
        trades, _ = walk(one, wishes, bracket, atr=atr, slippage=ticks * 0.01)
        expected += [(one, trade) for trade in trades]
    result = run(
        bars,
        pl.concat(tables),
        _setup(bracket=bracket, costs=costs),
        instruments={symbol: venue(symbol) for symbol in bars},
    )
    expected.sort(key=lambda pair: (pair[0].timestamp[pair[1].entry_row], pair[0].symbol))
    found = result.trades.to_dicts()
    assert len(found) == len(expected)
    for row, (one, trade) in zip(found, expected, strict=True):
        fees = [0.0004 * price * trade.size for price in (trade.entry_price, trade.exit_price)]
        moved = trade.side * (trade.exit_price - trade.entry_price) * trade.size
        assert row["symbol"] == one.symbol
        assert row["entered_at"].timestamp() * 1000 == one.timestamp[trade.entry_row]
        assert row["decided_at"].timestamp() * 1000 == one.closes_at[trade.entry_row - 1]
        left_at = one.timestamp if trade.at_open else one.closes_at
        assert row["left_at"].timestamp() * 1000 == left_at[trade.exit_row]
        assert (row["side"], row["size"]) == (trade.side, trade.size)
        assert (row["entry_price"], row["exit_price"]) == (trade.entry_price, trade.exit_price)
        assert row["exit_kind"] == trade.exit_kind
        assert row["fee"] == fees[0] + fees[1]
        assert row["pnl"] == moved - (fees[0] + fees[1])


def test_on_real_bars_with_holes_trades_are_those_of_a_slow_loop(shared_data):
    frame = pl.read_parquet(shared_data / "bars" / "binance" / "BTCUSDT" / "15m.parquet")
    columns = {name: frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    whole = Bars(
        venue="binance",
        symbol="BTCUSDT",
        timeframe="15m",
        timestamp=frame["timestamp"].dt.epoch("ms").to_numpy(),
        **columns,
    )
    edge = whole.segments[0].stop
    bars = whole.take(slice(edge - 2000, edge + 2000))
    table, wishes = _random_table(bars, 3, 0.3)
    trades, _ = walk(
        bars, wishes, Bracket(), atr=average_true_range(bars, 14).tolist(), slippage=0.01
    )
    found = _run(bars, table, _setup(bracket=Bracket())).trades
    assert len(bars.segments) > 1
    assert found["exit_price"].to_list() == [trade.exit_price for trade in trades]
    assert found["exit_kind"].to_list() == [trade.exit_kind for trade in trades]


def test_cutting_the_future_off_changes_no_trade_that_was_over():
    bars = random_bars(500, seed=4, symbol="TEST", holes_at=(300,))
    table, _ = _random_table(bars, 1, 0.5)
    whole = _run(bars, table).trades
    cut = bars.take(slice(0, 250))
    early = table.filter(
        pl.col("timestamp") <= datetime.fromtimestamp(cut.timestamp[-1] / 1000, UTC)
    )
    part = _run(cut, early).trades
    over = whole.filter(pl.col("left_at") < part["left_at"].max())
    assert over.height > 10
    assert part.head(over.height).equals(over)


# Identities of the account


def _account(seed: int = 2, **changes):
    bars = {
        symbol: random_bars(2000, seed=seed + k, symbol=symbol, holes_at=(700, 1500 + k))
        for k, symbol in enumerate(("A", "B"))
    }
    table = pl.concat([_random_table(one, seed + k, 0.4)[0] for k, one in enumerate(bars.values())])
    instruments = {symbol: venue(symbol) for symbol in bars}
    return run(bars, table, _setup(bracket=Bracket(), **changes), instruments=instruments)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), fee=st.floats(0.0, 0.01), ticks=st.floats(0.0, 20.0))
def test_the_final_equity_is_the_capital_plus_every_trades_pnl(seed, fee, ticks):
    result = _account(seed, costs=Costs(fee_frac=fee, slippage_ticks=ticks))
    final = result.equity.group_by("symbol").agg(pl.col("equity").last())
    final = dict(final.iter_rows())
    for symbol in ("A", "B"):
        pnl = result.trades.filter(pl.col("symbol") == symbol)["pnl"].sum()
        assert final[symbol] == pytest.approx(10_000 + pnl, abs=1e-8)
        assert result.summary["by_symbol"][symbol]["pnl"] == pytest.approx(pnl, abs=1e-9)
    pooled = result.summary["pooled"]
    assert final["portfolio"] == pytest.approx(10_000 + result.trades["pnl"].sum(), abs=1e-8)
    assert pooled["final_equity"] == final["portfolio"]
    assert pooled["roi_frac"] == pytest.approx(pooled["pnl"] / 10_000)
    assert pooled["fees"] == pytest.approx(result.trades["fee"].sum())


def test_every_decision_is_accounted_for():
    summary = _account().summary
    pooled = summary["pooled"]
    assert sum(pooled["decisions"].values()) == summary["setup"]["n_intentions"]
    assert pooled["decisions"]["entered"] == pooled["n_trades"] == sum(pooled["exits"].values())
    assert pooled["n_long"] + pooled["n_short"] == pooled["n_trades"]


def test_without_costs_what_a_long_wins_a_short_loses():
    bars = random_bars(1500, seed=6, symbol="TEST", holes_at=(600,))
    far = Bracket(stop_atr=1e4, target_atr=1e4, max_hold_bars=7)
    setup = _setup(bracket=far, costs=FREE)
    rows = range(20, 1490, 3)
    long = _run(bars, intentions(bars, dict.fromkeys(rows, 1)), setup).trades
    short = _run(bars, intentions(bars, dict.fromkeys(rows, -1)), setup).trades
    assert long.height > 100
    assert (long["pnl"] + short["pnl"]).to_list() == [0.0] * long.height


def test_without_costs_a_position_held_from_open_to_close_earns_the_markets_move():
    bars = random_bars(300, seed=6, symbol="TEST")
    far = Bracket(stop_atr=1e5, target_atr=1e5, max_hold_bars=1000, atr_bars=1)
    result = _run(bars, intentions(bars, {1: 1}), _setup(bracket=far, costs=FREE))
    assert result.trades["pnl"].to_list() == [2.0 * (bars.close[-1] - bars.open[2])]


def test_more_cost_never_earns_more_where_own_levels_keep_the_trades_the_same():
    bars = random_bars(3000, seed=9, symbol="TEST", volatility_frac=0.003)
    rows = np.arange(20, 2900, 11)
    sides = np.random.default_rng(0).choice([-1, 1], len(rows))
    table = intentions(
        bars,
        dict(zip(rows.tolist(), sides.tolist(), strict=True)),
        stop=(bars.close[rows] * (1 - sides * 0.01)).tolist(),
        target=(bars.close[rows] * (1 + sides * 0.01)).tolist(),
    )
    stress = _run(bars, table, _setup(bracket=Bracket())).summary["cost_stress"]
    assert [row["factor"] for row in stress] == [0.0, 1.0, 2.0, 4.0]
    assert len({row["n_trades"] for row in stress}) == 1
    pnl = [row["pnl"] for row in stress]
    assert pnl == sorted(pnl, reverse=True)
    assert pnl[0] > pnl[-1]
    assert [row["fees"] for row in stress] == pytest.approx(
        [factor * stress[1]["fees"] for factor in (0, 1, 2, 4)], rel=1e-3
    )


def test_a_higher_fee_alone_keeps_the_trades_and_costs_its_difference():
    summary = _account(taker_fee_frac=0.0005).summary
    pooled, taker = summary["pooled"], summary["taker"]
    assert taker["fee_frac"] == 0.0005
    assert taker["exits"] == pooled["exits"]
    assert taker["fees"] == pytest.approx(pooled["fees"] * 0.0005 / 0.00018)
    assert taker["pnl"] == pytest.approx(pooled["pnl"] - (taker["fees"] - pooled["fees"]))


def test_stress_at_one_times_the_cost_is_the_run_itself():
    summary = _account().summary
    once = summary["cost_stress"][1]
    for key in ("n_trades", "pnl", "fees", "exits", "max_drawdown_frac", "exposure_frac"):
        assert once[key] == summary["pooled"][key]


def test_pnl_grows_with_the_size_in_the_size_table():
    bars = random_bars(2000, seed=4, symbol="TEST")
    table = intentions(bars, dict.fromkeys(range(20, 1900, 25), 1))
    rows = _run(bars, table, _setup(bracket=Bracket(), sizes=(0.5, 1.0, 4.0))).summary["sizes"]
    assert [(row["size"], row["unit"]) for row in rows] == [
        (0.5, "contracts"),
        (1.0, "contracts"),
        (4.0, "contracts"),
    ]
    pnl = [row["pnl"] / row["size"] for row in rows]
    assert pnl == pytest.approx([pnl[0]] * 3)


def test_the_size_table_sets_own_sizes_aside():
    bars = bars_from(CALM + FLAT * 9)
    table = intentions(bars, {1: 1}, size=[7.0])
    summary = _run(bars, table, _setup(sizes=(1.0, 2.0), costs=Costs(fee_frac=0.01))).summary
    assert summary["pooled"]["fees"] == pytest.approx(7 * summary["sizes"][0]["fees"])
    assert summary["sizes"][1]["fees"] == pytest.approx(2 * summary["sizes"][0]["fees"])


def test_sizes_are_fractions_of_the_capital_where_the_setups_size_is():
    bars = bars_from(CALM + FLAT * 9)
    setup = _setup(capital=1000.0, size_capital_frac=0.1, sizes=(0.2,))
    (row,) = _run(bars, intentions(bars, {1: 1}), setup).summary["sizes"]
    assert (row["size"], row["unit"]) == (0.2, "capital_frac")
    assert row["fees"] == pytest.approx(0.00018 * 2.0 * 200, rel=1e-3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("capital", 0.0),
        ("size_contracts", -1.0),
        ("size_capital_frac", 0.0),
        ("taker_fee_frac", 1.0),
        ("sizes", (0.1, 0.0)),
        ("cost_stress", (1.0, -1.0)),
        ("last_days", 0),
        ("n_random", -1),
    ],
)
def test_an_impossible_setup_is_refused_by_name(field, value):
    with pytest.raises(UsageError, match=f"backtest.{field}"):
        BacktestSetup(**{field: value})


def test_zero_trials_are_refused():
    bars = bars_from(CALM + FLAT)
    with pytest.raises(UsageError, match="n_trials is 0"):
        run({"TEST": bars}, intentions(bars, {1: 1}), n_trials=0)
