"""A study that forecasts bars: its tables, its bundles, its honesty, and how it goes on."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest
import torch

from drawn import random_bars
from study_runs import small_bars, small_study
from walkforge import evaluation, features, runtime, study
from walkforge.base import Precision, Silent, StudyError
from walkforge.features import CLIP
from walkforge.models import PackedForward, initial_state
from walkforge.study._baselining import Baselining
from walkforge.study._forecasting import _closes
from walkforge.study._learn import Learning
from walkforge.study._network import forecast_row
from walkforge.study._prepare import prepare
from walkforge.training import FORECAST_BASELINES, ForecastRows

FLOAT32 = Precision("float32", autocast=False, tf32=False)
STEPS = 3
BASELINES = ["persistence", "drift", "historical_volatility", "lightgbm"]


def _study(*more):
    return small_study(
        "model={name: bilstm, encoder: [6, 4], decoder_hidden: 5, dropout: 0.1}",
        "features.window_bars=8",
        f"labels.horizon_bars={STEPS}",
        *more,
    )


def _json(folder, name):
    return json.loads((folder / name).read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return study.run(_study(), tmp_path_factory.mktemp("runs") / "forecasts", bars=small_bars())


def test_a_run_of_a_forecaster_holds_forecasts_beside_its_predictions(run):
    forecasts = pl.read_parquet(run / "forecasts.parquet")
    predictions = pl.read_parquet(run / "predictions.parquet")
    assert len(forecasts) == STEPS * len(predictions)
    beside = pl.read_parquet(run / "baseline_forecasts.parquet")
    assert beside["baseline"].unique(maintain_order=True).to_list() == BASELINES
    metrics = _json(run, "metrics.json")["forecast"]
    assert list(metrics["baselines"]) == list(metrics["better_than"]) == BASELINES
    assert list(metrics["model"]["by_step"]) == ["1", "2", "3"]
    together = metrics["ensemble"]["pooled"]["crps_bps"]
    assert together["n"] * 2 == metrics["model"]["pooled"]["crps_bps"]["n"]
    gates = {gate["name"] for gate in _json(run, "verdict.json")["gates"]}
    assert {f"forecast_beats_{name}" for name in BASELINES} <= gates
    assert "Forecasts" in (run / "report.html").read_text()


def test_what_came_true_is_what_the_bars_say(run):
    bars = small_bars()
    forecasts = pl.read_parquet(run / "forecasts.parquet").filter(pl.col("seed") == 0)
    for row in forecasts.sample(40, seed=1).iter_rows(named=True):
        one = bars[row["symbol"]]
        at = int(np.searchsorted(one.timestamp, int(row["timestamp"].timestamp() * 1000)))
        assert row["last_close"] == one.close[at]
        assert row["close"] == one.close[at + row["step"]]
        assert row["high"] == one.high[at + row["step"]]
        assert one.segment[at] == one.segment[at + row["step"]]
        log_close = np.log(one.close[at + row["step"] - 19 : at + row["step"] + 1])
        assert np.log(row["band_mid"]) == pytest.approx(log_close.mean(), abs=1e-6)
        assert np.log(row["band_high"] / row["band_mid"]) == pytest.approx(
            2 * log_close.std(), abs=1e-6
        )


def test_every_forecast_is_a_possible_bar(run):
    forecasts = pl.read_parquet(run / "forecasts.parquet")
    quantiles = [name for name in forecasts.columns if name.startswith("q_")]
    prices = [name for name in forecasts.columns if name.startswith("f_")] + quantiles
    assert (forecasts.select(prices).to_numpy() > 0).all()
    ends = forecasts.select(
        top=pl.max_horizontal("f_open", "f_close"), bottom=pl.min_horizontal("f_open", "f_close")
    )
    assert (forecasts["f_high"] >= ends["top"]).all()
    assert (forecasts["f_low"] <= ends["bottom"]).all()
    assert (np.diff(forecasts.select(quantiles).to_numpy(), axis=1) >= 0).all()
    assert (forecasts["f_band_low"] < forecasts["f_band_high"]).all()


def test_a_bundle_says_what_its_run_said(run):
    bars = small_bars()["AAA"]
    predictions = pl.read_parquet(run / "predictions.parquet")
    forecasts = pl.read_parquet(run / "forecasts.parquet")
    told = runtime.predict(run / "models" / "AAA_fold1_seed1", bars)
    own = (pl.col("symbol") == "AAA") & (pl.col("fold") == 1) & (pl.col("seed") == 1)
    both = predictions.filter(own).join(told, on="timestamp", suffix="_told")
    assert len(both) == len(predictions.filter(own)) > 200
    for name in ("p_down", "p_hold", "p_up", "logit_up"):
        np.testing.assert_allclose(both[name], both[f"{name}_told"], atol=1e-6)
    for step in range(1, STEPS + 1):
        rows = forecasts.filter(own & (pl.col("step") == step)).join(told, on="timestamp")
        pairs = {"f_open": "open", "f_high": "high", "f_close": "close", "q_05": "q_05"}
        pairs |= {"q_95": "q_95", "f_band_low": "band_low"}
        for ours, theirs in pairs.items():
            np.testing.assert_allclose(rows[ours], rows[f"{theirs}_{step}"], rtol=1e-6)
        np.testing.assert_allclose(rows["f_volatility"], rows["volatility_right"], rtol=1e-5)


def test_the_newest_bars_alone_say_the_same_as_all(run):
    bars = small_bars()["AAA"]
    bundle = run / "models" / "AAA_fold1_seed0"
    whole = runtime.predict(bundle, bars).tail(2)
    few = runtime.predict(bundle, bars, last=2)
    for name in ("p_up", "close_3", "q_95_3", "volatility"):
        np.testing.assert_allclose(whole[name], few[name], rtol=1e-5)


def _changed_after(bars, row):
    """Return bars with every price and volume after `row` replaced."""
    random = np.random.default_rng(5)
    n = len(bars) - row - 1
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
        columns[name][row + 1 :] = values
    return dataclasses.replace(bars, **columns)


def test_the_horizon_is_never_in_the_inputs():
    """The window of a decision is bit-equal whatever the bars of its horizon hold."""
    bars, row = random_bars(900, seed=4), 700
    plan = _study("folds.count=1")
    learning = Learning(
        plan, prepare({"AAA": random_bars(2200, seed=1, symbol="AAA")}, plan), Silent()
    )

    def window(market):
        table = features.build(market, "gru").values
        forward = PackedForward.build(
            learning.architecture,
            torch.from_numpy(table),
            window_bars=8,
            centers=[np.zeros(table.shape[1])],
            scales=[np.ones(table.shape[1])],
            clip=CLIP,
            precision=FLOAT32,
        )
        return forward._windows(torch.tensor([[row]]), 0)

    clean, dirty = window(bars), window(_changed_after(bars, row))
    assert torch.equal(clean, dirty)
    assert not torch.equal(clean, window(_changed_after(bars, row - 1)))


def _learned(bars, plan):
    return Learning(plan, prepare(bars, plan), Silent()).run(None)


def _poisoned(bars, prepared, slice_name):
    fold = prepared.parts[0].fold
    edge = getattr(fold, slice_name).to_ms
    return {
        name: _changed_after(one, int(np.searchsorted(one.closes_at, edge)) - 1)
        for name, one in bars.items()
    }


@pytest.mark.parametrize(
    ("slice_name", "what"), [("validation", "weights"), ("calibration", "all")]
)
def test_nothing_is_learned_from_after_its_slice(slice_name, what):
    plan, bars = (
        _study("folds.count=1", "seeds=[0]"),
        {"AAA": random_bars(1500, seed=1, symbol="AAA")},
    )
    clean = _learned(bars, plan).members[0]
    dirty = _learned(_poisoned(bars, prepare(bars, plan), slice_name), plan).members[0]
    for name, tensor in clean.trained.state.items():
        assert tensor.equal(dirty.trained.state[name]), name
    spreads = [one.reader.classes.as_dict() for one in (clean, dirty)]
    if what == "all":
        assert spreads[0] == spreads[1]
        assert clean.calibrator.as_dict() == dirty.calibrator.as_dict()
    else:
        assert spreads[0] != spreads[1], "the poison would be noticed"


def test_baselines_of_forecasts_learn_nothing_from_after_validation():
    plan, bars = (
        _study("folds.count=1", "seeds=[0]"),
        {"AAA": random_bars(1500, seed=1, symbol="AAA")},
    )
    clean_world = prepare(bars, plan)
    dirty_world = prepare(_poisoned(bars, clean_world, "calibration"), plan)
    clean, dirty = (Baselining(plan, one, Silent()) for one in (clean_world, dirty_world))
    row = forecast_row(plan)
    for name, baseline in FORECAST_BASELINES.items():
        found = []
        for world in (clean, dirty):
            (part,), series = world.prepared.parts, world.prepared.series["AAA"]
            rows = world._rows(part, part.rows.calibration)
            found.append(baseline(ForecastRows(rows, _closes(row, series), np.array(row.levels))))
        np.testing.assert_array_equal(found[0].closes, found[1].closes, err_msg=name)


def test_a_run_that_was_cut_off_goes_on_to_the_same_forecasts(run, tmp_path):
    class CutOffError(Exception):
        pass

    class Cutting(Silent):
        def epoch(self, report):
            if report["epoch"] == 2:
                raise CutOffError

    place = tmp_path / "cut"
    with pytest.raises(CutOffError):
        study.run(_study(), place, bars=small_bars(), watcher=Cutting())
    assert not (place / "forecasts.parquet").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("walkforge.study._run.read_bars", lambda *_: small_bars())
        study.resume(place)
    for name in ("forecasts.parquet", "baseline_forecasts.parquet", "predictions.parquet"):
        assert pl.read_parquet(place / name).equals(pl.read_parquet(run / name)), name


def test_learned_weights_of_the_heads_are_learned():
    plan = _study("model.learned_weights=true", "folds.count=1", "seeds=[0]")
    (member,) = _learned({"AAA": random_bars(1500, seed=1, symbol="AAA")}, plan).members
    found = member.trained.state["task_log_variances"].numpy()
    assert found.shape == (4,)
    assert (found != 0).all()


def test_a_head_without_weight_has_nothing_to_be_unsure_of():
    plan = _study(
        "model.learned_weights=true", "training.heads.band=0.0", "training.weight_decay=0.0",
        "folds.count=1", "seeds=[0]",
    )  # fmt: skip
    (member,) = _learned({"AAA": random_bars(1500, seed=1, symbol="AAA")}, plan).members
    found = member.trained.state["task_log_variances"].numpy()
    assert found[1] == 0
    assert (found[[0, 2, 3]] != 0).all()


def test_baselines_are_made_as_wide_as_the_calibration_slice_asks_for_like_the_model():
    """Otherwise whoever is calibrated would beat by that alone whoever is not."""
    random = np.random.default_rng(3)
    flat = random_bars(1500, seed=1, symbol="AAA")
    # After training, moves are twice as wide against the volatility before them.
    bumps = random.normal(0, 0.001, 1500) * np.where(np.arange(1500) % 8 < 2, 3.0, 1.0)
    close = 100.0 * np.exp(np.cumsum(bumps))
    bars = dataclasses.replace(flat, open=close, close=close, high=close * 1.001, low=close / 1.001)
    tables = {}
    for kind in ("none", "temperature"):
        plan = _study("folds.count=1", "seeds=[0]", f"judge.calibration={kind}")
        table = Baselining(plan, prepare({"AAA": bars}, plan), Silent()).forecasts()
        tables[kind] = table.filter(pl.col("baseline") == "historical_volatility")
    raw, wide = (np.log(t["q_95"] / t["q_05"]).to_numpy() for t in tables.values())
    ratio = wide / raw
    assert not np.allclose(ratio, 1.0)
    # One factor for each step ahead, whatever the row.
    for step in range(STEPS):
        np.testing.assert_allclose(ratio[step::STEPS], ratio[step], rtol=1e-6)
    assert (tables["none"]["f_close"] == tables["temperature"]["f_close"]).all()


def test_a_head_without_weight_is_not_trained():
    bars = {"AAA": random_bars(1500, seed=1, symbol="AAA")}
    plan = _study(
        "training.heads.band=0.0", "training.weight_decay=0.0", "folds.count=1", "seeds=[0]"
    )
    (member,) = _learned(bars, plan).members
    learning = Learning(plan, prepare(bars, plan), Silent())
    fresh = initial_state(learning.architecture, member.trained.member.random_seed)
    after = member.trained.state
    assert after["heads.band.weight"].equal(fresh["heads.band.weight"])
    assert not after["heads.ohlc.weight"].equal(fresh["heads.ohlc.weight"])


@pytest.mark.parametrize("kind", ["threshold", "volatility", "direction"])
def test_every_kind_of_label_becomes_classes_of_a_forecast(kind, tmp_path):
    more = ("labels.threshold_frac=0.002", "labels.volatility_multiple=0.3")
    plan = _study(f"labels.kind={kind}", *more, "folds.count=1", "seeds=[0]", "training.epochs=1")
    place = study.run(plan, tmp_path / kind, bars={"AAA": random_bars(1500, seed=1, symbol="AAA")})
    predictions = pl.read_parquet(place / "predictions.parquet")
    classes = evaluation.classes_of(predictions)
    assert classes == (("down", "up") if kind == "direction" else ("down", "hold", "up"))
    told = runtime.predict(
        place / "models" / "AAA_fold0_seed0", random_bars(1500, seed=1, symbol="AAA")
    )
    both = predictions.join(told, on="timestamp", suffix="_told")
    np.testing.assert_allclose(both["p_up"], both["p_up_told"], atol=1e-6)


def test_a_forecaster_cannot_foresee_a_trade_that_ends_when_it_ends():
    with pytest.raises(StudyError, match=r"labels\.kind is triple_barrier"):
        _study("labels.kind=triple_barrier")


def test_the_forecasts_of_a_market_that_can_be_foreseen_are_nearer_than_its_last_close():
    """A drift that changes its sign slowly: persistence must lose against whoever looks."""
    random = np.random.default_rng(0)
    n = 4000
    drift = 0.0015 * np.sign(np.sin(np.arange(n) / 40.0))
    close = 100.0 * np.exp(np.cumsum(drift + random.normal(0, 0.001, n)))
    flat = random_bars(n, seed=1, symbol="AAA")
    opens = np.concatenate([[close[0]], close[:-1]])
    bars = dataclasses.replace(
        flat,
        open=opens,
        close=close,
        high=np.maximum(opens, close) * 1.0002,
        low=np.minimum(opens, close) / 1.0002,
    )
    plan = _study(
        "folds.count=1", "folds.test=600", "seeds=[0]", "training.epochs=6",
        "training.learning_rate=0.01", "model.dropout=0.0",
    )  # fmt: skip
    prepared = prepare({"AAA": bars}, plan)
    results = Learning(plan, prepared, Silent()).run(None)
    found = evaluation.forecast_metrics(
        results.forecasts, Baselining(plan, prepared, Silent()).forecasts(), n_resamples=0
    )
    beaten = found["better_than"]["persistence"]["squared_error"]
    assert beaten["mean_difference"] > 0
    assert beaten["p_value"] < 0.01
    pooled = found["model"]["pooled"]
    assert pooled["direction_accuracy"]["value"] > 0.6
    assert 0.8 < pooled["coverage_90"]["value"] < 0.97
