"""Equity marked at every close, pooled over symbols, buy-and-hold, and the thinned table."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from backtest.table import intentions, venue
from drawn import START_MS, bars_from, random_bars
from walkforge.backtest import PORTFOLIO, BacktestSetup, run, thin_equity
from walkforge.backtest._equity import drawdown
from walkforge.execution import Bracket, Costs
from walkforge.market import resample

BRACKET = Bracket(stop_atr=1.0, target_atr=2.0, max_hold_bars=3, atr_bars=1)
COSTS = Costs(fee_frac=0.01, slippage_ticks=0.0)
CALM = "100 101 99 100 \n" * 2
FLAT = "100 101 99 100 \n"


def _setup(**changes) -> BacktestSetup:
    quick = {"bracket": BRACKET, "costs": COSTS, "capital": 1000.0, "size_contracts": 2.0}
    return BacktestSetup(**{**quick, "n_random": 0, "n_resamples": 0, **changes})


def _run(bars, table, setup=None, **instrument):
    bars = bars if isinstance(bars, dict) else {bars.symbol: bars}
    instruments = {symbol: venue(symbol, **instrument) for symbol in bars}
    return run(bars, table, setup or _setup(), instruments=instruments)


def _of(result, symbol: str, column: str = "equity") -> list[float]:
    return result.equity.filter(pl.col("symbol") == symbol)[column].to_list()


def test_equity_is_marked_at_every_close():
    bars = bars_from(CALM + "100 102 99 101 \n 101 103 100 102 \n 102 105 101 103 \n" + FLAT)
    result = _run(bars, intentions(bars, {1: 1}))
    # From the decision's bar on: flat; bought 2 at 100 for a fee of 2, close 101; close 102;
    # sold at the target 104 for a fee of 2.08; flat.
    expected = [1000.0, 1000 + 2 - 2, 1000 + 4 - 2, 1000 + 8 - 4.08, 1000 + 8 - 4.08]
    assert _of(result, "TEST") == pytest.approx(expected, abs=1e-9)


def test_a_shorts_equity_falls_where_the_close_rises():
    bars = bars_from(CALM + "100 101.5 99 101 \n" + FLAT)
    result = _run(bars, intentions(bars, {1: -1}), contract_size=5.0)
    # Sold 10 at 100 for a fee of 10, close 101; bought back at the last close of 100.
    assert _of(result, "TEST") == pytest.approx([1000.0, 1000 - 10 - 10, 1000 - 20], abs=1e-9)


def test_the_position_is_what_is_held_at_the_close():
    bars = bars_from(CALM + FLAT * 5)
    result = _run(bars, intentions(bars, {1: -1}))
    # Bars 1 to 5: short over the closes of bars 2, 3 and 4, out at the open of bar 5.
    assert _of(result, "TEST", "position") == [0.0, -2.0, -2.0, -2.0, 0.0]
    assert _of(result, PORTFOLIO, "position") == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_drawdown_is_the_fall_from_the_highest_equity_so_far():
    far = Bracket(stop_atr=20, target_atr=20, max_hold_bars=9, atr_bars=1)
    closes = "100 112 99 110 \n 110 111 98 99 \n 99 106 98 105 \n"
    bars = bars_from(CALM + closes)
    free = _setup(bracket=far, costs=Costs(fee_frac=0.0, slippage_ticks=0.0), capital=100.0)
    result = _run(bars, intentions(bars, {1: 1}), free)
    # Two bought at 100: equity 100, 120, 98, 110.
    assert _of(result, "TEST", "drawdown_frac") == pytest.approx([0, 0, 22 / 120, 10 / 120])
    assert result.summary["pooled"]["max_drawdown_frac"] == pytest.approx(22 / 120)


def test_a_loss_from_the_start_is_a_drawdown_from_the_capital():
    bars = bars_from(CALM + "100 101 97 98 \n" + FLAT)
    free = _setup(costs=Costs(fee_frac=0.0, slippage_ticks=0.0), capital=100.0)
    pooled = _run(bars, intentions(bars, {1: 1}), free).summary["pooled"]
    assert pooled["max_drawdown_frac"] == pytest.approx(0.04)


def test_an_equity_that_never_reached_the_capital_again_falls_from_the_capital():
    np.testing.assert_allclose(
        drawdown(np.array([95.0, 98.0, 104.0, 91.0]), 100.0), [0.05, 0.02, 0.0, 0.125]
    )


def test_the_portfolio_sums_symbols_on_the_union_of_their_stamps():
    whole = random_bars(60, seed=1, symbol="A")
    late = random_bars(60, seed=2, symbol="B", holes_at=(20,)).take(slice(10, 50))
    bars = {"A": whole, "B": late}
    tables = [
        intentions(one, dict.fromkeys(range(16, len(one) - 2, 3), 1)) for one in bars.values()
    ]
    result = _run(bars, pl.concat(tables), _setup(bracket=Bracket(max_hold_bars=4)))
    pooled = result.equity.filter(pl.col("symbol") == PORTFOLIO)
    stamps = pooled["timestamp"].dt.epoch("ms").to_list()
    parts = {
        symbol: dict(
            zip(
                result.equity.filter(pl.col("symbol") == symbol)["timestamp"].dt.epoch("ms"),
                _of(result, symbol),
                strict=True,
            )
        )
        for symbol in bars
    }
    assert stamps == sorted(set(parts["A"]) | set(parts["B"]))
    last = {"A": 1000.0, "B": 1000.0}
    for stamp, equity in zip(stamps, pooled["equity"], strict=True):
        last |= {symbol: part[stamp] for symbol, part in parts.items() if stamp in part}
        assert equity == pytest.approx(1000 + sum(value - 1000 for value in last.values()))


def test_the_window_begins_with_the_tables_first_row_and_ends_when_the_last_must_be_over():
    bars = random_bars(100, symbol="TEST")
    table = intentions(bars, {40: 0, 45: 1, 50: 0})  # sides of 0 trade nothing, but are at work
    result = _run(bars, table)
    stamps = result.equity.filter(pl.col("symbol") == "TEST")["timestamp"].dt.epoch("ms")
    assert ((stamps - START_MS) / 60_000).to_list() == list(range(40, 50 + 1 + 3 + 1))
    assert result.summary["setup"]["n_rows"] == 3
    assert result.summary["setup"]["n_intentions"] == 1


def test_exposure_is_the_share_of_bars_held():
    bars = bars_from(CALM + FLAT * 8)
    pooled = _run(bars, intentions(bars, {1: 1, 6: 0})).summary["pooled"]
    # The window is bars 1 to 9; held through bars 2, 3 and 4.
    assert pooled["exposure_frac"] == pytest.approx(3 / 9)
    assert pooled["mean_hold_bars"] == 3.0


# Buy and hold


def test_a_coin_that_falls_below_its_tick_has_every_number_of_the_backtest():
    bars = random_bars(300, seed=3, symbol="TEST")
    crash = np.geomspace(1.0, 1e-6, 300)  # from 100 to a hundredth of the tick of 0.01
    prices = {name: getattr(bars, name) * crash for name in ("open", "high", "low", "close")}
    bars = dataclasses.replace(bars, **prices)
    sides = {row: 1 if row % 5 else -1 for row in range(20, 298)}
    setup = _setup(n_random=3, costs=Costs(fee_frac=0.01, slippage_ticks=1.0))
    result = _run(bars, intentions(bars, sides), setup)
    assert result.summary["pooled"]["exits"]["stop"] > 0
    assert result.summary["pooled"]["exits"]["stop"] > 0
    assert (result.trades["exit_price"] > 0).all()
    assert [row["factor"] for row in result.summary["cost_stress"]] == [0.0, 1.0, 2.0, 4.0]
    # Sold at 99 % of the last close, not at a tick below it, which would be below zero.
    held = result.summary["buy_and_hold"]
    units = setup.size_contracts
    assert held["pnl"] < 0
    assert held["pnl"] == pytest.approx(
        units * (bars.close[-1] * 0.99 - (bars.open[21] + 0.01)) - held["fees"]
    )


def test_buy_and_hold_by_hand():
    bars = bars_from(CALM + "100 101 99 101 \n 101 103 100 102 \n 102 111 101 110")
    costs = Costs(fee_frac=0.01, slippage_ticks=100.0)
    result = _run(bars, intentions(bars, {1: 0, 3: 0}), _setup(costs=costs))
    # The window begins with bar 1: bought 2 at bar 2's open + 1, sold at the last close - 1.
    held = result.summary["buy_and_hold"]
    fees = 0.01 * 2 * (101 + 109)
    assert held["pnl"] == pytest.approx(2 * (109 - 101) - fees)
    assert held["fees"] == pytest.approx(fees)
    assert (held["n_trades"], held["exits"]["segment_end"]) == (1, 1)
    expected = [1000.0, 1000 - 2.02, 1000 + 2 - 2.02, 1000 + 16 - fees]
    assert _of(result, "TEST", "buy_and_hold") == pytest.approx(expected)
    assert held["by_symbol"]["TEST"]["pnl"] == held["pnl"]


def test_buy_and_hold_holds_through_a_hole():
    bars = bars_from(CALM + FLAT + "150 151 149 150 \n 150 151 149 160", missing_before=(3,))
    held = _run(bars, intentions(bars, {1: 0, 3: 0})).summary["buy_and_hold"]
    assert held["n_trades"] == 1
    assert held["pnl"] == pytest.approx(2 * 60 - 0.01 * 2 * 260)


def test_buy_and_hold_of_a_portfolio_buys_every_symbol():
    bars = {symbol: random_bars(50, seed=k, symbol=symbol) for k, symbol in enumerate("AB")}
    table = pl.concat([intentions(one, {1: 0, 45: 0}) for one in bars.values()])
    held = _run(bars, table).summary["buy_and_hold"]
    assert held["n_trades"] == 2
    assert held["pnl"] == pytest.approx(sum(one["pnl"] for one in held["by_symbol"].values()))


def test_buy_and_hold_below_the_minimum_notional_buys_nothing():
    bars = bars_from(CALM + FLAT * 2)
    held = _run(bars, intentions(bars, {1: 0, 2: 0}), min_notional=1e6).summary["buy_and_hold"]
    assert (held["n_trades"], held["decisions"]["below_minimum"]) == (0, 1)


def test_curves_of_several_timeframes_meet_where_their_bars_close():
    fast = bars_from(CALM + "100 102 99 101 \n" + FLAT * 12)
    slow = resample(fast, "5m")
    bars = {"TEST/1m": fast, "TEST/5m": slow}
    table = pl.concat(
        intentions(one, {1: 1}).with_columns(symbol=pl.lit(name)) for name, one in bars.items()
    )
    result = run(bars, table, _setup(), instruments={name: venue("TEST") for name in bars})
    known = {name: result.equity.filter(pl.col("symbol") == name) for name in (*bars, PORTFOLIO)}
    # The 5m bar that opens at minute 10 is known when the 1m bar of minute 14 closes.
    closes_ms = [stamp + 5 * 60_000 for stamp in slow.timestamp[1:3]]
    shown_ms = [ms + 60_000 for ms in known["TEST/5m"]["timestamp"].dt.epoch("ms")][:2]
    assert shown_ms == closes_ms
    pooled = known[PORTFOLIO].join(known["TEST/1m"], on="timestamp", how="left")
    before = pooled.filter(pl.col("timestamp").dt.epoch("ms") + 60_000 < closes_ms[0])
    assert len(before) > 5
    assert before["equity"].to_list() == before["equity_right"].to_list()
    assert sorted(result.trades["symbol"]) == ["TEST/1m", "TEST/5m"]


def test_a_series_of_its_own_window_is_held_within_it_only():
    early, late = (random_bars(200, seed=k, symbol=s) for k, s in enumerate("AB"))
    bars = {"A": early, "B": late}
    table = pl.concat([intentions(early, {20: 1, 40: 1}), intentions(late, {120: 1, 150: 1})])
    table = table.filter(
        (pl.col("symbol") == "A") & (pl.col("timestamp").dt.epoch("ms") <= early.timestamp[40])
        | (pl.col("symbol") == "B") & (pl.col("timestamp").dt.epoch("ms") >= late.timestamp[120])
    )
    held = {
        own: run(bars, table, _setup(), own_windows=own).equity.group_by("symbol").len()
        for own in (False, True)
    }
    n_bars = {own: dict(one.iter_rows()) for own, one in held.items()}
    assert n_bars[False]["A"] == n_bars[False]["B"]
    assert n_bars[True]["A"] == 40 + 1 + BRACKET.max_hold_bars - 20 + 1
    assert n_bars[True]["B"] < n_bars[False]["B"]


# The thinned table


def _long_equity(n_bars: int = 4000) -> pl.DataFrame:
    bars = {symbol: random_bars(n_bars, seed=k, symbol=symbol) for k, symbol in enumerate("AB")}
    tables = [intentions(one, dict.fromkeys(range(20, n_bars - 5, 9), 1)) for one in bars.values()]
    return _run(bars, pl.concat(tables), _setup(bracket=Bracket())).equity


def test_a_thinned_table_keeps_first_last_and_extremes_of_every_symbol():
    equity = _long_equity()
    thin = thin_equity(equity, max_rows=300)
    assert thin["symbol"].unique(maintain_order=True).to_list() == ["A", "B", PORTFOLIO]
    for symbol, whole in equity.group_by("symbol"):
        part = thin.filter(pl.col("symbol") == symbol[0])
        assert part.height <= 302
        assert part[0].equals(whole[0])
        assert part[-1].equals(whole[-1])
        for measure in ("min", "max"):
            assert getattr(part["equity"], measure)() == getattr(whole["equity"], measure)()
        assert part["drawdown_frac"].max() == whole["drawdown_frac"].max()
        assert part["timestamp"].is_sorted()


def test_a_thinned_table_holds_rows_of_the_whole_one():
    equity = _long_equity()
    thin = thin_equity(equity, max_rows=100)
    assert thin.join(equity, on=equity.columns, how="semi").height == thin.height
    assert thin.schema == equity.schema


def test_a_small_table_is_left_as_it_is():
    equity = _long_equity(200)
    assert thin_equity(equity).equals(equity)


def test_equity_is_finite_everywhere():
    equity = _long_equity()
    assert np.isfinite(equity.select(pl.selectors.float()).to_numpy()).all()


def test_the_window_ends_with_the_segment_of_the_last_decision():
    """A month of idle bars after a hole would empty the last days and dilute every ratio."""
    bars = random_bars(400, seed=3, holes_at=(210,))
    table = intentions(bars, {100: 1, 205: -1})
    result = run({bars.symbol: bars}, table, instruments={bars.symbol: venue(bars.symbol)})
    last = result.equity["timestamp"].dt.epoch("ms").max()
    assert last == bars.timestamp[209]
    assert result.summary["pooled"]["exits"]["segment_end"] <= 1
    assert result.summary["last_days"]["n_trades"] == 2
