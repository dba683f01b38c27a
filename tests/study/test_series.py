"""Which bars a study takes, several timeframes at once, and series with calendars of their own."""

import json

import numpy as np
import polars as pl
import pytest

from drawn import random_bars
from study_runs import small_study
from walkforge import study
from walkforge.base import BarsError, FoldError, StudyError
from walkforge.market import bars_to_frame
from walkforge.study._prepare import prepare

OWN = ("folds.calendar=own", "folds.count=1")


def _store(folder, bars):
    for one in bars:
        place = folder / one.symbol
        place.mkdir(parents=True, exist_ok=True)
        bars_to_frame(one).write_parquet(place / f"{one.timeframe}.parquet")
    return folder


def _of_two_timeframes(*more: str) -> study.Study:
    return small_study(
        "data.source=simulated",
        "data.simulated={kind: garch, n_bars: 9000}",
        "data.symbols=[AAA, BBB]",
        "data.more_timeframes=[5m]",
        "folds.validation=100",
        "folds.calibration=100",
        "folds.test=150",
        "seeds=[0]",
        *OWN,
        *more,
    )


@pytest.fixture(scope="module")
def two_timeframes(tmp_path_factory):
    plan = _of_two_timeframes()
    return study.run(plan, tmp_path_factory.mktemp("runs") / "both")


def _json(folder, name):
    return json.loads((folder / name).read_text())


def test_every_symbol_is_one_series_per_timeframe(two_timeframes):
    expected = ["AAA/1m", "AAA/5m", "BBB/1m", "BBB/5m"]
    assert list(_json(two_timeframes, "data_info.json")) == expected
    folds = _json(two_timeframes, "folds.json")
    assert [(one["series"], one["symbol"], one["timeframe"]) for one in folds] == [
        (name, *name.split("/")) for name in expected
    ]
    metrics = _json(two_timeframes, "metrics.json")
    for block in (metrics["model"], metrics["baselines"]["prior"]):
        assert sorted(block["by_symbol"]) == expected
    backtest = _json(two_timeframes, "backtest.json")
    assert sorted(backtest["by_symbol"]) == expected
    assert backtest["setup"]["timeframe"] == "1m, 5m"
    bundles = sorted(path.name for path in (two_timeframes / "models").iterdir())
    kinds = ("lightgbm", "seed0")
    assert bundles == [f"{n.replace('/', '_')}_fold0_{k}" for n in expected for k in kinds]


def test_predictions_tell_symbol_and_timeframe_apart(two_timeframes):
    rows = pl.read_parquet(two_timeframes / "predictions.parquet")
    assert sorted(rows["symbol"].unique()) == ["AAA", "BBB"]
    assert sorted(rows["timeframe"].unique()) == ["1m", "5m"]
    info = {
        (one["symbol"], one["timeframe"]): one["rows"]["test"]
        for one in _json(two_timeframes, "folds.json")
    }
    counts = rows.group_by("symbol", "timeframe").len()
    assert {(s, t): n for s, t, n in counts.iter_rows()} == info


def test_series_on_calendars_of_their_own_need_no_common_time():
    early = random_bars(2200, seed=1, symbol="AAA")
    late = random_bars(6000, seed=2, symbol="BBB").take(slice(3000, 6000))
    assert late.timestamp[0] > early.timestamp[-1]
    bars = {"AAA": early, "BBB": late}
    with pytest.raises(FoldError, match=r"share no decision moment.*folds\.calendar=own"):
        prepare(bars, small_study())
    prepared = prepare(bars, small_study(*OWN))
    spans = {
        part.series: (part.fold.train.from_ms, part.fold.test.to_ms) for part in prepared.parts
    }
    assert spans["AAA"][1] < spans["BBB"][0]
    assert prepared.left_out == {}


def test_a_series_is_cut_the_same_beside_others_and_alone():
    bars = {
        "AAA": random_bars(2200, seed=1, symbol="AAA"),
        "BBB": random_bars(3000, seed=2, symbol="BBB"),
    }
    both = prepare(bars, small_study(*OWN)).parts
    alone = prepare({"BBB": bars["BBB"]}, small_study(*OWN)).parts
    (beside,) = [part for part in both if part.series == "BBB"]
    assert beside.fold == alone[0].fold
    for name in ("train", "validation", "calibration", "test"):
        assert np.array_equal(getattr(beside.rows, name), getattr(alone[0].rows, name))


def test_a_series_that_nobody_named_is_left_out_where_it_is_too_short(tmp_path):
    long, short = random_bars(2200, symbol="LONG"), random_bars(300, symbol="SHORT")
    folder = _store(tmp_path / "venue", [long, short])
    plan = small_study(*OWN, f"data.bars={folder}", "seeds=[0]")
    run = study.run(plan, tmp_path / "run")
    (name, reason), *others = _json(run, "run.json")["left_out"].items()
    assert (name, others) == ("SHORT", [])
    assert "SHORT" in reason
    assert list(_json(run, "data_info.json")) == ["LONG"]
    # What the folder has got since is no part of a run that is taken up again.
    measures = (run / "metrics.json").read_bytes()
    (run / "metrics.json").unlink()
    _store(folder, [random_bars(2200, seed=5, symbol="NEWCOMER")])
    study.resume(run)
    assert (run / "metrics.json").read_bytes() == measures


