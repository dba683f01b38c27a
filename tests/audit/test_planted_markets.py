"""Planted markets: what an edge is worth to an oracle."""

import numpy as np
import pytest

from walkforge import study
from walkforge.audit import Planted, edge_worth, oracle_of
from walkforge.audit import _planted_markets as planted_markets
from walkforge.base import UsageError

SETUP = study.load("honesty").backtest
PLANTED = Planted(seed=3, n_bars=3000, timeframe="1h", edge=0.3)


@pytest.fixture(autouse=True)
def few_markets(monkeypatch):
    monkeypatch.setattr(planted_markets, "_MARKETS", 3)


def _with_edge(edge: float) -> Planted:
    return Planted(seed=3, n_bars=3000, timeframe="1h", edge=edge)


def test_what_is_told_of_the_next_bar_is_what_it_does_on_average():
    bars, drift = PLANTED.market(4), PLANTED.drift(4)
    told, came = drift[:-1], bars.close[1:] / bars.close[:-1] - 1.0
    strong = np.abs(told) > np.quantile(np.abs(told), 0.7)
    ratio = (told[strong] * came[strong]).sum() / (told[strong] ** 2).sum()
    assert ratio == pytest.approx(1.0, abs=0.35)
    assert PLANTED.market(4).digest() == bars.digest() != PLANTED.market(5).digest()


def test_a_stronger_edge_is_worth_more_to_an_oracle():
    sharpes = [oracle_of(_with_edge(edge), SETUP).sharpe for edge in (0.1, 0.3, 0.5)]
    assert sharpes[0] < sharpes[1] < sharpes[2]


def test_without_an_edge_an_oracle_earns_nothing():
    oracle = oracle_of(_with_edge(0.0), SETUP)
    assert oracle.sharpe == 0.0  # it is told that no move is expected, and never trades


def test_the_edge_that_is_worth_so_much_is_found_by_halving():
    heard = []
    found = edge_worth(5.0, PLANTED, SETUP, tell=heard.append)
    assert found.sharpe == pytest.approx(5.0, abs=0.2)
    assert found == oracle_of(_with_edge(found.edge), SETUP)
    assert heard[0].startswith("edge 0.050: an oracle's Sharpe ratio is ")


def test_a_ratio_that_no_edge_is_worth_is_refused_with_those_that_are():
    with pytest.raises(UsageError, match="no planted edge is worth a Sharpe ratio of 500 here"):
        edge_worth(500.0, PLANTED, SETUP)
