"""What lies beside the bars of a study, instruments and funding rates, reaches its backtest."""

import dataclasses
import json
import shutil

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from drawn import START_MS, random_bars
from study_runs import small_bars, small_study
from walkforge import study
from walkforge.base import BarsError, RunError, Silent, StudyError, UsageError
from walkforge.market import (
    BarStore,
    Instrument,
    read_funding,
    read_instruments,
    write_funding,
    write_instruments,
)
from walkforge.study import backtest_intentions
from walkforge.study._bars import funding_beside, instrument_before
from walkforge.study._beside import Beside
from walkforge.study._judging import backtest_predictions

AT = "2026-11-21T16:00:00+00:00"
TOLD = Instrument("AAA", 0.5, 0.1, 1.0, 1.0, 0.0001, 0.002, 8.0, "24/7")


def _write_beside(folder, symbol, *, rate=0.001, numbers=range(1, 433)):
    """Keep a rate for every five minutes, of a day and a half."""
    stamps = START_MS + 300_000 * np.array(numbers)
    frame = pl.DataFrame(
        {
            "timestamp": pl.Series(stamps).cast(pl.Datetime("ms", "UTC")),
            "rate": np.full(len(stamps), rate),
        }
    )
    write_funding(folder / symbol, frame, entry={"source": "made"}, provenance="simulated")


def _make_root(path):
    """Return the folder above a venue of perpetuals with AAA and BBB, rates beside AAA."""
    store = BarStore(path)
    for bars in small_bars().values():
        store.write(dataclasses.replace(bars, venue="made_um", history=()))
    _write_beside(store.root / "made_um", "AAA")
    write_instruments(store.root / "made_um", {"AAA": TOLD}, source="made", fetched_at=AT)
    return store.root


@pytest.fixture
def root(tmp_path):
    return _make_root(tmp_path / "bars")


def _signals(path, symbols=("AAA",), rows=(500, 600, 700)):
    bars = small_bars()
    pl.concat(
        pl.DataFrame(
            {
                "timestamp": pl.Series(bars[s].timestamp[list(rows)]).cast(
                    pl.Datetime("ms", "UTC")
                ),
                "symbol": s,
                "side": ["long", "short", "long"],
                "size": 2.0,
            }
        )
        for s in symbols
    ).write_csv(path)
    return path


@pytest.mark.parametrize("words", [["data.universe=all"], []], ids=["all venues", "one venue"])
def test_a_series_finds_what_its_venues_folder_keeps(root, words):
    folder = root if words else root / "made_um"
    plan = small_study(*words, f"data.bars={folder}")
    bars = study.read_bars(plan)
    told = {name: instrument_before(one, plan.data).source for name, one in bars.items()}
    assert told == {"AAA": f"made, {AT}", "BBB": "inferred from prices"}
    funding = funding_beside(bars, plan.data)
    assert list(funding) == ["AAA"]
    assert len(funding["AAA"]) == 432


def test_several_timeframes_of_a_symbol_share_its_rates(root):
    plan = small_study(f"data.bars={root / 'made_um'}", "data.more_timeframes=[5m]")
    funding = funding_beside(study.read_bars(plan), plan.data)
    assert list(funding) == ["AAA/1m", "AAA/5m"]


@pytest.mark.parametrize("words", [["data.source=simulated"], []], ids=["simulated", "handed over"])
def test_bars_of_no_folder_have_nothing_beside_them(words):
    plan = small_study(*words)
    bars = {"AAA": random_bars(50, symbol="AAA")}
    assert funding_beside(bars, plan.data) == {}
    assert instrument_before(bars["AAA"], plan.data).source == "inferred from prices"


