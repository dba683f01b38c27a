"""The commands, as a user types them."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from command import call
from study_runs import small_bars
from walkforge.market import bars_to_frame


@pytest.fixture
def venue(tmp_path):
    """Return a venue's folder that holds the bars of the small run."""
    for symbol, bars in small_bars().items():
        path = tmp_path / "venue" / symbol / "1m.parquet"
        path.parent.mkdir(parents=True)
        bars_to_frame(bars).write_parquet(path)
    return tmp_path / "venue"


@pytest.fixture
def run(small_run, tmp_path):
    """Return a copy of the small run that a test may change."""
    return shutil.copytree(small_run, tmp_path / "run")


COMMANDS = [
    ["run"], ["resume"], ["tune"], ["presets"], ["judge"], ["backtest"], ["report"], ["predict"],
    ["doctor"], ["compare"], ["export"], ["ensemble"], ["trials"],
    ["data", "fetch"], ["data", "import"], ["data", "list"], ["data", "info"], ["data", "check"],
    ["data", "repair"], ["data", "export"], ["data", "instruments"], ["data", "universe"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command):
    status, out, _ = call(*command, "--help")
    assert status == 0
    assert re.search(rf"Examples?: walkforge {' '.join(command)}\b", " ".join(out.split()))


def test_without_words_the_help_is_shown():
    status, out, err = call()
    assert "walkforge run demo" in out + err
    assert status == 2


def test_a_finished_run_prints_the_verdict_and_the_folder_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(
        "run", "demo", "--out", "mine",
        "--set", "folds.count=2", "--set", "training.epochs=1", "--set", "seeds=[0]",
        "--set", "judge.baselines=[majority, prior]", "--set", "judge.n_resamples=100",
        "--set", "data.start=2010-01-01", "--set", "folds.test=300",
        "--set", "backtest.n_random=10", "--set", "backtest.n_resamples=100",
    )  # fmt: skip
    assert status == 0, err
    lines = out.splitlines()
    assert lines[-1] == "mine"
    assert "NOT FIT" in out
    assert lines[-2] == "report: mine/report.html"
    assert "no CUDA device" in err or "CUDA device" in err
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x1b]", out + err), "control characters in a file"
    data = json.loads((tmp_path / "mine" / "data_info.json").read_text())
    assert {info["provenance"] for info in data.values()} == {"sample"}


def test_judge_prints_the_verdict_and_strict_makes_it_the_exit_status(run):
    status, out, _ = call("judge", str(run))
    assert re.search(r"of 2 symbols surely knows? the direction after counting all 2", out)
    assert status == 0
    assert "NOT FIT" in out
    status, out, _ = call("judge", str(run), "--strict", "--json", "--profile", "v8")
    assert status == 1
    assert json.loads(out)["profile"] == "v8"


def test_presets_are_listed_and_printed_to_copy():
    status, out, _ = call("presets")
    assert status == 0
    assert {"demo", "gru", "v8"} <= {line.split()[0] for line in out.splitlines()}
    assert call("presets", "v8")[1].startswith("# The `v8` plan")


def test_predict_prints_the_runs_probabilities_for_one_bar_as_for_many(run, venue):
    bundle = run / "models" / "AAA_fold0_seed0"
    symbol = bundle.name.split("_")[0]
    path = venue / symbol / "1m.parquet"
    status, out, err = call("predict", str(bundle), str(path))
    assert status == 0, err
    many = pl.read_csv(out.encode(), try_parse_dates=True)
    one = json.loads(call("predict", str(bundle), str(venue), "--last", "1", "--json")[1])
    names = ["p_down", "p_hold", "p_up"]
    np.testing.assert_allclose([one[n] for n in names], many[-1].select(names).row(0), atol=1e-6)
    predictions = pl.read_parquet(run / "predictions.parquet").filter(
        (pl.col("symbol") == symbol) & (pl.col("fold") == 0) & (pl.col("seed") == 0)
    )
    joined = predictions.join(
        many.with_columns(pl.col("timestamp").cast(pl.Datetime("ms", "UTC"))), on="timestamp"
    )
    assert len(joined) == len(predictions)
    for name in names:
        np.testing.assert_allclose(joined[name], joined[f"{name}_right"], atol=1e-6)


def test_predict_refuses_bars_of_another_symbol(run, venue):
    bundle = next(path for path in (run / "models").iterdir() if path.name.startswith("AAA"))
    status, _, err = call("predict", str(bundle), str(venue / "BBB" / "1m.parquet"))
    assert status == 1
    assert "BBB" in err


def test_backtest_of_a_run_can_be_filled_again_under_other_costs(run, venue):
    study = run / "study.yaml"
    text = study.read_text()
    study.write_text(re.sub(r"bars: null", f"bars: {venue}", text, count=1))
    status, out, err = call("backtest", str(run), "--json")
    assert status == 0, err
    before = json.loads(out)
    assert before == json.loads((run / "backtest.json").read_text())
    status, out, err = call("backtest", str(run), "--json", "--set", "costs.fee_frac=0.001")
    assert status == 0, err
    after = json.loads(out)
    assert after["pooled"]["n_trades"] == before["pooled"]["n_trades"]
    assert after["pooled"]["fees"] > 2 * before["pooled"]["fees"]
    assert "Sharpe" in call("backtest", str(run))[1]


