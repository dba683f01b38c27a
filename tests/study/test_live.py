"""Later predictions beside what their bundle carries: does the verdict still stand?"""

import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from drawn import random_bars
from going_on import write_venue
from study_runs import small_study
from walkforge import features, registry, runtime, study
from walkforge.base import BarsError, PredictionsError, RunError, parse_utc_ms

LEARNED_BARS = 2200


def _whole():
    return {
        "AAA": random_bars(2700, seed=1, symbol="AAA"),
        "BBB": random_bars(2700, seed=2, symbol="BBB", holes_at=(700,)),
    }


def _wilder(bars, from_row):
    """Return bars whose moves are four times as large from a row on."""
    close = np.log(bars.close)
    moves = np.diff(close, prepend=close[0])
    moves[from_row:] *= 4.0
    new = np.exp(close[0] + np.cumsum(moves))
    scale = new / bars.close
    wick = np.where(np.arange(len(bars)) < from_row, 1.0, 1.004)
    opened = np.concatenate([[bars.open[0]], new[:-1]])
    return replace(
        bars,
        open=opened,
        close=new,
        high=np.maximum(np.maximum(opened, new), bars.high * scale) * wick,
        low=np.minimum(np.minimum(opened, new), bars.low * scale) / wick,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a finished run on the first bars of a market that goes on."""
    bars = {name: one.take(slice(0, LEARNED_BARS)) for name, one in _whole().items()}
    return study.run(small_study(), tmp_path_factory.mktemp("runs") / "small", bars=bars)


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    return write_venue(tmp_path_factory.mktemp("bars") / "venue", _whole())


def _predicted(run, bars, path, *, kind="ensemble", rows=slice(LEARNED_BARS, LEARNED_BARS + 290)):
    """Write what the bundles of the last fold say of later bars."""
    tables = [
        runtime.predict(run / "models" / f"{name}_fold1_{kind}", one) for name, one in bars.items()
    ]
    from_ms, to_ms = (
        next(iter(bars.values())).timestamp[row] for row in (rows.start, rows.stop - 1)
    )
    stamp = pl.col("timestamp").dt.epoch("ms")
    pl.concat(tables).filter(stamp.is_between(int(from_ms), int(to_ms))).write_csv(path)
    return path


def test_nothing_has_changed_and_the_verdict_still_stands(run, venue, tmp_path):
    path = _predicted(run, _whole(), tmp_path / "p.csv")
    found = study.judge_live(path, run, venue)
    assert found["stands"] is True, found["sentence"]
    assert found["sentence"].startswith("The verdict (not fit) still stands: none of ")
    assert found["series"] == ["AAA", "BBB"]
    assert found["n_before_the_tests_end"] == 0
    assert found["n_known"] == found["n"]
    assert json.loads((run / "live.json").read_text())["stands"] is True
    (run / "live.json").unlink()


def test_a_market_four_times_as_wild_is_seen_and_named(run, tmp_path):
    bars = {name: _wilder(one, LEARNED_BARS) for name, one in _whole().items()}
    venue = write_venue(tmp_path / "venue", bars)
    path = _predicted(run, bars, tmp_path / "p.csv")
    found = study.judge_live(path, run, venue, out=tmp_path / "live.json")
    assert found["stands"] is False
    assert "inputs drifted" in found["sentence"]
    moved = {one["name"] for one in found["inputs"] if one["drifted"]}
    assert moved, found["sentence"]
    labels = [one for one in found["classes"] if one["name"] == "labels"]
    # The limits were learned in the calm: far fewer outcomes lie between them now.
    assert any(one["drifted"] for one in labels)
    assert all(one["shares"]["live"]["hold"] < 0.2 for one in labels)
    assert not (run / "live.json").exists()
    assert json.loads((tmp_path / "live.json").read_text())["because"] == found["because"]


def test_probabilities_that_claim_too_much_are_seen(run, venue, tmp_path):
    path = _predicted(run, _whole(), tmp_path / "p.csv")
    sure = pl.read_csv(path)
    p = sure.select("p_down", "p_hold", "p_up").to_numpy() ** 12
    p /= p.sum(axis=1, keepdims=True)
    sure.with_columns(
        pl.Series(f"p_{name}", p[:, c]) for c, name in enumerate(("down", "hold", "up"))
    ).write_csv(path)
    found = study.judge_live(path, run, venue, out=tmp_path / "live.json")
    assert found["stands"] is False
    assert any(one["drifted"] for one in found["calibration"])
    assert "fit worse than in the test" in found["sentence"]
    assert not any(one["drifted"] for one in found["inputs"])


def test_a_few_predictions_are_too_few(run, venue, tmp_path):
    rows = slice(LEARNED_BARS, LEARNED_BARS + 6)
    path = _predicted(run, _whole(), tmp_path / "p.csv", rows=rows)
    found = study.judge_live(path, run, venue, out=tmp_path / "live.json")
    assert found["stands"] is None
    assert found["sentence"].startswith("Too little has come yet: inputs: ")


def test_before_any_outcome_is_known_nothing_is_said(run, venue, tmp_path):
    path = _predicted(run, _whole(), tmp_path / "p.csv", rows=slice(1000, 2000))
    found = study.judge_live(path, run, venue, out=tmp_path / "live.json")
    assert found["stands"] is None
    assert (found["n"], found["n_known"], found["n_before_the_tests_end"]) == (0, 0, 2000)
    assert found["sentence"] == (
        "Too little has come yet: inputs: 0 rows, at least 10 needed; shares of classes: 0 rows, "
        "at least 10 needed; calibration: no outcome is known yet; hits: no outcome is known yet."
    )


def test_a_bundle_expires_as_long_after_its_test_as_that_was(run, venue, tmp_path):
    described = registry.read_bundle(run / "models" / "AAA_fold1_seed0").description
    begin, end = map(parse_utc_ms, described["tested"])
    assert parse_utc_ms(described["expires_at"]) == end + (end - begin)
    folds = json.loads((run / "folds.json").read_text())
    assert described["tested"] == next(f for f in folds if f["fold"] == 1)["test"]
    path = _predicted(run, _whole(), tmp_path / "p.csv", rows=slice(LEARNED_BARS, 2700))
    found = study.judge_live(path, run, venue, out=tmp_path / "live.json")
    assert found["stands"] is False
    assert [one["expired"] for one in found["expiry"]] == [True, True]
    assert "2 of 2 bundles have expired" in found["sentence"]
    assert "tested for" in found["sentence"]


def test_answers_of_bars_before_the_end_of_the_test_do_not_count(run, venue, tmp_path):
    path = _predicted(run, _whole(), tmp_path / "p.csv", rows=slice(1000, LEARNED_BARS + 290))
    found = study.judge_live(path, run, venue, out=tmp_path / "live.json")
    assert found["n_before_the_tests_end"] > 2000
    # The test ended three bars before the bars did: the last of them had no outcome yet.
    rows = slice(LEARNED_BARS - 3, LEARNED_BARS + 290)
    only_later = _predicted(run, _whole(), tmp_path / "later.csv", rows=rows)
    again = study.judge_live(only_later, run, venue, out=tmp_path / "live.json")
    assert again["n_before_the_tests_end"] == 0
    assert all(
        found[key] == again[key] for key in ("n", "inputs", "classes", "calibration", "hits")
    )


def test_answers_whose_outcome_is_not_known_yet_do_not_count_as_misses(run, tmp_path):
    bars = {name: one.take(slice(0, LEARNED_BARS + 200)) for name, one in _whole().items()}
    venue = write_venue(tmp_path / "venue", bars)
    path = _predicted(run, bars, tmp_path / "p.csv", rows=slice(LEARNED_BARS, LEARNED_BARS + 200))
    found = study.judge_live(path, run, venue, out=tmp_path / "live.json")
    # Of AAA the last three; BBB, which has a hole, has bars beyond its last answer.
    assert (found["n"], found["n_known"]) == (400, 397)


def test_a_single_bundle_is_judged_alone_and_writes_nothing(run, venue, tmp_path):
    bars = {"AAA": _whole()["AAA"]}
    path = _predicted(run, bars, tmp_path / "p.csv", kind="seed0")
    before = sorted(run.rglob("*"))
    found = study.judge_live(path, run / "models" / "AAA_fold1_seed0", venue)
    assert found["series"] == ["AAA"]
    assert found["verdict"]["fit"] is False
    assert sorted(run.rglob("*")) == before


def test_a_bundle_of_before_there_were_references_says_what_is_missing(run, venue, tmp_path):
    bundle = tmp_path / "AAA_fold1_seed0"
    shutil.copytree(run / "models" / "AAA_fold1_seed0", bundle)
    described = json.loads((bundle / "bundle.json").read_text())
    for key in ("tested", "expires_at"):
        del described[key]
    described["label"] = {key: described["label"][key] for key in ("kind", "limits")}
    old = registry.read_bundle(bundle)
    registry.write_bundle(bundle, described, old.weights)
    assert registry.read_bundle(bundle).reference is None
    path = _predicted(run, {"AAA": _whole()["AAA"]}, tmp_path / "p.csv", kind="seed0")
    found = study.judge_live(path, bundle, venue, out=tmp_path / "live.json")
    assert found["stands"] is None
    assert "no reference to compare with, no expiry, no whole label rule" in found["sentence"]


def test_what_cannot_be_compared_is_refused(run, venue, tmp_path):
    path = _predicted(run, {"AAA": _whole()["AAA"]}, tmp_path / "p.csv")
    with pytest.raises(RunError, match="no run and no bundle here"):
        study.judge_live(path, tmp_path, venue)
    with pytest.raises(BarsError, match="no such folder"):
        study.judge_live(path, run, tmp_path / "nowhere")
    table = pl.read_csv(path)
    for changed, words in (
        (table.with_columns(symbol=pl.lit("CCC")), "no bundle predicts CCC"),
        (table.drop("p_hold").with_columns(p_up=1 - pl.col("p_down")), "another model's"),
        (table.with_columns(p_up=pl.lit(0.9)), "sum to"),
        (pl.concat([table, table]), "duplicate rows"),
        (table.drop("symbol"), "no column 'symbol'"),
    ):
        changed.write_csv(tmp_path / "changed.csv")
        with pytest.raises(PredictionsError, match=words):
            study.judge_live(tmp_path / "changed.csv", run, venue)
    assert not (run / "live.json").exists()


def test_the_reference_of_inputs_is_that_of_the_training_rows(run):
    bundle = registry.read_bundle(run / "models" / "BBB_fold1_seed1")
    told = bundle.reference["series"]["BBB"]["inputs"]
    assert list(told) == bundle.description["features"]
    bars = _whole()["BBB"]
    table = features.build(bars, bundle.description["feature_set"])
    first, last = (parse_utc_ms(text) for text in bundle.description["trained"])
    name, column = list(told.items())[3]
    rows = (bars.timestamp >= first) & (bars.timestamp <= last) & table.valid
    values = table.values[rows, list(table.columns).index(name)]
    slow = [0] * len(column["counts"])
    for value in values:
        slow[sum(float(value) >= edge for edge in column["edges"])] += 1
    # Rows of a window that reaches over the hole, or without an outcome, taught nothing.
    assert sum(slow) - 80 <= column["n"] <= sum(slow)
    assert np.abs(np.array(slow) - column["counts"]).sum() <= 80
    assert max(column["counts"]) < 1.2 * column["n"] / 20