def test_somebodys_signals_pay_the_funding_beside_the_bars(root, tmp_path):
    signals = _signals(tmp_path / "mine.csv", ("AAA", "BBB"))
    summary = backtest_intentions(
        signals, root / "made_um", out=tmp_path / "out", overrides=["bracket.stop_atr=9"]
    )
    trades = pl.read_parquet(tmp_path / "out" / "trades.parquet")
    paid = dict(trades.group_by("symbol").agg(pl.col("funding").abs().sum()).iter_rows())
    assert paid["AAA"] > 0
    assert paid["BBB"] == 0.0
    assert summary["pooled"]["funding"] == pytest.approx(trades["funding"].sum())
    assert summary["setup"]["instruments"]["AAA"]["tick_size"] == 0.5
    notes = [note for note in summary["notes"] if "funding" in note]
    assert notes == [
        "BBB: perpetuals without funding rates beside their bars; nothing is paid or earned for "
        "funding."
    ]


def test_null_for_the_fee_takes_what_the_folder_says(root, tmp_path):
    signals = _signals(tmp_path / "mine.csv")
    words = ["costs.fee_frac=null", "taker_fee_frac=null"]
    summary = backtest_intentions(signals, root / "made_um", out=tmp_path / "out", overrides=words)
    trades = pl.read_parquet(tmp_path / "out" / "trades.parquet")
    exit_fee = pl.when(pl.col("exit_kind") == "target").then(0.0001).otherwise(0.002)
    fee = pl.col("size") * (pl.col("entry_price") * 0.002 + pl.col("exit_price") * exit_fee)
    assert trades["fee"].to_list() == pytest.approx(trades.select(fee).to_series().to_list())
    assert summary["setup"]["costs"]["fee_frac"] is None
    assert summary["taker"]["fee_frac"] == 0.002
    both = _signals(tmp_path / "both.csv", ("AAA", "BBB"))
    with pytest.raises(UsageError, match=r"^BBB: its taker fee is not known"):
        backtest_intentions(both, root / "made_um", overrides=words)


def test_a_study_keeps_null_for_the_fee_and_refuses_words():
    plan = small_study("backtest.costs.fee_frac=null")
    assert plan.backtest.costs.fee_frac is None
    assert "fee_frac: null" in study.as_yaml(plan)
    with pytest.raises(StudyError, match=r"backtest\.costs\.fee_frac is 'instrument'"):
        small_study("backtest.costs.fee_frac=instrument")


def test_a_runs_predictions_pay_the_funding_beside_its_bars(root, small_run):
    predictions = pl.read_parquet(small_run / "predictions.parquet")
    plan = small_study(f"data.bars={root / 'made_um'}")
    bars = study.read_bars(plan)
    instruments = {name: instrument_before(one, plan.data) for name, one in bars.items()}
    rates = funding_beside(bars, plan.data)
    paid, free = (
        backtest_predictions(plan, bars, predictions, Beside(instruments, one), n_trials=2).summary
        for one in (rates, {})
    )
    assert paid["by_symbol"]["AAA"]["funding"] != 0.0
    assert paid["by_symbol"]["BBB"]["funding"] == free["pooled"]["funding"] == 0.0
    by_symbol = (one["by_symbol"]["AAA"] for one in (paid, free))
    with_funding, without = by_symbol
    assert with_funding["pnl"] == pytest.approx(without["pnl"] - with_funding["funding"])


# What a run began with

LEFT = ("backtest.json", "trades.parquet", "equity.parquet")
ONE_FOLD = ["seeds=[0]", "folds.count=1", "training.epochs=1"]

COARSER = dataclasses.replace(TOLD, tick_size=2.5, lot_step=1.0, maker_fee_frac=0.001)


FINE = dataclasses.replace(TOLD, tick_size=0.001)
CHANGES = {"taker_fee_frac": 0.003}, {"tick_size": 0.0001}


class _Listening(Silent):
    def __init__(self, stops_at=None):
        self.notes, self.stops_at = [], stops_at

    def note(self, text):
        self.notes.append(text)

    def stage(self, name):
        if name == self.stops_at:
            raise KeyboardInterrupt


