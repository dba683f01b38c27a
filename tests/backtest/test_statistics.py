"""Sharpe, its intervals and random entries, against hand-worked numbers."""

import dataclasses
import json
import math

import numpy as np
import polars as pl
import pytest

from backtest.table import intentions, venue
from drawn import START_MS, random_bars
from walkforge.backtest import BacktestSetup, run
from walkforge.backtest._statistics import daily_returns
from walkforge.base import read_json, write_json
from walkforge.execution import Bracket, Costs
from walkforge.market import Bars, read_folder

DAY = 86_400_000


def _daily_bars(closes: np.ndarray, *, weekdays_only: bool = False) -> Bars:
    days = np.arange(len(closes) * 2)
    if weekdays_only:
        days = days[days % 7 < 5]  # day 0 is a Monday
    stamps = START_MS + days[: len(closes)] * DAY
    before = np.concatenate([closes[:1], closes[:-1]])
    return Bars(
        venue="drawn",
        symbol="TEST",
        timeframe="1d",
        timestamp=stamps,
        open=before,
        high=np.maximum(before, closes) * 1.001,
        low=np.minimum(before, closes) * 0.999,
        close=closes,
        volume=np.ones(len(closes)),
    )


def _run(bars, table, **changes):
    setup = BacktestSetup(**{"n_random": 0, "n_resamples": 200, **changes})
    bars = bars if isinstance(bars, dict) else {bars.symbol: bars}
    return run(bars, table, setup, instruments={symbol: venue(symbol) for symbol in bars})


# Daily returns and their Sharpe ratio


def test_a_days_return_goes_from_the_last_close_of_the_day_before_to_its_own_last_close():
    stamps = START_MS + np.array([0, DAY // 2, DAY, DAY + 5, 4 * DAY])
    equity = np.array([101.0, 102.0, 110.0, 105.0, 100.0])
    expected = [102 / 100 - 1, 105 / 102 - 1, 100 / 105 - 1]
    # Days 2 and 3 have no bar of any symbol: no return is made up for them.
    np.testing.assert_allclose(daily_returns(stamps, equity, 100.0), expected)


def test_days_without_a_trade_count_with_zero():
    bars = random_bars(100, symbol="TEST", timeframe="6h")
    pooled = _run(bars, intentions(bars, {16: 1, 96: 0})).summary["pooled"]
    assert pooled["n_days"] == 21
    assert pooled["n_trades"] == 1
    assert pooled["sharpe_annual"] is not None


def test_sharpe_is_mean_over_spread_times_the_root_of_the_year():
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0.001, 0.02, 200)))
    # 200 weekdays from a Monday on have 199 steps over 277 days: 40 weeks less a weekend and a day.
    for weekdays_only, year in ((False, 365), (True, 365 * 199 / 277)):
        bars = _daily_bars(closes, weekdays_only=weekdays_only)
        far = Bracket(stop_atr=1e3, target_atr=1e3, max_hold_bars=1000)
        result = _run(bars, intentions(bars, {20: 1}), bracket=far, size_contracts=50.0)
        equity = result.equity.filter(pl.col("symbol") == "portfolio")["equity"].to_numpy()
        returns = np.diff(np.concatenate([[10_000.0], equity])) / np.concatenate(
            [[10_000.0], equity[:-1]]
        )
        expected = returns.mean() / returns.std(ddof=1) * math.sqrt(year)
        assert result.summary["pooled"]["sharpe_annual"] == pytest.approx(expected)
        assert result.summary["setup"]["returns_per_year"] == pytest.approx(year)


@pytest.mark.parametrize(
    ("place", "timeframe", "low", "high"),
    [
        ("index/SP500", "1d", 251, 253),
        ("oanda/EURUSD", "1h", 305, 314),
        ("binance_um/NEARUSDT", "1d", 365, 365),
    ],
)
def test_the_days_of_a_year_are_those_that_the_real_market_opens(
    shared_data, place, timeframe, low, high
):
    name, symbol = place.split("/")
    folder = shared_data / "bars" / name
    bars = read_folder(folder, timeframe=timeframe, symbols=[symbol])[symbol]
    setup = _run(bars, intentions(bars, {50: 1, 90: 0})).summary["setup"]
    assert low <= setup["returns_per_year"] <= high


