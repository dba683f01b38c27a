"""The bundles of a MarketGPT's run say what the run said, alone, by seeds and with other models."""

import json

import numpy as np
import polars as pl
import pytest

from drawn import random_bars
from going_on import going_on, write_venue
from study.token_studies import SETTINGS, token_study, two_symbols, universe_file
from walkforge import runtime, study
from walkforge.base import BundleError
from walkforge.features import VECTOR
from walkforge.registry import read_bundle
from walkforge.study._gpt_paths import Paths
from walkforge.study._prepare import prepare
from walkforge.study._token_market import token_market

P = ["p_down", "p_hold", "p_up"]
LOGITS = ["logit_down", "logit_hold", "logit_up"]
OTHER = [one for one in SETTINGS if one.split("=")[0] not in ("model", "training")]
OTHER = [one for one in OTHER if not one.startswith(("tokenizer", "sampling"))]
BEGIN = ["folds.count=1", "training.epochs=1"]


def _json(path):
    return json.loads(path.read_text())


def _bars():
    """Return two symbols and a third that ends before the test."""
    gone = random_bars(1400, seed=3, symbol="CCC").take(slice(0, 700))
    return two_symbols() | {"CCC": gone}


def _twins():
    """Return two symbols of one span, whose folds are those of every family."""
    return {name: random_bars(900, seed=k, symbol=name) for k, name in enumerate(["AAA", "BBB"])}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plan = token_study(*BEGIN, "seeds=[0, 1]")
    return study.run(plan, tmp_path_factory.mktemp("runs") / "market", bars=_bars())


def _own(run, name, symbol, seed):
    table = pl.read_parquet(run / f"{name}.parquet")
    return table.filter((pl.col("symbol") == symbol) & (pl.col("seed") == seed))


def _assert_told(rows, told, names=None):
    """Every row of the run is told, the same but for rounding.

    Rounding of a logit turns a token where its number comes next to the border between two: of
    24 draws of a row here that is less than one row in five hundred.
    """
    both = rows.join(told, on="timestamp", suffix="_told")
    assert len(both) == len(rows) > 50
    names = names or {name: f"{name}_told" for name in (*P, *LOGITS)}
    found, expected = both.select(names.values()).to_numpy(), both.select(list(names)).to_numpy()
    same = np.isclose(found, expected, rtol=1e-5, atol=1e-5).all(axis=1)
    assert same.mean() >= 0.97


