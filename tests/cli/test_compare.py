"""`walkforge compare`, as a user types it."""

import json
import shutil

import pytest

from command import call
from evaluation.forecast_tables import baseline_of, walk
from token_runs import add_tokens
from walkforge.base import json_text
from walkforge.evaluation import forecast_metrics


@pytest.fixture
def here(small_run, tmp_path, monkeypatch):
    """Return a working folder with two runs that differ in a setting and a name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    shutil.copytree(small_run, tmp_path / "runs" / "base")
    other = shutil.copytree(small_run, tmp_path / "runs" / "wide")
    text = (other / "study.yaml").read_text()
    text = text.replace("- 16\n", "- 32\n").replace("\n  bars: null", "\n  bars: 'my[bold]bars'")
    (other / "study.yaml").write_text(text)
    return tmp_path


def test_two_runs_are_told_apart_in_80_columns_and_a_page_lies_beside(here):
    status, out, err = call("compare", "runs/base", "runs/wide")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "comparison.html"
    assert lines[1] == "The same predictions"
    assert "B (wide) and A (base) predict alike" in out
    told = " ".join(out.split())
    assert "No run is surely better than A (base) by log loss: luck alone would make B" in told
    assert "rows that all share); B predicted alike." in told
    assert "(PBO) cannot be told: 1 day in common, at least 80 needed." in told
    assert "my[bold]bars" in out, "a name is no markup"
    widths = next(line for line in lines if line.startswith("model.widths"))
    assert widths.split(maxsplit=1)[1].split() == ["[16]", "[32]"]
    assert (here / "comparison.html").read_text().startswith("<!doctype html>")
    assert "\x1b" not in out, "control characters where the output is no terminal"


def test_runs_that_forecast_are_compared_by_their_prices_too(here):
    for place, name in enumerate(("base", "wide")):
        forecasts = baseline_of(walk(600), "x", noise=0.01 * place, point=False).drop("baseline")
        forecasts.write_parquet(here / "runs" / name / "forecasts.parquet")
        path = here / "runs" / name / "metrics.json"
        measures = forecast_metrics(forecasts, None, n_resamples=100)
        path.write_text(json_text(json.loads(path.read_text()) | {"forecast": measures}))
    status, out, _ = call("compare", "runs/base", "runs/wide")
    assert status == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "B (wide) has a higher CRPS than A (base)" in out
    assert next(line for line in lines if line.startswith("common forecasts")).split()[2] == "4,800"
    assert len([line for line in lines if line.startswith("CRPS")]) == 2, "tested, and measured"


def test_models_of_tokens_are_told_side_by_side_in_80_columns(here):
    for name, digest in (("base", "aa"), ("wide", "bb")):
        add_tokens(here / "runs" / name, digest=digest)
    status, out, _ = call("compare", "runs/base", "runs/wide")
    assert status == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "they have other tokenizers" in " ".join(out.split())
    assert next(line for line in lines if line.startswith("tokenizer  ")).split()[1:] == [
        "vq,", "64", "vq,", "64"
    ]  # fmt: skip
    assert next(line for line in lines if line.startswith("saved on it, nats")).count("+0.1") == 2
    assert next(line for line in lines if line.startswith("common tokens")).split()[2] == "0"
    assert 'id="plot-token-gains"' in (here / "comparison.html").read_text()


def test_json_is_the_data_alone_and_leaves_no_page_unless_asked(here):
    status, out, err = call("compare", "runs/base", "runs/wide", "--json")
    assert (status, err) == (0, "")
    data = json.loads(out)
    assert [run["name"] for run in data["runs"]] == ["base", "wide"]
    differ = {row["key"]: row["values"] for row in data["settings"]["differ"]}
    assert (data["best_of"]["p_value"], data["best_of"]["untested"]) == (1.0, ["B"])
    assert data["overfitting"]["comparable"] is False
    assert differ == {"data.bars": [None, "my[bold]bars"], "model.widths": [[16], [32]]}
    assert sorted(path.name for path in here.iterdir()) == ["runs"]
    words = ("--json", "--out", "pages/mine.html")
    assert json.loads(call("compare", "runs/base", "runs/wide", *words)[1]) == data
    assert (here / "pages" / "mine.html").is_file()


def test_five_runs_are_printed_some_at_a_time(here):
    names = ["base", "wide"]
    for name in ("c", "d", "e"):
        shutil.copytree(here / "runs" / "base", here / "runs" / name)
        names.append(name)
    status, out, _ = call("compare", *(f"runs/{name}" for name in names), "--out", "five.html")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert out.count("whole run") == 2
    assert out.splitlines()[-1] == "five.html"


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["runs/base"], 2, ["at least two"]),
        (["runs/base", "runs/../runs/base"], 2, ["the same folder"]),
        (["runs/base", "runs"], 1, ["runs", "no run here"]),
        (["runs/base", "nowhere"], 1, ["nowhere", "no run here"]),
        (["runs/base", "runs/cut"], 1, ["unfinished", "walkforge resume runs/cut"]),
        (["runs/base", "runs/wide", "--out", "runs/base/study.yaml"], 2, [".html"]),
    ],
    ids=["one", "twice", "no-run", "missing", "unfinished", "out"],
)
def test_bad_input_gets_one_line_and_no_page(here, words, status, expected):
    shutil.copytree(here / "runs" / "base", here / "runs" / "cut")
    (here / "runs" / "cut" / "metrics.json").unlink()
    found, out, err = call("compare", *words)
    assert found == status
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("walkforge: error:")
    assert all(word in err for word in expected)
    assert not list(here.glob("**/comparison.html"))
