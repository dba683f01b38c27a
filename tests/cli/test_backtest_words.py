"""A backtest in a terminal."""

import numpy as np
import pytest

from backtest.table import intentions, venue
from drawn import START_MS, random_bars
from walkforge.backtest import BacktestSetup, run
from walkforge.cli._backtest_words import print_backtest
from walkforge.market import Funding


@pytest.fixture
def shown(monkeypatch, capsys):
    """Return what a terminal shows of a backtest, with a rate for every minute or without."""
    monkeypatch.setenv("COLUMNS", "160")

    def show(rate: float | None) -> str:
        bars = random_bars(200, symbol="TEST")
        table = intentions(bars, {20: 1, 90: -1})
        rates = Funding(START_MS + 60_000 * np.arange(200), np.full(200, rate or 0.0))
        funding = {} if rate is None else {"TEST": rates}
        setup = BacktestSetup(n_random=0, n_resamples=0, size_contracts=1.0)
        instruments = {"TEST": venue(min_notional=1e6 if rate is None else 0.0)}
        result = run({"TEST": bars}, table, setup, instruments=instruments, funding=funding)
        print_backtest(result.summary)
        return capsys.readouterr().out

    return show


def test_funding_has_a_column_where_there_are_rates(shown):
    heads = [line.split() for line in shown(0.001).splitlines() if "win" in line.split()]
    assert heads == [
        ["trades", "win", "rate", "PnL", "fees", "funding", "ROI", "drawdown", "Sharpe"]
    ]


def test_without_rates_there_is_no_column_and_notes_come_last(shown):
    told = shown(None)
    assert "funding" not in told
    assert told.strip().splitlines()[-1].startswith("TEST: 2 of 2 orders were refused")