def _json(folder, name):
    return json.loads((folder / name).read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a finished run on bars with instruments and rates beside them, and their folder."""
    place = tmp_path_factory.mktemp("finished")
    venue = _make_root(place / "bars") / "made_um"
    plan = small_study(f"data.bars={venue}", *ONE_FOLD)
    return study.run(plan, place / "run"), venue


@pytest.fixture
def begun(finished, tmp_path):
    """Return a copy of a run whose backtest is still to be made, and the folder of its bars."""
    run, venue = finished
    kept = {path: path.read_bytes() for path in venue.rglob("*") if path.is_file()}
    copy = shutil.copytree(run, tmp_path / "run")
    for name in LEFT:
        (copy / name).unlink()
    yield copy, venue
    for path in venue.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    for path, content in kept.items():
        path.write_bytes(content)


def test_a_run_keeps_the_instruments_and_tells_of_the_rates_that_it_began_with(finished):
    run, venue = finished
    info = _json(run, "data_info.json")
    assert info["AAA"]["instrument"] == read_instruments(venue)["AAA"].as_dict()
    assert info["BBB"]["instrument"]["source"] == "inferred from prices"
    assert info["BBB"]["funding"] is None
    rates = read_funding(venue / "AAA")
    assert info["AAA"]["funding"]["digest"] == rates.digest()
    setup = _json(run, "backtest.json")["setup"]
    assert info["AAA"]["funding"]["first"] == "2024-01-01 00:05"
    assert setup["instruments"] == {name: one["instrument"] for name, one in info.items()}


def test_a_run_goes_on_with_its_own_instruments_and_rates_and_says_so(begun, finished):
    run, venue = begun
    write_instruments(venue, {"AAA": COARSER, "BBB": COARSER}, source="made", fetched_at="later")
    _write_beside(venue, "AAA", numbers=(433, 434, 435, 5000))
    _write_beside(venue, "BBB")
    told = _Listening()
    study.resume(run, watcher=told)
    assert _json(run, "backtest.json") == _json(finished[0], "backtest.json")
    for what in ("instruments", "funding rates"):
        line = f"{what} of AAA, BBB as the run began with; there are others beside its bars now"
        assert line in told.notes


def test_what_is_fetched_again_and_says_the_same_is_not_told(begun):
    run, venue = begun
    write_instruments(venue, {"AAA": TOLD}, source="made", fetched_at="later")
    _write_beside(venue, "AAA", numbers=(5000, 5001))  # after the last bar
    told = _Listening()
    study.resume(run, watcher=told)
    assert not [note for note in told.notes if "as the run began with" in note]


@pytest.mark.parametrize("change", ["another rate", "no rates", "a rate in between"])
def test_a_run_does_not_go_on_with_other_funding_rates(begun, change):
    run, venue = begun
    (venue / "AAA" / "funding.parquet").unlink()
    if change == "another rate":
        _write_beside(venue, "AAA", rate=0.002)
    elif change == "a rate in between":
        _write_beside(venue, "AAA", numbers=[1, 1.5, *range(2, 433)])
    with pytest.raises(RunError, match=r"the funding rates of AAA have changed since it began"):
        study.resume(run)
    assert not (run / "backtest.json").exists()


def test_an_older_run_that_kept_no_instruments_takes_what_lies_there(begun):
    run, venue = begun
    info = _json(run, "data_info.json")
    for one in info.values():
        del one["instrument"], one["funding"]
    (run / "data_info.json").write_text(json.dumps(info))
    write_instruments(venue, {"AAA": COARSER}, source="made", fetched_at="later")
    (venue / "AAA" / "funding.parquet").unlink()
    study.resume(run)
    summary = _json(run, "backtest.json")
    assert summary["setup"]["instruments"]["AAA"]["tick_size"] == 2.5
    assert summary["pooled"]["funding"] == 0.0


def test_a_damaged_instrument_of_a_run_is_refused_in_a_line(begun):
    run, _ = begun
    info = _json(run, "data_info.json")
    info["AAA"]["instrument"]["tick_size"] = -1
    (run / "data_info.json").write_text(json.dumps(info))
    with pytest.raises(RunError, match=r"data_info\.json is damaged, .*AAA: tick_size -1"):
        study.resume(run)


def test_a_run_filled_again_keeps_its_instruments_and_notes_what_lies_there(begun, finished):
    run, venue = finished[0], begun[1]
    words = ["costs.slippage_ticks=3"]
    before = study.backtest_again(run, words)
    write_instruments(venue, {"AAA": COARSER}, source="made", fetched_at="later")
    after = study.backtest_again(run, words)
    (note,) = (one for one in after["notes"] if one not in before["notes"])
    assert note.startswith("instruments of AAA as the run began with")
    assert after | {"notes": []} == before | {"notes": []}


def test_labels_that_are_fills_are_made_by_the_ticks_that_the_run_began_with(root, tmp_path):
    venue = root / "made_um"
    write_instruments(venue, {"AAA": FINE}, source="made", fetched_at=AT)
    plan = small_study(f"data.bars={venue}", "labels.kind=triple_barrier", *ONE_FOLD)
    whole = study.run(plan, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        study.run(plan, tmp_path / "run", watcher=_Listening(stops_at="baselines"))
    for one in CHANGES:
        other = dataclasses.replace(FINE, **one)
        write_instruments(venue, {"AAA": other}, source="made", fetched_at="later")
        with pytest.raises(KeyboardInterrupt):
            study.resume(tmp_path / "run", watcher=_Listening(stops_at="backtest"))
        table = tmp_path / "run" / "baseline_predictions.parquet"
        assert_frame_equal(pl.read_parquet(table), pl.read_parquet(whole / table.name))
        table.unlink()


def test_rates_that_cannot_be_read_leave_no_folder_behind(root, tmp_path):
    (root / "made_um" / "AAA" / "funding.parquet").write_bytes(b"nothing")
    plan = small_study(f"data.bars={root / 'made_um'}", *ONE_FOLD)
    with pytest.raises(BarsError, match=r"funding\.parquet: not a readable file"):
        study.run(plan, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_ensemble_takes_the_instruments_that_its_first_run_began_with(begun, finished, tmp_path):
    venue = begun[1]
    twin = shutil.copytree(finished[0], tmp_path / "twin")
    write_instruments(venue, {"AAA": COARSER}, source="made", fetched_at="later")
    told = _Listening()
    joined, _ = study.ensemble([finished[0], twin], out=tmp_path / "joined", watcher=told)
    setup = _json(joined, "backtest.json")["setup"]
    assert setup["instruments"] == _json(finished[0], "backtest.json")["setup"]["instruments"]
    assert any(note.startswith("instruments of AAA as the run began") for note in told.notes)


def test_judged_predictions_keep_instruments_and_rates_too(root, tmp_path):
    venue, bars = root / "made_um", small_bars()["AAA"]
    stamps, chance = bars.timestamp[100:2000], np.random.default_rng(0).uniform(0.2, 0.7, 1900)
    pl.DataFrame(
        {
            "timestamp": pl.Series(stamps).cast(pl.Datetime("ms", "UTC")),
            "symbol": "AAA",
            "label": np.random.default_rng(1).integers(0, 2, 1900),
            "p_down": 1 - chance,
            "p_up": chance,
        }
    ).write_parquet(tmp_path / "mine.parquet")
    words = ["labels.horizon_bars=3", "judge.n_resamples=100", "judge.baselines=[prior]",
             "judge.calibration=none", "backtest={n_random: 2, n_resamples: 20}"]  # fmt: skip
    judged, _ = study.judge_predictions(
        tmp_path / "mine.parquet", venue, out=tmp_path / "judged", overrides=words
    )
    info = _json(judged, "data_info.json")["AAA"]
    assert info["instrument"] == _json(judged, "backtest.json")["setup"]["instruments"]["AAA"]
    assert info["funding"]["digest"] == read_funding(venue / "AAA").digest()
    write_instruments(venue, {"AAA": COARSER}, source="made", fetched_at="later")
    again = study.backtest_again(judged, ["capital=5000"])
    assert again["setup"]["instruments"]["AAA"] == info["instrument"]
