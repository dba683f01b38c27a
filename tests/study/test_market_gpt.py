"""MarketGPT from bars to a verdict: its files, its honesty, its rows, and how it goes on."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest

from drawn import random_bars
from study.token_studies import UNIVERSE, token_study, two_symbols, universe_file
from walkforge import study, training
from walkforge.base import FoldError, Silent, StudyError, TrainingError
from walkforge.features import read_tokenizer
from walkforge.folds import SLICES
from walkforge.market import BarStore
from walkforge.models import MarketGpt
from walkforge.study._gpt_learn import GptLearning
from walkforge.study._gpt_paths import Paths
from walkforge.study._prepare import prepare
from walkforge.study._token_market import token_market

FILES = [
    "config.json",
    "tokenizer.json",
    "tokenizer.safetensors",
    "asset_info.json",
    "best_model.safetensors",
    "bundle.json",
    "reference.json",
    "manifest.json",
    "training_log.json",
    "test_results.json",
]


def _json(path):
    return json.loads(path.read_text())


def _log(folder):
    lines = (folder / "training_log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    plan = token_study(f"data.universe={universe_file(place)}", "seeds=[0, 1]")
    return study.run(plan, place / "market", bars=two_symbols())


def test_a_run_leaves_models_tokens_measures_and_a_verdict(run):
    for fold in (0, 1):
        for seed in (0, 1):
            place = run / "models" / f"market_fold{fold}_seed{seed}"
            assert sorted(path.name for path in place.iterdir()) == sorted(FILES)
            log, results = _json(place / "training_log.json"), _json(place / "test_results.json")
            losses = [epoch["validation_loss"] for epoch in log["epochs"]]
            assert log["best_val_loss"] == min(losses) == losses[log["best_epoch"] - 1]
            assert 0 <= results["best_constant_accuracy"] < 1
            assert results["test_accuracy"] >= 0
            digest = read_tokenizer(place).digest
            assert _json(place / "config.json")["tokenizer"]["digest"] == digest
    assert _json(run / "verdict.json")["gates"]
    assert [one["fold"] for one in _json(run / "tokenizer_report.json")["folds"]] == [0, 1]
    assert not (run / "checkpoints").exists()
    assert [one["epoch"] for one in _log(run)] == list(range(1, 9))
    assert "Forecasts" in (run / "report.html").read_text()


def test_tokens_are_measured_beside_markov_models_and_the_best_constant(run):
    tokens = pl.read_parquet(run / "tokens.parquet")
    found = _json(run / "metrics.json")["tokens"]
    assert list(found["baselines"]) == ["unigram", "markov_1", "markov_2", "markov_3"]
    pooled = found["model"]["pooled"]
    assert pooled["n"] == len(tokens)
    assert pooled["log_loss"]["value"] == pytest.approx(tokens["loss"].mean(), rel=1e-6)
    assert pooled["best_constant"]["value"] == pytest.approx(tokens["constant_hit"].mean())
    assert set(found["model"]["by_category"]) == {"coins", "other"}
    one = tokens.filter((pl.col("fold") == 1) & (pl.col("seed") == 1))
    results = _json(run / "models" / "market_fold1_seed1" / "test_results.json")
    assert results["n_tokens"] == len(one)
    assert results["test_accuracy"] == one["hit"].mean()
    assert results["best_constant_accuracy"] == one["constant_hit"].mean()


def test_the_model_and_its_baselines_speak_of_the_same_rows(run):
    key = ["timestamp", "symbol", "fold"]
    for name in ("predictions", "calibration_predictions", "forecasts"):
        rows = pl.read_parquet(run / f"{name}.parquet")
        beside = pl.read_parquet(run / f"baseline_{name}.parquet")
        own = rows.filter(pl.col("seed") == 0).select(key).sort(key)
        assert len(own) > 0
        for seed in rows["seed"].unique():
            assert rows.filter(pl.col("seed") == seed).select(key).sort(key).equals(own), name
        for baseline in beside["baseline"].unique():
            theirs = beside.filter(pl.col("baseline") == baseline).select(key).sort(key)
            assert theirs.equals(own), (name, baseline)


def test_assets_of_a_universe_without_bars_are_listed(run, tmp_path):
    assert _json(run / "run.json")["missing_assets"] == ["ZZZ", "GONE"]
    assets = _json(run / "models" / "market_fold0_seed0" / "asset_info.json")
    assert assets["categories"] == ["coins", "other"]
    told = [(one["series"], one["asset"], one["category"]) for one in assets["assets"]]
    assert told == [("AAA", 0, "coins"), ("BBB", 1, "other")]


@pytest.mark.parametrize("above", [False, True])
def test_a_universe_is_read_from_one_venue_or_from_the_folder_of_all(above, tmp_path):
    bars = random_bars(60, symbol="AAA")
    store = BarStore(tmp_path / "bars")
    for one in (bars, random_bars(60, symbol="LONELY")):
        store.write(one)
    folder = tmp_path / "bars" if above else tmp_path / "bars" / bars.venue
    noted = []

    class Noting(Silent):
        def note(self, text):
            noted.append(text)

    universe = universe_file(tmp_path)
    universe.write_text(UNIVERSE.replace("drawn", bars.venue))
    plan = token_study(f"data.universe={universe}", f"data.bars={folder}")
    assert list(study.read_bars(plan)) == ["AAA"]
    with pytest.raises(FoldError):  # sixty bars are no study
        study.run(plan, tmp_path / "run", watcher=Noting())
    assert any("3 assets" in text and "ZZZ, BBB, GONE" in text for text in noted)


def test_decisions_are_thinned_for_all_alike():
    every, half = (
        prepare(two_symbols(), token_study(f"sampling.every_bars={n}")).parts for n in (1, 2)
    )
    for one, thin in zip(every, half, strict=True):
        for name in ("calibration", "test"):
            np.testing.assert_array_equal(getattr(thin.rows, name), getattr(one.rows, name)[::2])
        np.testing.assert_array_equal(thin.rows.train, one.rows.train)


def test_every_bar_belongs_to_the_slice_in_which_it_closes():
    plan, bars = token_study(), two_symbols()
    prepared = prepare(bars, plan)
    fold = prepared.parts[0].fold
    market = token_market(plan, prepared, fold)
    market.tokenizer.require_range((int(bars["AAA"].closes_at[0]), fold.train.to_ms))
    for name, one in bars.items():
        piece = market.table.piece[market.rows_of(name)]
        for number, slice_name in enumerate(SLICES):
            closes, limits = one.closes_at[piece == number], getattr(fold, slice_name)
            embargo_ms = 0 if slice_name == "train" else 5 * 60_000
            begins_ms = 0 if slice_name == "train" else limits.from_ms
            assert closes.min() == max(begins_ms + embargo_ms, one.closes_at[0])
            assert closes.max() < limits.to_ms


def test_a_rolling_training_slice_is_where_the_tokenizer_learns():
    plan = token_study("folds.train=300")
    prepared = prepare(two_symbols(), plan)
    fold = prepared.parts[-1].fold
    market = token_market(plan, prepared, fold)
    market.tokenizer.require_range((fold.train.from_ms, fold.train.to_ms))


def _changed_after(bars, moment_ms):
    """Return bars with every price and volume that is known from a moment on replaced by noise."""
    random = np.random.default_rng(5)
    changed = bars.closes_at >= moment_ms
    n = int(changed.sum())
    close = 777.0 * np.exp(np.cumsum(random.normal(0, 0.05, n)))
    noise = {
        "open": close * np.exp(random.normal(0, 0.02, n)),
        "close": close,
        "high": close * 1.2,
        "low": close / 1.2,
        "volume": random.lognormal(3, 2, n),
    }
    columns = {name: getattr(bars, name).copy() for name in noise}
    for name, values in noise.items():
        columns[name][changed] = values
    return dataclasses.replace(bars, **columns)


def _poisoned(bars, plan, slice_name):
    moment_ms = getattr(prepare(bars, plan).parts[0].fold, slice_name).to_ms
    return {name: _changed_after(one, moment_ms) for name, one in bars.items()}


def _member(bars, plan, place):
    return GptLearning(plan, prepare(bars, plan), Silent()).run(place).models[0]


def _same_weights(one, other):
    pairs = zip(one.trained.state.items(), other.trained.state.values(), strict=True)
    return all(mine.equal(theirs) for (_, mine), theirs in pairs)


def test_nothing_is_learned_from_bars_after_training(tmp_path):
    """With one epoch, validation has nothing to choose."""
    plan, bars = token_study("folds.count=1", "training.epochs=1"), two_symbols()
    clean = _member(bars, plan, tmp_path / "clean")
    dirty = _member(_poisoned(bars, plan, "train"), plan, tmp_path / "dirty")
    assert clean.market.tokenizer.digest == dirty.market.tokenizer.digest
    assert _same_weights(clean, dirty)
    assert clean.losses.losses_K.mean() != dirty.losses.losses_K.mean(), "noise would be noticed"
    first_ms = int(bars["AAA"].closes_at[0])
    noise = {name: _changed_after(one, first_ms + 60_000 * 300) for name, one in bars.items()}
    early = token_market(plan, prepare(noise, plan), clean.market.fold)
    assert early.tokenizer.digest != clean.market.tokenizer.digest


def test_nothing_is_calibrated_on_bars_after_calibration(tmp_path):
    plan, bars = token_study("folds.count=1"), two_symbols()
    clean = _member(bars, plan, tmp_path / "clean")
    for slice_name, same in (("calibration", True), ("validation", False)):
        poison = _poisoned(bars, plan, slice_name)
        dirty = _member(poison, plan, tmp_path / slice_name)
        assert _same_weights(clean, dirty)
        learned = [
            [(one.reader.classes.as_dict(), one.calibrator.as_dict()) for one in member.parts]
            for member in (clean, dirty)
        ]
        assert (learned[0] == learned[1]) is same


def test_paths_know_nothing_of_the_bars_after_their_decision(tmp_path):
    plan, bars = token_study("folds.count=1"), two_symbols()
    prepared = prepare(bars, plan)
    member = _member(bars, plan, tmp_path)
    model = MarketGpt(member.shape).eval()
    model.load_state_dict(member.trained.state)
    part = prepared.parts[0]
    row = int(part.rows.test[40])
    dirty_bars = {
        n: _changed_after(b, int(bars["AAA"].closes_at[row + 1])) for n, b in bars.items()
    }
    dirty = prepare(dirty_bars, plan)
    both = [
        Paths(plan, token_market(plan, world, part.fold), model).forecast(
            "AAA", world.series["AAA"], np.array([row]), seed=0
        )
        for world in (prepared, dirty)
    ]
    np.testing.assert_array_equal(both[0], both[1])


class CutOffError(Exception):
    pass


class Cutting(Silent):
    """Fails at an epoch's report, or when the paths of a later member are to be drawn."""

    def __init__(self, epoch, paths=None):
        self.at, self.paths, self.drawn = epoch, paths, 0

    def epoch(self, report):
        if report["epoch"] == self.at:
            raise CutOffError

    def item(self, done, total, what):
        self.drawn += what.startswith("paths")
        if self.drawn == self.paths:
            raise CutOffError


