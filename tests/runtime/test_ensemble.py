"""Several models in one bundle, and boosted trees in one: what they say of bars."""

import numpy as np
import polars as pl
import pytest

from drawn import random_bars
from runtime.bundles import CLASSES, tiny_bundle
from walkforge import runtime
from walkforge.base import BundleError
from walkforge.calibration import fit_calibrator
from walkforge.features import build, feature_set, fit_scaler
from walkforge.models import lags_within, tree_probabilities, trees_as_text
from walkforge.registry import read_bundle, write_bundle, write_ensemble, write_trees
from walkforge.runtime import _model
from walkforge.training import BaselineRows, class_trees

P = [f"p_{name}" for name in CLASSES]
LOGITS = [f"logit_{name}" for name in CLASSES]
BARS = random_bars(700, seed=8, symbol="AAA", holes_at=(330,))
FORECASTER = {"encoder": [4], "decoder_hidden": 3, "horizon_bars": 2}


def _ensemble(folder, members, weights):
    write_ensemble(folder, read_bundle(members[0]).description, members, weights)
    return folder


def _rewritten(bundle, **changes):
    read = read_bundle(bundle)
    write_bundle(bundle, {**read.description, **changes}, read.weights)
    return bundle


@pytest.fixture
def networks(tmp_path):
    """Return bundles of three families, calibrators and windows."""
    return [
        tiny_bundle(tmp_path / "mlp"),
        tiny_bundle(
            tmp_path / "gru",
            "gru",
            options={"hidden": 5, "n_classes": 3},
            window_bars=6,
            calibrator="platt",
        ),
        tiny_bundle(tmp_path / "wide", options={"widths": [9, 7], "n_classes": 3}, window_bars=1),
    ]


