"""Runs of MarketGPT that go on from a finished one."""

import dataclasses
import json
import shutil

import polars as pl
import pytest

from drawn import random_bars
from study.token_studies import token_study, two_symbols, universe_file
from walkforge import gates, study
from walkforge.base import FoldError, RunError, Silent, StudyError, parse_utc_ms
from walkforge.features import read_tokenizer
from walkforge.gates._judge import _provenances
from walkforge.registry import read_bundle
from walkforge.study._fine_tune import BaseRun, read_base
from walkforge.study._gpt_learn import GptLearning
from walkforge.study._prepare import prepare

LATER = ["folds.kind=walk_forward", "folds.count=3", "folds.validation=40", "folds.calibration=40",
         "folds.test=40"]  # fmt: skip


def _read(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    plan = token_study(
        f"data.universe={universe_file(place)}", "folds.kind=ratio", "model.decides=direction_head"
    )
    return study.run(plan, place / "base", bars=two_symbols())


def _tuned(base, place, *overrides, **how):
    plan = study.fine_tune_study(base, overrides=list(overrides), **how)
    return study.run(plan, place / "tuned", bars=two_symbols())


@pytest.mark.parametrize("rank", [None, 2])
def test_one_category_goes_on_from_the_weights_and_the_tokens(base, tmp_path, rank):
    run = _tuned(base, tmp_path, categories=["other"], lora_rank=rank)
    before, after = (one / "models" / "market_fold0_seed0" for one in (base, run))
    assert read_tokenizer(after).digest == read_tokenizer(before).digest
    assert _read(run / "folds.json") == [
        one for one in _read(base / "folds.json") if one["series"] == "BBB"
    ]
    assert pl.read_parquet(run / "predictions.parquet")["symbol"].unique().to_list() == ["BBB"]
    shapes = [_read(one / "config.json")["shape"] for one in (before, after)]
    assert shapes[0] == shapes[1], "the model keeps a row for every asset that it knew"
    ours, theirs = (read_bundle(one).weights for one in (after, before))
    assert ours.keys() == theirs.keys()
    moved = {name for name in ours if not ours[name].equal(theirs[name])}
    if rank is None:
        assert "tokens.weight" in moved
    else:
        body = {name for name in moved if not name.startswith("direction")}
        assert body
        assert all("attention." in name or "feed_forward." in name for name in body)
    assert _read(run / "verdict.json")["gates"]


def test_no_step_leaves_the_model_what_it_was(base):
    plan = study.fine_tune_study(base, overrides=["training.learning_rate=0.0"])
    prepared = prepare(two_symbols(), plan)
    learning = GptLearning(plan, prepared, Silent())
    trained = learning.train(base / "nowhere")[0]
    known = read_bundle(base / "models" / "market_fold0_seed0").weights
    assert all(one.equal(known[name]) for name, one in trained.trained.state.items())


def test_walk_forward_windows_begin_where_the_model_knows_nothing(base, tmp_path):
    """Early windows, whose validation or calibration the model has learned from, are left out."""
    known = {one["fold"]: one for one in _read(base / "folds.json")}[0]
    run = _tuned(base, tmp_path, *LATER, "folds.count=12")
    found = _read(run / "folds.json")
    assert 0 < len({one["fold"] for one in found}) < 12
    for one in found:
        moments = [parse_utc_ms(one[name][0]) for name in ("validation", "calibration")]
        assert moments[0] >= parse_utc_ms(known["train"][1])
        assert moments[1] >= parse_utc_ms(known["validation"][1])
    tests = sorted({tuple(one["test"]) for one in found})
    assert len(tests) == len({one["fold"] for one in found})


def test_each_fold_begins_with_the_newest_model_that_it_may(base):
    plan = study.fine_tune_study(base)
    run = BaseRun.read(base)
    first = run.folds[0]
    span = first.test.to_ms - first.train.from_ms
    shifted = [
        dataclasses.replace(
            first,
            index=k,
            **{
                name: dataclasses.replace(
                    getattr(first, name),
                    from_ms=getattr(first, name).from_ms + k * span,
                    to_ms=getattr(first, name).to_ms + k * span,
                )
                for name in ("train", "validation", "calibration", "test")
            },
        )
        for k in (0, 1)
    ]
    both = dataclasses.replace(run, folds=[shifted[0], shifted[0]])
    assert both.model(shifted[1], plan.seeds[0]).fold == 0
    late = dataclasses.replace(run, folds=[shifted[1]])
    with pytest.raises(FoldError, match="bring later bars or cut the folds later"):
        late.model(shifted[0], 0)


class CutOffError(Exception):
    pass


class Cutting(Silent):
    """Fails at the first epoch's report."""

    def epoch(self, report):
        raise CutOffError


def test_a_run_that_was_cut_off_goes_on_from_the_same_models_alone(base, tmp_path, monkeypatch):
    monkeypatch.setattr("walkforge.study._run.read_bars", lambda *_: two_symbols())
    copy, run = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(base, copy)
    plan = study.fine_tune_study(copy, categories=["other"])
    with pytest.raises(CutOffError):
        study.run(plan, run, bars=two_symbols(), watcher=Cutting())
    known = (copy / "models" / "market_fold0_seed0" / "manifest.json").read_bytes()
    (copy / "models" / "market_fold0_seed0" / "manifest.json").write_bytes(known + b" ")
    with pytest.raises(RunError, match="have changed since it began"):
        study.resume(run)
    (copy / "models" / "market_fold0_seed0" / "manifest.json").write_bytes(known)
    study.resume(run)
    whole = study.run(plan, tmp_path / "whole", bars=two_symbols())
    for name in ("predictions", "tokens"):
        cut_off, at_once = (pl.read_parquet(one / f"{name}.parquet") for one in (run, whole))
        assert cut_off.equals(at_once), name


def test_what_cannot_go_on_is_refused_in_a_line(base, tmp_path):
    for override, words in (
        ("model.d_model=32", "model.d_model is 32, but 16 in"),
        ("tokenizer.vocabulary=16", "tokenizer.vocabulary is 16, but 32"),
        ("seeds=[7]", "seeds has 7, but .* has models of 0 only"),
        ("fine_tune.rank=0", "fine_tune.rank is 0"),
        ("data.timeframe=5m", "data.timeframe is 5m"),
    ):
        with pytest.raises(StudyError, match=words):
            study.fine_tune_study(base, overrides=[override])
    with pytest.raises(StudyError, match=r"did you mean 'other'.*knows coins, other"):
        prepare(two_symbols(), study.fine_tune_study(base, categories=["othr"]))
    with pytest.raises(StudyError, match="fine_tune has no run"):
        token_study("fine_tune.method=lora")
    with pytest.raises(RunError, match="no run here"):
        study.fine_tune_study(tmp_path)


def test_a_series_that_the_model_never_met_is_said_and_left_out(base):
    told = []
    plan = study.fine_tune_study(base)
    bars = {**two_symbols(), "NEW": random_bars(1400, seed=5, symbol="NEW")}
    found = read_base(plan).chosen(plan.data, bars, told.append)
    assert set(found) == {"AAA", "BBB"}
    assert told == [f"warning: not known to {base}: NEW"]
    told.clear()
    only = study.fine_tune_study(base, categories=["other"])
    assert set(read_base(only).chosen(only.data, bars, told.append)) == {"BBB"}
    assert told == [], "nobody asked for the newcomer's category"


def test_bars_that_have_grown_are_cut_anew(base):
    told, plan = [], study.fine_tune_study(base)
    prepare(two_symbols(), plan, note=told.append)
    assert f"folds as in {base}" in told
    longer = {
        "AAA": random_bars(2600, seed=1, symbol="AAA"),
        "BBB": random_bars(2600, seed=2, symbol="BBB", holes_at=(450,)).take(slice(100, None)),
    }
    told.clear()
    found = prepare(longer, plan, note=told.append)
    assert any("cut anew" in text for text in told)
    own = BaseRun.read(base).folds[0]
    fold = found.parts[0].fold
    assert fold.test.to_ms > own.test.to_ms
    assert fold.calibration.from_ms >= own.validation.to_ms


def test_what_began_with_simulated_bars_is_never_promoted(base, tmp_path):
    """The bars of the base were made; those that it is led on with are called an exchange's."""
    real = {
        name: dataclasses.replace(one, provenance="exchange") for name, one in two_symbols().items()
    }
    plan = study.fine_tune_study(base)
    run = study.run(plan, tmp_path / "run", bars=real)
    assert _read(run / "run.json")["base"]["provenances"] == ["simulated"]
    seen = []
    judged = gates.judge

    def watched(**kwargs):
        seen.append(kwargs["data_info"])
        return judged(**kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("walkforge.gates.judge", watched)
        study.judge(run)
    assert _provenances(seen[0]) == {"exchange", "simulated"}
    again = study.fine_tune_study(run)
    assert read_base(again).as_plain()["provenances"] == ["exchange", "simulated"]


def test_a_bundle_says_what_it_began_with_and_all_that_taught_it(base, tmp_path):
    run = _tuned(base, tmp_path, categories=["other"])
    before, after = (
        read_bundle(one / "models" / "market_fold0_seed0").description for one in (base, run)
    )
    assert before["begins_with"] is None
    assert after["begins_with"]["bundle"] == str(base / "models" / "market_fold0_seed0")
    assert after["trained"][0] == before["trained"][0], "AAA, which began earlier, taught it too"


def test_every_try_counts_and_the_rate_falls_once(base):
    once = study.fine_tune_study(base)
    assert once.judge.n_trials == 2
    assert once.training.learning_rate == pytest.approx(0.001)
    assert study.fine_tune_study(base, lora_rank=2).training.learning_rate == 0.01


def test_a_second_leading_on_keeps_the_rate(base, tmp_path):
    run = _tuned(base, tmp_path)
    assert study.fine_tune_study(run).training.learning_rate == pytest.approx(0.001)
    assert study.fine_tune_study(run).judge.n_trials == 3


def test_a_base_that_has_gone_is_named(base, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    monkeypatch.chdir(tmp_path)
    plan = token_study("fine_tune.run=copy", "folds.kind=ratio", "model.decides=direction_head")
    assert plan.fine_tune.run == str(copy), "wherever it is resumed from"
    shutil.rmtree(copy)
    with pytest.raises(StudyError, match="the run to go on from is not there"):
        read_base(plan)


def test_only_a_finished_run_of_marketgpt_is_led_on(base, tmp_path):
    part = tmp_path / "part"
    part.mkdir()
    (part / "study.yaml").write_text((base / "study.yaml").read_text())
    with pytest.raises(RunError, match="unfinished; continue it"):
        study.fine_tune_study(part)
    (part / "ensemble.json").write_text("{}")
    with pytest.raises(RunError, match="an ensemble; name one of the runs"):
        study.fine_tune_study(part)
    (part / "ensemble.json").unlink()
    (part / "study.yaml").write_text("model: {name: mlp}")
    with pytest.raises(RunError, match="its model is mlp; only marketgpt is fine-tuned"):
        study.fine_tune_study(part)