def test_anybodys_signals_are_filled_by_the_same_rules(venue, tmp_path):
    bars = small_bars()["AAA"]
    rows = [500, 600, 700]
    table = pl.DataFrame({
        "timestamp": pl.Series(bars.timestamp[rows]).cast(pl.Datetime("ms", "UTC")),
        "symbol": "AAA", "side": ["long", "short", "buy"], "size": 2.0,
    })  # fmt: skip
    table.write_csv(tmp_path / "mine.csv")
    words = ["backtest", "--intentions", str(tmp_path / "mine.csv"), "--bars", str(venue)]
    status, out, err = call(*words, "--json", "--out", str(tmp_path / "out"))
    assert status == 0, err
    assert json.loads(out)["pooled"]["n_trades"] == 3
    trades = pl.read_parquet(tmp_path / "out" / "trades.parquet")
    assert trades["side"].to_list() == [1, -1, 1]
    entered = trades["entered_at"].dt.epoch("ms").to_list()
    assert entered == [int(bars.timestamp[row + 1]) for row in rows]


def _foreign_predictions(bars, skill):
    """Return a table as somebody else would bring it: hits above chance by `skill`."""
    random = np.random.default_rng(5)
    rows = np.arange(400, len(bars) - 1)
    up = (bars.close[rows + 1] > bars.close[rows]).astype(int)
    labels = np.where(up == 1, 2, 0)
    said = np.where(random.random(len(rows)) < 0.5 + skill, up, 1 - up)
    p_up = np.where(said == 1, 0.48 + skill / 2, 0.48 - skill / 2)
    return pl.DataFrame({
        "timestamp": pl.Series(bars.timestamp[rows]).cast(pl.Datetime("ms", "UTC")),
        "symbol": bars.symbol, "label": labels,
        "p_down": 0.96 - p_up, "p_hold": 0.04, "p_up": p_up,
    })  # fmt: skip


def test_anybodys_predictions_are_judged_beside_the_baselines(venue, tmp_path):
    table = pl.concat([_foreign_predictions(bars, 0.2) for bars in small_bars().values()])
    table.write_parquet(tmp_path / "p.parquet")
    words = ["judge", "--predictions", str(tmp_path / "p.parquet"), "--bars", str(venue),
             "--out", str(tmp_path / "judged")]  # fmt: skip
    refused = call(*words)
    assert refused[0] == 1
    assert "resolved_at" in refused[2]
    assert not (tmp_path / "judged").exists()
    words += ["--set", "labels.horizon_bars=1"]
    status, out, err = call(*words)
    assert status == 0, err
    assert out.splitlines()[-1] == str(tmp_path / "judged")
    verdict = json.loads((tmp_path / "judged" / "verdict.json").read_text())
    passed = {gate["name"]: gate["passed"] for gate in verdict["gates"]}
    assert passed["beats_prior"]
    assert passed["beats_lightgbm"]
    metrics = json.loads((tmp_path / "judged" / "metrics.json").read_text())
    # The first 40 % of the time taught the baselines and is not judged.
    assert metrics["model"]["pooled"]["accuracy"]["n"] == pytest.approx(0.6 * len(table), rel=0.1)
    assert "made elsewhere: p.parquet" in (tmp_path / "judged" / "report.html").read_text()
    assert call("judge", str(tmp_path / "judged"), "--json")[0] == 0


def test_bars_are_imported_listed_checked_and_repaired(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"2024-01-01T00:0{m},10,11,9,10.5,{m + 1}\n" for m in range(5)]
    (tmp_path / "A-1m.csv").write_text("timestamp,open,high,low,close,volume\n" + "".join(rows))
    status, out, err = call("data", "import", "A-1m.csv", "--venue", "mine")
    assert (status, err) == (0, "")
    assert "mine/A/1m" in out
    assert "mine/A/1m" in call("data", "list")[1]
    assert json.loads(call("data", "list", "--json")[1])[0]["rows"] == 5
    assert call("data", "check", "bars/mine")[0] == 0
    messy = [rows[1], rows[0], rows[0], *rows[2:]]
    (tmp_path / "messy-1m.csv").write_text(
        "timestamp,open,high,low,close,volume\n" + "".join(messy)
    )
    status, out, _ = call("data", "check", "messy-1m.csv")
    assert status == 1
    assert "duplicate" in out
    assert call("data", "repair", "messy-1m.csv", "--out", "clean-1m.csv")[0] == 0
    assert call("data", "check", "clean-1m.csv")[0] == 0
    assert (tmp_path / "messy-1m.csv").read_text().count("\n") == 7


def test_the_module_runs_as_the_command_does():
    done = subprocess.run(
        [sys.executable, "-m", "walkforge", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0.1.0"


def test_brackets_in_a_path_are_part_of_its_name(venue, run, tmp_path):
    odd = tmp_path / "odd [1]"
    shutil.copytree(venue, odd / "venue")
    shutil.copytree(run, odd / "run")
    found = [call("data", "check", str(place), "--json")[1] for place in (odd / "venue", venue)]
    assert found[0].replace(str(odd), str(venue.parent)) == found[1]
    status, _, err = call("report", str(odd / "run"))
    assert (status, err) == (0, "")
    status, out, err = call("compare", str(odd / "run"), str(run), "--json")
    assert status == 0, err
    assert json.loads(out)