@pytest.fixture(scope="module")
def forecasters(tmp_path_factory):
    """Return bundles of three forecasters that differ."""
    folder = tmp_path_factory.mktemp("forecasters")
    encoders = {"one": [4], "two": [5], "three": [3, 3]}
    return [
        tiny_bundle(folder / name, "bilstm", options=FORECASTER | {"encoder": e}, window_bars=3)
        for name, e in encoders.items()
    ]


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Return a bundle of trees, and the rows and the booster that it was made from."""
    bars = random_bars(900, seed=4, symbol="AAA")
    table = build(bars, "aligned")
    rows = np.flatnonzero(table.valid)[8:]
    moves = np.append(np.diff(bars.close), 0.0)
    labels = np.digitize(moves + table.values[:, 3], [-0.1, 0.1]).astype(np.int8)
    scaler = fit_scaler("robust", table.values[rows])
    known = BaselineRows(
        table=table.values,
        labels=labels,
        decided_at=bars.closes_at,
        resolved_at=bars.closes_at,
        train=rows[:400],
        validation=rows[400:550],
        asked=rows[550:],
        scale=scaler.transform,
        window_bars=5,
        n_classes=3,
    )
    booster = class_trees(known)
    scores = np.log(tree_probabilities(booster, known.inputs(known.asked)))
    calibrator = fit_calibrator("temperature", scores, labels[known.asked].astype(np.int64))
    described = {
        "model": {"name": "lightgbm", "options": {"lags": lags_within(5)}},
        "features": list(feature_set("aligned").names),
        "feature_set": "aligned",
        "window_bars": 5,
        "scaler": scaler.as_dict(),
        "calibrator": calibrator.as_dict(),
        "label": {"kind": "quantile", "limits": {}},
        "classes": CLASSES,
        "symbols": ["AAA"],
        "timeframe": "1m",
        "calendar": "24/7",
        "trained": ["2024-01-01 00:00", "2024-01-02 00:00"],
    }
    folder = tmp_path_factory.mktemp("trees") / "trees"
    write_trees(folder, described, trees_as_text(booster))
    return folder, bars, known, calibrator.apply(scores)


@pytest.mark.parametrize("same_rows", [True, False])
def test_an_ensemble_says_the_weighted_mean_of_its_members(tmp_path, networks, same_rows):
    if same_rows:
        options = {"widths": [5, 5], "n_classes": 3}
        networks[1:] = [tiny_bundle(tmp_path / "five", options=options, calibrator="isotonic")]
    weights = [0.7, 0.3] if same_rows else [0.5, 0.2, 0.3]
    found = runtime.predict(_ensemble(tmp_path / "e", networks, weights), BARS)
    each = [runtime.predict(one, BARS).join(found, on="timestamp", how="semi") for one in networks]
    mean = sum(w * one.select(P).to_numpy() for w, one in zip(weights, each, strict=True))
    # A network asked of other rows beside them rounds in its seventh digit.
    close = {"atol": 1e-9 if same_rows else 1e-6, "rtol": 0}
    np.testing.assert_allclose(found.select(P), mean, **close)
    np.testing.assert_allclose(np.exp(found.select(LOGITS)), mean, **close)
    assert found.columns == ["timestamp", "symbol", *LOGITS, *P]
    assert np.ptp(found["p_up"].to_numpy()) > 0.01
    apart = [np.abs(one["p_up"] - found["p_up"]).max() for one in each]
    assert min(apart) > 0.001, "members that agree would prove nothing"


def test_rows_are_those_that_all_members_can_predict(tmp_path, networks):
    found = runtime.predict(_ensemble(tmp_path / "e", networks, [0.4, 0.3, 0.3]), BARS)
    stamps = [set(runtime.predict(one, BARS)["timestamp"]) for one in networks]
    assert set(found["timestamp"]) == set.intersection(*stamps)
    assert len(found) < len(stamps[2])


def test_one_bar_is_predicted_as_among_many(tmp_path, networks, trees):
    members = [*networks, trees[0]]
    bundle = _ensemble(tmp_path / "e", members, [0.25] * 4)
    many, one = runtime.predict(bundle, BARS), runtime.predict(bundle, BARS, last=1)
    assert len(one) == 1
    np.testing.assert_allclose(one.select(P), many.select(P)[-1:], atol=1e-6)


def test_the_look_back_is_the_longest(tmp_path, networks):
    predictor = runtime.Predictor(read_bundle(_ensemble(tmp_path / "e", networks, [0.4, 0.3, 0.3])))
    alone = [runtime.Predictor(read_bundle(one)).look_back_bars for one in networks]
    assert predictor.look_back_bars == max(alone) == alone[1]
    newest = BARS.take(slice(len(BARS) - predictor.look_back_bars, len(BARS)))
    assert len(predictor.predict(newest, last=1)) == 1


def test_features_of_one_set_are_built_once(tmp_path, networks, trees, monkeypatch):
    built = []
    monkeypatch.setattr(_model, "build", lambda bars, name: built.append(name) or build(bars, name))
    runtime.predict(_ensemble(tmp_path / "e", [*networks, trees[0]], [0.25] * 4), BARS)
    assert sorted(built) == ["aligned", "gru"]


def test_a_member_with_weight_0_says_nothing(tmp_path, networks):
    found = runtime.predict(_ensemble(tmp_path / "e", networks[:2], [0.0, 1.0]), BARS)
    alone = runtime.predict(networks[1], BARS).join(found, on="timestamp", how="semi")
    np.testing.assert_array_equal(found.select(P), alone.select(P))


def test_forecasts_are_the_median_of_the_members_that_forecast(tmp_path, networks, forecasters):
    members = [*forecasters, networks[0]]
    found = runtime.predict(_ensemble(tmp_path / "e", members, [0.7, 0.1, 0.1, 0.1]), BARS)
    each = [
        runtime.predict(one, BARS).join(found, on="timestamp", how="semi") for one in forecasters
    ]
    prices = [name for name in each[0].columns if name not in ("timestamp", "symbol", *P, *LOGITS)]
    assert found.columns[-len(prices) :] == prices
    assert {"open_1", "close_2", "band_mid_1", "q_50_2", "volatility"} <= set(prices)
    median = np.median([one.select(prices).to_numpy() for one in each], axis=0)
    np.testing.assert_allclose(found.select(prices), median, rtol=1e-12)
    assert (np.abs(median / each[0].select(prices).to_numpy() - 1) > 1e-6).any()


@pytest.mark.parametrize("n_members", [2, 3])
def test_the_median_of_possible_bars_is_a_possible_bar(tmp_path, forecasters, n_members):
    members = forecasters[:n_members]
    found = runtime.predict(_ensemble(tmp_path / "e", members, [1 / n_members] * n_members), BARS)
    for step in (1, 2):
        body = found.select(f"open_{step}", f"close_{step}").to_numpy()
        assert (found[f"high_{step}"].to_numpy() >= body.max(axis=1)).all()
        assert (found[f"low_{step}"].to_numpy() <= body.min(axis=1)).all()
        assert (found[f"band_low_{step}"] < found[f"band_high_{step}"]).all()
        quantiles = [name for name in found.columns if name[:2] == "q_" and name[-1] == str(step)]
        assert (np.diff(found.select(quantiles).to_numpy(), axis=1) >= 0).all()


def test_forecasters_of_other_horizons_are_refused_with_both_lists(tmp_path, forecasters):
    longer = tiny_bundle(
        tmp_path / "longer", "bilstm", options=FORECASTER | {"horizon_bars": 3}, window_bars=3
    )
    bundle = _ensemble(tmp_path / "e", [forecasters[0], longer], [0.5, 0.5])
    with pytest.raises(BundleError, match=r"close_3.*but one open_1.*one horizon"):
        runtime.predict(bundle, BARS)


def test_a_bar_without_a_past_volatility_is_not_forecast(tmp_path):
    bundle = tiny_bundle(tmp_path / "slow", "bilstm", options=FORECASTER, window_bars=3)
    few = len(runtime.predict(bundle, BARS))
    rule = read_bundle(bundle).description["forecast"]
    _rewritten(bundle, forecast=rule | {"volatility_bars": 205})
    found = runtime.predict(bundle, BARS)
    assert 0 < len(found) < few
    assert np.isfinite(found.select(pl.selectors.float()).to_numpy()).all()


def test_bars_of_another_symbol_are_refused(tmp_path, networks):
    bundle = _ensemble(tmp_path / "e", networks, [0.4, 0.3, 0.3])
    with pytest.raises(BundleError, match="was trained on AAA 1m, but the bars are BBB 1m"):
        runtime.predict(bundle, random_bars(300, symbol="BBB"))


def test_a_member_of_other_features_is_refused_by_name(tmp_path, networks):
    _rewritten(networks[1], features=["gap", "high"])
    bundle = _ensemble(tmp_path / "e", networks, [0.4, 0.3, 0.3])
    with pytest.raises(BundleError, match=r"members/gru: was trained on 2 features \(gap, high\)"):
        runtime.predict(bundle, BARS)


def test_trees_say_what_the_baseline_said(trees):
    folder, bars, known, expected = trees
    found = runtime.predict(folder, bars)
    stamps = pl.DataFrame({"timestamp": bars.timestamp[known.asked]}).select(
        pl.col("timestamp").cast(pl.Datetime("ms", "UTC"))
    )
    same = stamps.join(found, on="timestamp", how="left", maintain_order="left")
    np.testing.assert_array_equal(same.select(P), expected)
    assert np.ptp(expected[:, 2]) > 0.1


def test_trees_see_no_window_across_a_hole(trees):
    found = runtime.predict(trees[0], BARS)
    stamps = found["timestamp"].dt.epoch("ms").to_numpy()
    needed = feature_set("aligned").look_back_bars + 4
    holed = BARS.timestamp[330 : 330 + needed - 1]
    assert not set(holed.tolist()) & set(stamps.tolist())
    assert BARS.timestamp[330 + needed - 1] in stamps


@pytest.mark.parametrize(
    "change",
    [lambda t: t[: len(t) // 2], lambda t: t[:150], lambda t: "", lambda t: t.replace("s=", "s=7")],
    ids=["half", "head", "empty", "lengths"],
)
def test_a_text_that_is_no_trees_is_refused_and_takes_nothing_with_it(tmp_path, trees, change):
    read = read_bundle(trees[0])
    write_trees(tmp_path / "t", read.description, change(read.trees))
    with pytest.raises(BundleError, match=r"t: its trees are cut off|t: LightGBM cannot read"):
        runtime.predict(tmp_path / "t", BARS)


def test_an_ensemble_cannot_be_exported_as_one_network(tmp_path, networks, trees):
    bundle = _ensemble(tmp_path / "e", networks, [0.4, 0.3, 0.3])
    for one, name in ((bundle, "ensemble"), (trees[0], "lightgbm")):
        with pytest.raises(BundleError, match=f"its model is {name}"):
            runtime.export_onnx(one)
