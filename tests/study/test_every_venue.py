"""All venues of a folder as one market: which of a symbol's series counts, and which did before."""

import dataclasses
import json

import pytest

from drawn import random_bars
from study.token_studies import token_study
from study_runs import small_study
from walkforge import study
from walkforge.base import BarsError, FoldError, RunError, Silent
from walkforge.market import BarStore, resample
from walkforge.study._bars import categories_of, missing_assets, twins_told


@pytest.fixture
def store(tmp_path):
    return BarStore(tmp_path / "bars")


def _plan(store, *more):
    return token_study("data.universe=all", f"data.bars={store.root}", *more)


def _write(store, venue, bars):
    store.write(dataclasses.replace(bars, venue=venue, history=()))


def _chosen(plan):
    return {name: (one.venue, len(one)) for name, one in study.read_bars(plan).items()}


class Noting(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_all_venues_of_a_folder_are_one_market(store):
    _write(store, "drawn", random_bars(60, symbol="AAA"))
    _write(store, "another", random_bars(50, symbol="BBB"))
    plan = _plan(store)
    bars = study.read_bars(plan)
    assert missing_assets(plan.data, bars) == []
    assert categories_of(plan.data, bars) == {"AAA": "drawn", "BBB": "another"}
    assert twins_told(plan.data, bars) == ""
    assert list(study.read_bars(_plan(store, "data.symbols=[BBB]"))) == ["BBB"]


def test_a_run_says_which_venues_it_passes_over(store, tmp_path):
    for venue, n_bars in (("drawn", 60), ("another", 50), ("early", 20)):
        _write(store, venue, random_bars(n_bars, symbol="AAA"))
    _write(store, "drawn", random_bars(60, symbol="BBB"))
    seen = Noting()
    with pytest.raises(FoldError):  # sixty bars are no study
        study.run(_plan(store), tmp_path / "run", watcher=seen)
    told = "of symbols at several venues the longest series counts: AAA: drawn, not another, early"
    assert seen.notes.count(told) == 1
    given, bars = Noting(), {"AAA": random_bars(60, symbol="AAA")}
    with pytest.raises(FoldError):
        study.run(_plan(store), tmp_path / "run", watcher=given, bars=bars)
    assert given.notes
    assert not any("several venues" in text for text in given.notes)


def test_of_many_twins_the_first_are_named_and_the_others_counted(store):
    for number in range(10):
        for venue, n_bars in (("drawn", 60), ("another", 50)):
            _write(store, venue, random_bars(n_bars, symbol=f"S{number}"))
    plan = _plan(store, "data.more_timeframes=[5m]")
    told = twins_told(plan.data, study.read_bars(plan))
    assert told.count("drawn, not another") == 8
    assert told.endswith("; S7: drawn, not another and 2 more")


def test_all_timeframes_of_a_symbol_are_of_the_first_ones_venue(store):
    bars = random_bars(900, symbol="AAA")
    _write(store, "minutes", bars.take(slice(0, 600)))
    _write(store, "hours", bars.take(slice(0, 120)))
    _write(store, "hours", resample(bars, "1h"))
    plan = _plan(store, "data.more_timeframes=[1h]")
    assert _chosen(plan) == {"AAA/1m": ("minutes", 600), "AAA/1h": ("minutes", 10)}
    turned = _plan(store, "data.timeframe=1h", "data.more_timeframes=[1m]")
    assert _chosen(turned) == {"AAA/1h": ("hours", 15), "AAA/1m": ("hours", 120)}


def test_a_symbol_whose_venue_lacks_a_timeframe_is_no_part_and_named_an_error(store):
    _write(store, "minutes", random_bars(50, symbol="AAA"))
    _write(store, "hours", random_bars(9, symbol="AAA", timeframe="1h"))
    _write(store, "minutes", random_bars(600, symbol="BBB"))
    more = "data.more_timeframes=[1h]"
    assert list(_chosen(_plan(store, more))) == ["BBB/1m", "BBB/1h"]
    with pytest.raises(BarsError, match="no bars of 1h of AAA at minutes"):
        study.read_bars(_plan(store, more, "data.symbols=[AAA, BBB]"))


def test_a_longer_twin_that_came_later_is_no_part_of_a_run_that_has_begun(store, tmp_path):
    bars = random_bars(2600, symbol="AAA")
    _write(store, "drawn", bars.take(slice(0, 2200)))
    settings = ("data.universe=all", f"data.bars={store.root}", "folds.count=1", "seeds=[0]")
    run = study.run(small_study(*settings), tmp_path / "run")
    measures = (run / "metrics.json").read_bytes()
    _write(store, "another", bars)
    (run / "metrics.json").unlink()
    study.resume(run)
    assert (run / "metrics.json").read_bytes() == measures
    info = json.loads((run / "data_info.json").read_text())
    assert info["AAA"]["venue"] == "drawn"
    _write(store, "drawn", bars)
    with pytest.raises(RunError, match="the bars of AAA have changed"):
        study.backtest_again(run, ["capital=5000"])