def test_a_series_that_was_named_is_never_left_out(tmp_path):
    bars = [random_bars(2200, symbol="LONG"), random_bars(300, symbol="SHORT")]
    folder = _store(tmp_path / "venue", bars)
    plan = small_study(*OWN, f"data.bars={folder}", "data.symbols=[LONG, SHORT]")
    with pytest.raises(FoldError, match="SHORT"):
        study.run(plan, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_series_keep_their_names_where_all_of_another_timeframe_are_left_out(tmp_path):
    folder = _store(tmp_path / "venue", [random_bars(2200, symbol="AAA")])
    plan = small_study(*OWN, f"data.bars={folder}", "data.more_timeframes=[5m]", "seeds=[0]")
    run = study.run(plan, tmp_path / "run")
    assert list(_json(run, "run.json")["left_out"]) == ["AAA/5m"]
    for name in ("data_info.json", "backtest.json", "metrics.json"):
        found = _json(run, name)
        found = {"data_info.json": found, "metrics.json": found.get("model")}.get(name, found)
        assert list(found.get("by_symbol", found)) == ["AAA/1m"], name


def test_a_newcomer_pushes_nobody_out_of_a_run_that_has_begun(tmp_path):
    bars = [random_bars(n, seed=n, symbol=s) for s, n in {"AAA": 2200, "BBB": 2300}.items()]
    folder = _store(tmp_path / "venue", bars)
    plan = small_study(f"data.bars={folder}", "data.most_symbols=2", "seeds=[0]", "folds.count=1")
    run = study.run(plan, tmp_path / "run")
    _store(folder, [random_bars(3000, seed=5, symbol="NEWCOMER")])
    assert list(study.read_bars(plan)) == ["BBB", "NEWCOMER"]
    again = study.backtest_again(run, ["capital=5000"])
    assert sorted(again["by_symbol"]) == ["AAA", "BBB"]


def test_symbols_that_are_named_are_all_taken(tmp_path):
    bars = [random_bars(200 + n, seed=n, symbol=f"S{n}") for n in range(4)]
    folder = _store(tmp_path / "venue", bars)
    plan = small_study(f"data.bars={folder}", "data.symbols=[S0, S1, S3]", "data.most_symbols=2")
    assert list(study.read_bars(plan)) == ["S0", "S1", "S3"]


def test_the_newest_bars_and_the_longest_series_are_taken(tmp_path):
    lengths = {"AAA": 300, "BBB": 500, "CCC": 400}
    bars = [random_bars(n, seed=n, symbol=symbol) for symbol, n in lengths.items()]
    folder = _store(tmp_path / "venue", bars)
    plan = small_study(f"data.bars={folder}", "data.most_symbols=2", "data.newest_bars=350")
    found = study.read_bars(plan)
    # All of CCC's bars but the first 50; AAA has 300, BBB more than asked for.
    assert {symbol: len(one) for symbol, one in found.items()} == {"BBB": 350, "CCC": 350}
    assert np.array_equal(found["CCC"].timestamp, bars[2].timestamp[50:])
    # The longest are those of the whole history, not of what is taken of it.
    few = small_study(f"data.bars={folder}", "data.most_symbols=2", "data.newest_bars=100")
    assert list(study.read_bars(few)) == ["BBB", "CCC"]


def test_a_symbol_without_one_of_the_timeframes_is_no_part(tmp_path):
    both, fast_only = random_bars(600, symbol="BOTH"), random_bars(3, symbol="FAST")
    folder = _store(tmp_path / "venue", [both, fast_only])
    plan = small_study(f"data.bars={folder}", "data.more_timeframes=[5m]")
    assert list(study.read_bars(plan)) == ["BOTH/1m", "BOTH/5m"]
    nothing = small_study(f"data.bars={folder}", "data.more_timeframes=[1w]")
    with pytest.raises(BarsError, match="1w"):
        study.read_bars(nothing)


@pytest.mark.parametrize(
    "text",
    ['["ETHUSDT", "BTCUSDT"]', '{"symbols": ["ETHUSDT", "BTCUSDT"]}', "ETHUSDT\nBTCUSDT\n",
     "# mine\nETHUSDT, BTCUSDT  # two\n\nETHUSDT\n", "\ufeffETHUSDT\r\nBTCUSDT\r\n"],
)  # fmt: skip
def test_a_file_of_symbols_is_json_or_text(tmp_path, text):
    file = tmp_path / "coins.txt"
    file.write_bytes(text.encode())
    assert study.load("v8", symbols=file).data.symbols == ("ETHUSDT", "BTCUSDT")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no symbols"),
        ("# none\n", "no symbols"),
        ('["BTC", 3]', "a JSON list of names"),
        ('{"coins": ["BTC"]}', '"symbols"'),
        ("[BTC", "not valid JSON in line 1"),
    ],
)
def test_a_file_of_symbols_that_is_none_is_refused_with_its_name(tmp_path, text, reason):
    file = tmp_path / "coins.json"
    file.write_text(text)
    with pytest.raises(StudyError, match=r"coins\.json") as caught:
        study.load("v8", symbols=file)
    assert reason in str(caught.value)


def test_a_missing_file_of_symbols_is_said(tmp_path):
    with pytest.raises(StudyError, match=r"nowhere\.txt: not readable"):
        study.load("v8", symbols=tmp_path / "nowhere.txt")


@pytest.mark.parametrize(
    "override",
    ["data.more_timeframes=[1m]", "data.newest_bars=0", "data.most_symbols=0",
     "data.more_timeframes=[7m]", "folds.calendar=mine"],
)  # fmt: skip
def test_impossible_values_are_refused(override):
    with pytest.raises(StudyError):
        small_study(override)