@pytest.mark.parametrize("symbol", ["AAA", "BBB"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_bundle_says_what_its_run_said_of_every_series(run, symbol, seed):
    bundle, bars = run / "models" / f"market_fold0_seed{seed}", _bars()[symbol]
    told = runtime.predict(bundle, bars)
    for name in ("predictions", "calibration_predictions"):
        _assert_told(_own(run, name, symbol, seed), told)
    forecasts = _own(run, "forecasts", symbol, seed).filter(pl.col("step") == 2)
    prices = {"f_close": "close_2", "f_high": "high_2", "f_band_low": "band_low_2",
              "q_95": "q_95_2", "f_volatility": "volatility_told"}  # fmt: skip
    _assert_told(forecasts, told, prices)


def test_a_bundle_says_of_one_bar_what_it_says_among_many(run):
    bundle, bars = run / "models" / "market_fold0_seed0", _bars()["AAA"]
    many = runtime.predict(bundle, bars)
    for back in (0, 100, 1000):
        one = runtime.predict(bundle, bars.take(slice(0, len(bars) - back)), last=1)
        same = many.join(one, on="timestamp", suffix="_alone")
        assert len(same) == 1
        alone = same.select(f"{name}_alone" for name in P).to_numpy()
        np.testing.assert_allclose(alone, same.select(P).to_numpy(), rtol=1e-5, atol=1e-5)


def test_paths_of_a_decision_are_the_same_alone_and_beside_any_others(run):
    plan, bars = study.load(run / "study.yaml"), _bars()
    prepared = prepare(bars, plan)
    market = token_market(plan, prepared, prepared.parts[0].fold)
    model = runtime.Predictor(read_bundle(run / "models" / "market_fold0_seed0")).models[0].model
    # In float64, where no rounding turns a token.
    paths, series = Paths(plan, market, model.double()), prepared.series["BBB"]
    rows = prepared.parts[1].rows.test
    every = paths.forecast("BBB", series, rows, seed=0)
    for place in (0, 17, len(rows) - 1):
        alone = paths.forecast("BBB", series, rows[place : place + 1], seed=0)
        np.testing.assert_allclose(alone[0], every[place], rtol=1e-6, atol=1e-6)
    backwards = paths.forecast("BBB", series, rows[::-1], seed=0)[::-1]
    np.testing.assert_allclose(backwards, every, rtol=1e-6, atol=1e-6)
    other = paths.forecast("BBB", series, rows, seed=1)
    assert (np.abs(other - every).max(axis=1) > 1e-3).all()


def test_a_bundle_tells_every_series_that_it_knows(run):
    read = read_bundle(run / "models" / "market_fold0_seed1")
    described = read.description
    assert described["symbols"] == ["AAA", "BBB"]
    assert described["seed"] == 1
    told = {name: (one["asset"], one["judged"]) for name, one in described["series"].items()}
    assert told == {"AAA": (0, True), "BBB": (1, True), "CCC": (2, False)}
    assert (described["timeframe"], described["calendar"]) == ("1m", "24/7")
    fold = _json(run / "folds.json")[0]
    start, end = described["trained"]
    assert start < end < fold["train"][1]
    assert not (read.folder / "calibration.json").exists()
    files = {path.name for path in read.folder.iterdir()}
    assert set(_json(read.folder / "manifest.json")["sha256"]) == files - {"manifest.json"}


def test_seeds_lie_together_as_a_bundle_that_holds_their_files_once(run):
    bundle = run / "models" / "market_fold0_ensemble"
    read = read_bundle(bundle)
    assert [weight for weight, _ in read.members] == [0.5, 0.5]
    told = runtime.predict(bundle, _bars()["BBB"])
    seeds = [_own(run, "predictions", "BBB", seed) for seed in (0, 1)]
    mean = np.mean([one.select(P).to_numpy() for one in seeds], axis=0)
    rows = seeds[0].select("timestamp", *(pl.Series(n, mean[:, k]) for k, n in enumerate(P)))
    _assert_told(rows, told, {name: f"{name}_told" for name in P})
    weights = "best_model.safetensors"
    first = run / "models" / "market_fold0_seed0" / weights
    assert first.samefile(bundle / "members" / "market_fold0_seed0" / weights)


def test_a_direction_heads_bundle_says_what_its_run_said(tmp_path):
    plan = token_study(*BEGIN, "model.decides=direction_head")
    run = study.run(plan, tmp_path / "head", bars=_twins())
    bundle = run / "models" / "market_fold0_seed0"
    for symbol, bars in _twins().items():
        rows, told = _own(run, "predictions", symbol, 0), runtime.predict(bundle, bars)
        _assert_told(rows, told)
        assert told.columns[-1] == "p_up"
    assert read_bundle(bundle).description["sampling"] is None


# With other families.


def _other_study(*more):
    plain = [*OTHER, *BEGIN, "training.batch_size=64", "features.window_bars=4", *more]
    return study.from_plain(study.plain_of_overrides(plain), "test")


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """Return runs of MarketGPT with two seeds, of another forecaster and of an mlp."""
    place, bars = tmp_path_factory.mktemp("runs"), _twins()
    plans = {
        "market": token_study(*BEGIN, "seeds=[0, 1]"),
        "bilstm": _other_study("model={name: bilstm, encoder: [4], decoder_hidden: 3}"),
        "mlp": _other_study("model={name: mlp, widths: [6]}"),
    }
    return {name: study.run(plan, place / name, bars=bars) for name, plan in plans.items()}


@pytest.mark.parametrize("order", [("market", "bilstm", "mlp"), ("mlp", "market")])
def test_it_is_joined_with_other_families_in_any_order(families, tmp_path, order):
    runs = [families[name] for name in order]
    folder, verdict = study.ensemble(
        runs, out=tmp_path / "joined", with_lightgbm=False, bars=_twins()
    )
    assert verdict["gates"]
    predictions = pl.read_parquet(folder / "predictions.parquet")
    forecasts = pl.read_parquet(folder / "forecasts.parquet")
    for symbol, bars in _twins().items():
        bundle = folder / "models" / f"{symbol}_fold0_ensemble"
        read = read_bundle(bundle)
        assert read.description["symbols"] == [symbol]
        names = [member.description["model"]["name"] for _, member in read.members]
        assert sorted(set(names)) == sorted({"marketgpt", *order} - {"market"})
        assert names.count("marketgpt") == 2, "its seeds are taken apart"
        told = runtime.predict(bundle, bars)
        rows = predictions.filter(pl.col("symbol") == symbol)
        _assert_told(rows, told)
        own = forecasts.filter((pl.col("symbol") == symbol) & (pl.col("step") == 1))
        _assert_told(own, told, {"f_close": "close_1"})
    first, second = (
        folder / "models" / f"{symbol}_fold0_ensemble" / "members" / "market_fold0_seed0"
        for symbol in ("AAA", "BBB")
    )
    weights = "best_model.safetensors"
    assert (first / weights).samefile(second / weights), "400 MB lie there once"


def test_a_run_that_went_on_keeps_the_numbers_of_every_asset_it_knew(tmp_path):
    universe = f"data.universe={universe_file(tmp_path)}"
    base = study.run(
        token_study(*BEGIN, universe, "folds.kind=ratio"), tmp_path / "base", bars=_twins()
    )
    plan = study.fine_tune_study(base, categories=["other"], overrides=["training.epochs=1"])
    run = study.run(plan, tmp_path / "tuned", bars=_twins())
    bundle = run / "models" / "market_fold0_seed0"
    _assert_told(_own(run, "predictions", "BBB", 0), runtime.predict(bundle, _twins()["BBB"]))
    known = read_bundle(bundle).description["series"]
    told = {name: (one["asset"], one["category"], one["judged"]) for name, one in known.items()}
    assert told == {"AAA": (0, 0, False), "BBB": (1, 1, True)}
    listed = _json(bundle / "asset_info.json")["assets"]
    assert [(one["series"], one["asset"], one["category"]) for one in listed] == [
        ("AAA", 0, "coins"), ("BBB", 1, "other")
    ]  # fmt: skip
    with pytest.raises(BundleError, match="knows AAA, but was never judged"):
        runtime.predict(bundle, _twins()["AAA"])


def test_what_a_market_says_later_is_compared_with_its_reference(run, tmp_path):
    """Its inputs are the vectors that tokens are made of; each series has its own limits."""
    later = random_bars(160, seed=21, volatility_frac=0.002)
    bars = {name: going_on(one, later) for name, one in two_symbols().items()}
    venue = write_venue(tmp_path / "venue", bars)
    bundle = run / "models" / "market_fold0_ensemble"
    told = pl.concat([runtime.predict(bundle, one, last=60) for one in bars.values()])
    told.write_parquet(tmp_path / "p.parquet")
    found = study.judge_live(tmp_path / "p.parquet", run, venue, out=tmp_path / "live.json")
    assert found["series"] == ["AAA", "BBB"]
    assert [one["bundle"] for one in found["hits"]] == ["market_fold0_ensemble"]
    assert (found["n"], found["n_known"]) == (120, 114)
    assert [(one["series"], one["name"]) for one in found["inputs"]] == [
        (series, name) for series in ("AAA", "BBB") for name in VECTOR
    ]
    assert all(one["p_value"] is not None for one in found["inputs"])
    assert {one["name"] for one in found["classes"]} == {"labels", "predicted", "confidence"}
