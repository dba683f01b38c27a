"""`walkforge ensemble`, as a user types it."""

import json
import re
import shutil

import numpy as np
import polars as pl
import pytest

from command import call
from study_runs import small_bars, small_study
from walkforge import study
from walkforge.market import bars_to_frame

GRU = ("model={name: gru, hidden: 6}", "features.window_bars=4", "seeds=[0]")


@pytest.fixture(scope="module")
def here(small_run, tmp_path_factory):
    """Return a folder with a venue and two runs on its bars."""
    folder = tmp_path_factory.mktemp("here")
    for symbol, bars in small_bars().items():
        path = folder / "venue" / symbol / "1m.parquet"
        path.parent.mkdir(parents=True)
        bars_to_frame(bars).write_parquet(path)
    shutil.copytree(small_run, folder / "mlp")
    study.run(small_study(*GRU), folder / "gru", bars=small_bars())
    for name in ("mlp", "gru"):
        path = folder / name / "study.yaml"
        text = path.read_text()
        path.write_text(re.sub(r"bars: null", f"bars: {folder / 'venue'}", text, count=1))
    return folder


@pytest.fixture(scope="module")
def made(here):
    """Return what the command printed, and the folder that it made."""
    out = here / "both"
    found = call("ensemble", str(here / "mlp"), str(here / "gru"), "--out", str(out))
    assert found[0] == 0, found[2]
    return found, out


def test_it_prints_models_weights_and_verdict_and_last_the_folder(made, here):
    (_, out, err), folder = made
    lines = out.splitlines()
    assert lines[-1] == str(folder)
    assert f"A: mlp, {here / 'mlp'}" in lines
    assert "lightgbm: LightGBM of A" in lines
    head = next(line for line in lines if line.startswith("series"))
    assert head.split() == ["series", "fold", "A", "B", "lightgbm"]
    rows = [line.split() for line in lines if re.match(r"(AAA|BBB) +[01] ", line)]
    assert [row[:2] for row in rows] == [["AAA", "0"], ["AAA", "1"], ["BBB", "0"], ["BBB", "1"]]
    for row in rows:
        assert sum(map(float, row[2:])) == pytest.approx(1.0, abs=0.002)
    assert "NOT FIT" in out
    assert "mean weights: A " in err
    assert "common test rows; left out: none" in err
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x1b]", out + err), "control characters in a file"


def test_its_bundles_predict_like_any_other(made, here):
    bundle = made[1] / "models" / "AAA_fold1_ensemble"
    status, out, err = call("predict", str(bundle), str(here / "venue"), "--json")
    assert status == 0, err
    told = pl.read_ndjson(out.encode()).with_columns(pl.col("timestamp").str.to_datetime("%+"))
    told = told.with_columns(pl.col("timestamp").cast(pl.Datetime("ms", "UTC")))
    rows = pl.read_parquet(made[1] / "predictions.parquet").filter(
        (pl.col("symbol") == "AAA") & (pl.col("fold") == 1)
    )
    both = rows.join(told, on="timestamp", suffix="_told")
    assert len(both) == len(rows) > 200
    np.testing.assert_allclose(both["p_up_told"], both["p_up"], atol=1e-6)


def test_json_is_the_verdict_with_the_weights(here):
    words = ["ensemble", str(here / "mlp"), str(here / "gru"), "--out", str(here / "json"),
             "--weights", "equal", "--without-lightgbm", "--json"]  # fmt: skip
    status, out, err = call(*words)
    assert status == 0, err
    data = json.loads(out)
    assert data["run"] == str(here / "json")
    assert {"fit", "gates", "alarms"} <= data.keys()
    assert [one["weights"] for one in data["ensemble"]["folds"]] == [{"A": 0.5, "B": 0.5}] * 4


def test_what_is_refused_is_one_line_and_leaves_nothing(made, here):
    run = str(here / "mlp")
    for words, status, said in (
        (["ensemble", run], 2, "name at least two"),
        (["ensemble", run, run], 2, "named twice"),
        (["ensemble", run, str(here / "venue")], 1, "no run here"),
        (["ensemble", run, str(made[1])], 1, "is an ensemble itself"),
        (["ensemble", run, str(here / "gru"), "--out", str(here)], 1, "not empty"),
        (["resume", str(made[1])], 1, "nothing to resume"),
    ):
        found, out, err = call(*words)
        assert (found, out) == (status, "")
        assert said in err
        assert err.startswith("walkforge: error: ")
        assert err.count("\n") == 1
    assert call("ensemble", run, str(here / "gru"), "--weights", "best")[0] == 2
    assert not list(here.glob(".*"))


def test_it_can_be_compared_and_filled_again(made, here):
    status, out, err = call("compare", str(here / "mlp"), str(made[1]), "--json")
    assert status == 0, err
    assert "an ensemble of finished runs" in " ".join(json.loads(out)["notes"])
    status, out, err = call("backtest", str(made[1]), "--json", "--set", "costs.fee_frac=0.001")
    assert status == 0, err
    before = json.loads((made[1] / "backtest.json").read_text())["pooled"]
    assert json.loads(out)["pooled"]["n_trades"] == before["n_trades"]
