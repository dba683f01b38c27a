"""What lies beside the bars of a study, instruments and funding rates, reaches its backtest."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from drawn import START_MS, random_bars
from study_runs import small_bars, small_study
from walkforge import study
from walkforge.base import StudyError, UsageError
from walkforge.market import BarStore, Instrument, write_funding, write_instruments
from walkforge.study import backtest_intentions
from walkforge.study._bars import funding_beside, instrument_before
from walkforge.study._judging import backtest_predictions

AT = "2026-11-21T16:00:00+00:00"
TOLD = Instrument("AAA", 0.5, 0.1, 1.0, 1.0, 0.0001, 0.002, 8.0, "24/7")


def _write_beside(folder, symbol, *, rate=0.001):
    """Keep a rate for every five minutes of a day and a half."""
    stamps = START_MS + 300_000 * np.arange(1, 433)
    frame = pl.DataFrame(
        {
            "timestamp": pl.Series(stamps).cast(pl.Datetime("ms", "UTC")),
            "rate": np.full(len(stamps), rate),
        }
    )
    write_funding(folder / symbol, frame, entry={"source": "made"}, provenance="simulated")


@pytest.fixture
def root(tmp_path):
    """Return the folder above a venue of perpetuals with AAA and BBB, rates beside AAA."""
    store = BarStore(tmp_path / "bars")
    for bars in small_bars().values():
        store.write(dataclasses.replace(bars, venue="made_um", history=()))
    _write_beside(store.root / "made_um", "AAA")
    write_instruments(store.root / "made_um", {"AAA": TOLD}, source="made", fetched_at=AT)
    return store.root


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
    paid = backtest_predictions(plan, bars, instruments, predictions).summary
    elsewhere = dataclasses.replace(plan, data=dataclasses.replace(plan.data, bars=None))
    free = backtest_predictions(elsewhere, bars, instruments, predictions).summary
    assert paid["by_symbol"]["AAA"]["funding"] != 0.0
    assert paid["by_symbol"]["BBB"]["funding"] == free["pooled"]["funding"] == 0.0
    by_symbol = (one["by_symbol"]["AAA"] for one in (paid, free))
    with_funding, without = by_symbol
    assert with_funding["pnl"] == pytest.approx(without["pnl"] - with_funding["funding"])