def test_a_hole_of_a_year_does_not_make_the_year_shorter():
    closes = np.full(600, 100.0)
    bars = _daily_bars(closes, weekdays_only=True)
    later = bars.timestamp + np.where(np.arange(600) < 300, 0, 52 * 7 * DAY)
    apart = dataclasses.replace(bars, timestamp=later)
    years = [
        _run(one, intentions(one, {20: 1})).summary["setup"]["returns_per_year"]
        for one in (bars, apart)
    ]
    assert len(apart.segments) == 2
    assert years[0] == pytest.approx(years[1], rel=0.01)


def test_weekly_bars_have_52_returns_a_year():
    bars = random_bars(60, symbol="TEST", timeframe="1w")
    setup = _run(bars, intentions(bars, {20: 1})).summary["setup"]
    assert setup["returns_per_year"] == pytest.approx(365 / 7)


def test_fewer_than_twenty_days_have_no_sharpe():
    bars = random_bars(3000, symbol="TEST")  # two days of minutes
    pooled = _run(bars, intentions(bars, dict.fromkeys(range(20, 2900, 30), 1))).summary["pooled"]
    assert (pooled["sharpe_annual"], pooled["deflated_sharpe"]) == (None, None)


def test_a_ruined_account_has_no_sharpe_and_a_note():
    closes = np.concatenate([np.full(30, 100.0), np.linspace(99, 10, 60)])
    bars = _daily_bars(closes + np.arange(90) % 2)
    far = Bracket(stop_atr=1e3, target_atr=1e3, max_hold_bars=1000)
    summary = _run(bars, intentions(bars, {20: 1}), bracket=far, size_contracts=500.0).summary
    pooled = summary["pooled"]
    assert pooled["final_equity"] < 0
    assert pooled["sharpe_annual"] is None
    assert summary["notes"][0].startswith("The capital of 10000 was used up")


# Intervals


def test_pooled_sharpe_and_mean_trade_come_with_intervals():
    bars = random_bars(3000, symbol="TEST", timeframe="1h")
    pooled = _run(bars, intentions(bars, dict.fromkeys(range(20, 2900, 17), 1))).summary["pooled"]
    for measure in (pooled["sharpe"], pooled["mean_trade_pnl"]):
        assert measure["low"] < measure["value"] < measure["high"]
    assert pooled["sharpe"]["value"] == pooled["sharpe_annual"]
    assert pooled["sharpe"]["n"] == pooled["n_days"]
    mean = pooled["pnl"] / pooled["n_trades"]
    assert pooled["mean_trade_pnl"]["value"] == pytest.approx(mean)


# Random entries


def _prophet(bars: Bars, *, every: int, ahead: int = 10) -> pl.DataFrame:
    """Return intentions of somebody who knows the close `ahead` bars later."""
    rows = np.arange(20, len(bars) - ahead, every)
    sides = np.where(bars.close[rows + ahead] > bars.close[rows], 1, -1)
    return intentions(bars, dict(zip(rows.tolist(), sides.tolist(), strict=True)))


def test_a_prophet_beats_every_draw_of_random_entries():
    bars = random_bars(3000, symbol="TEST")
    random = _run(bars, _prophet(bars, every=30), n_random=50).summary["random_entries"]
    assert random["beaten_frac"] == 1.0
    assert random["p_value"] == pytest.approx(1 / 51)


def test_entries_at_random_do_not_stand_out_from_random_entries():
    bars = random_bars(4000, symbol="TEST")
    rows = np.random.default_rng(1).choice(np.arange(20, 3900), 150, replace=False)
    table = intentions(bars, {int(row): 1 if row % 2 else -1 for row in sorted(rows)})
    random = _run(bars, table, n_random=100).summary["random_entries"]
    assert 0.02 < random["p_value"] < 0.98


def test_random_entries_keep_number_and_sides_of_the_trades_and_bracket_the_mean():
    bars = {symbol: random_bars(3000, seed=k, symbol=symbol) for k, symbol in enumerate("AB")}
    table = pl.concat([_prophet(one, every=25) for one in bars.values()])
    result = _run(bars, table, n_random=60)
    random, pooled = result.summary["random_entries"], result.summary["pooled"]
    for key in ("n_trades", "n_long", "n_short"):
        assert random[key] == pytest.approx(pooled[key], rel=0.01)
    assert sum(random["exits"].values()) == pytest.approx(random["n_trades"])
    assert random["pnl_low"] < random["pnl"] < random["pnl_high"]
    assert random["roi_frac"] == pytest.approx(random["pnl"] / 10_000)
    assert random["n_draws"] == 60