@pytest.mark.parametrize("cut", [Cutting(4), Cutting(None, paths=3)])
def test_a_run_that_was_cut_off_goes_on_to_the_same_numbers(cut, run, tmp_path, monkeypatch):
    plan = study.load(run / "study.yaml")
    place = tmp_path / "cut"
    with pytest.raises(CutOffError):
        study.run(plan, place, bars=two_symbols(), watcher=cut)
    assert not (place / "predictions.parquet").exists()
    monkeypatch.setattr("walkforge.study._run.read_bars", lambda *_: two_symbols())
    drawn, again = [], Paths.forecast

    def counted(self, *args, **kwargs):
        drawn.append((self.market.fold.index, kwargs["seed"]))
        return again(self, *args, **kwargs)

    monkeypatch.setattr(Paths, "forecast", counted)
    study.resume(place)
    # All are trained before any draws; what was drawn before the cut is not drawn again.
    before = set() if cut.paths is None else {(0, 0)}
    assert set(drawn) == {(0, 0), (0, 1), (1, 0), (1, 1)} - before
    for name in ("predictions", "forecasts", "tokens", "baseline_predictions"):
        file = f"{name}.parquet"
        assert pl.read_parquet(place / file).equals(pl.read_parquet(run / file)), name
    cut_log, whole_log = ([one["members"] for one in _log(folder)] for folder in (place, run))
    assert cut_log == whole_log
    for folder in (run / "models").glob("market_*_seed*"):
        weights = "best_model.safetensors"
        assert (place / "models" / folder.name / weights).read_bytes() == (
            folder / weights
        ).read_bytes()