def test_random_entries_shuffle_the_sides_and_so_know_nothing_of_the_market():
    rise = 100 * np.exp(np.cumsum(np.full(500, 0.002)))
    bars = _daily_bars(np.concatenate([rise, rise[::-1]]))
    rows = range(20, 980, 12)
    table = intentions(bars, {row: 1 if row < 500 else -1 for row in rows})
    result = _run(bars, table, n_random=40).summary
    assert result["pooled"]["pnl"] > 0
    assert abs(result["random_entries"]["pnl"]) < 0.2 * result["pooled"]["pnl"]


def test_random_entries_pay_the_same_costs():
    bars = random_bars(3000, symbol="TEST")
    dear = Costs(fee_frac=0.01, slippage_ticks=0.0)
    result = _run(bars, _prophet(bars, every=40), n_random=30, costs=dear).summary
    assert result["random_entries"]["fees"] == pytest.approx(result["pooled"]["fees"], rel=0.02)


def test_random_entries_curve_ends_at_the_mean_result():
    bars = random_bars(3000, symbol="TEST", timeframe="1h")
    random = _run(bars, _prophet(bars, every=20), n_random=40).summary["random_entries"]
    curve = random["curve"]
    assert curve["mean"][-1] == pytest.approx(10_000 + random["pnl"])
    assert curve["low"][-1] <= curve["mean"][-1] <= curve["high"][-1]
    assert len(curve["day"]) == len(curve["mean"]) <= 400
    assert curve["day"] == sorted(curve["day"])


def test_random_entries_depend_on_the_seed_alone():
    bars = random_bars(1000, symbol="TEST")
    table = _prophet(bars, every=30)
    first, same, other = (
        _run(bars, table, n_random=20, seed=seed).summary["random_entries"] for seed in (1, 1, 2)
    )
    assert first == same
    assert first["pnl"] != other["pnl"]


def test_without_trades_random_entries_have_none_either():
    bars = random_bars(200, symbol="TEST")
    random = _run(bars, intentions(bars, {20: 0, 100: 0}), n_random=5).summary["random_entries"]
    assert (random["n_trades"], random["pnl"]) == (0.0, 0.0)


# The last days and the file


def test_the_last_days_stand_on_their_own():
    bars = random_bars(24 * 90, symbol="TEST", timeframe="1h")
    table = _prophet(bars, every=12)
    last = _run(bars, table, last_days=30).summary["last_days"]
    recent = table.filter(pl.col("timestamp") >= pl.col("timestamp").max() - pl.duration(days=29))
    alone = _run(bars, recent).summary["pooled"]
    assert last["days"] == 30
    assert (last["from"], last["to"][:10]) == (last["from"], "2024-03-31")
    assert alone["n_trades"] <= last["n_trades"] <= alone["n_trades"] + 4
    assert 30 <= last["n_days"] <= 31


def test_the_summary_goes_through_json_as_it_is(tmp_path):
    bars = random_bars(24 * 60, symbol="TEST", timeframe="1h")
    summary = _run(bars, _prophet(bars, every=12), n_random=10).summary
    write_json(tmp_path / "backtest.json", summary)
    again = read_json(tmp_path / "backtest.json")
    assert list(again) == [
        "pooled",
        "by_symbol",
        "buy_and_hold",
        "random_entries",
        "sizes",
        "cost_stress",
        "taker",
        "last_days",
        "rule",
        "notes",
        "setup",
    ]
    wanted = {
        "n_trades",
        "win_rate",
        "exits",
        "pnl",
        "fees",
        "roi_frac",
        "max_drawdown_frac",
        "sharpe_annual",
        "deflated_sharpe",
        "exposure_frac",
        "profit_factor",
        "mean_hold_bars",
    }
    blocks = [again["pooled"], again["by_symbol"]["TEST"], again["buy_and_hold"]]
    blocks += [again["random_entries"], again["taker"], again["last_days"]]
    for block in [*blocks, *again["sizes"], *again["cost_stress"]]:
        assert wanted <= set(block)
    assert json.dumps(again["setup"]["instruments"]["TEST"])