def test_a_series_that_ends_before_the_test_teaches_and_is_not_judged(tmp_path):
    bars = two_symbols() | {"CCC": random_bars(1400, seed=3, symbol="CCC").take(slice(0, 700))}
    plan = token_study("folds.count=1")
    prepared = prepare(bars, plan)
    assert list(prepared.left_out) == ["CCC"]
    assert {part.series for part in prepared.parts} == {"AAA", "BBB"}
    market = token_market(plan, prepared, prepared.parts[0].fold)
    tokens = market.table.piece[market.rows_of("CCC")]
    assert (tokens == 0).all()
    assert len(tokens) == 700
    place = study.run(plan, tmp_path / "run", bars=bars)
    assert pl.read_parquet(place / "predictions.parquet")["symbol"].unique().len() == 2
    told = _json(place / "models" / "market_fold0_seed0" / "asset_info.json")["assets"]
    assert [one["judged"] for one in told] == [True, True, False]
    assert list(_json(place / "run.json")["left_out"]) == ["CCC"]
    with pytest.raises(FoldError, match="CCC"):
        prepare(bars, token_study("data.symbols=[AAA, BBB, CCC]"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.d_model=15", r"d_model is 15; expected a multiple of 4"),
        ("model.widths=[3]", r"unknown key 'model\.widths'"),
        ("model.context=2", r"labels\.horizon_bars is 3, model\.context 2"),
        ("training.batch_size=3", r"unknown key 'training\.batch_size' \(did you mean 'batch_w"),
        ("training.weights=x", r"training\.weights is 'x'"),
        ("tokenizer.kind=words", r"unknown kind of tokenizer 'words'"),
        ("tokenizer.vocabulary=1", r"tokenizer\.vocabulary is 1"),
        ("sampling.paths=1", r"sampling\.paths is 1; expected at least 2"),
        ("sampling.every_bars=0", r"sampling\.every_bars is 0"),
        ("sampling.temperature=0", r"sampling\.temperature is 0"),
        ("folds.calendar=own", r"folds\.calendar is own, but one MarketGPT"),
        ("labels.kind=triple_barrier", r"labels\.kind is triple_barrier"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(override, message):
    with pytest.raises(StudyError, match=message) as found:
        token_study(override)
    assert "\n" not in str(found.value)


def test_a_search_is_refused_before_anything_is_done(tmp_path):
    with pytest.raises(StudyError, match="cannot share a pack"):
        study.tune(token_study(), tmp_path / "tuned", bars=two_symbols())
    assert not (tmp_path / "tuned").exists()


def test_other_models_know_nothing_of_tokens():
    with pytest.raises(StudyError, match="unknown key 'tokenizer'"):
        study.from_plain({"tokenizer": {}}, "test")


def test_a_study_of_tokens_comes_back_from_its_own_yaml(tmp_path):
    plan = token_study("training.gradient_checkpointing=true")
    assert isinstance(plan.training, training.GptPlan)
    assert plan.training.gradient_checkpointing
    path = tmp_path / "mine.yaml"
    path.write_text(study.as_yaml(plan))
    assert study.load(path) == plan


def test_a_training_that_never_was_finite_ends_in_one_line(tmp_path):
    plan = token_study("folds.count=1", "training.learning_rate=1e30", "training.warmup_steps=0")
    with pytest.raises(TrainingError, match="fold 0 and seed 0 never had a finite"):
        study.run(plan, tmp_path / "hot", bars=two_symbols())
