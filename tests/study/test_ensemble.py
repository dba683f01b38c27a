"""Runs joined to one model: what it says, what weighs it, and what is not joined."""

import dataclasses
import json
import shutil

import numpy as np
import polars as pl
import pytest

from study_runs import small_bars, small_study
from walkforge import runtime, study
from walkforge.base import RunError, UsageError, parse_utc_ms
from walkforge.registry import read_bundle
from walkforge.study import _ensembles

P = ["p_down", "p_hold", "p_up"]
KEY = ["timestamp", "symbol", "timeframe", "fold"]
GRU = ("model={name: gru, hidden: 8}", "features.window_bars=8", "seeds=[3]", "judge.n_trials=5")
BILSTM = ("model={name: bilstm, encoder: [6, 4], decoder_hidden: 5}", "features.window_bars=8")
QUICK = ("folds.count=1", "training.epochs=2", "judge.baselines=[prior, lightgbm]",
         "judge.n_resamples=100", "backtest.n_random=2")  # fmt: skip


def _json(folder, name):
    return json.loads((folder / name).read_text())


def _own(table, symbol="AAA", fold=0):
    return table.filter((pl.col("symbol") == symbol) & (pl.col("fold") == fold))


@pytest.fixture(scope="module")
def gru_run(tmp_path_factory):
    return study.run(small_study(*GRU), tmp_path_factory.mktemp("runs") / "gru", bars=small_bars())


@pytest.fixture(scope="module")
def forecasts_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "bilstm"
    return study.run(small_study(*BILSTM), out, bars=small_bars())


@pytest.fixture(scope="module")
def joined(small_run, gru_run, forecasts_run, tmp_path_factory):
    """Return the folder of an ensemble of all three, and its verdict."""
    out = tmp_path_factory.mktemp("runs") / "joined"
    return study.ensemble([small_run, gru_run, forecasts_run], out=out, bars=small_bars())


@pytest.fixture
def copy(gru_run, tmp_path):
    """Return what copies the second run, with changes to a file of JSON, a table or its study."""

    def make(name="copy", *, source=gru_run, **changes):
        folder = shutil.copytree(source, tmp_path / name)
        for file, change in changes.items():
            path = next(folder.glob(f"{file}.*"))
            if path.suffix == ".parquet":
                change(pl.read_parquet(path)).write_parquet(path)
            elif path.suffix == ".json":
                path.write_text(json.dumps(change(json.loads(path.read_text()))))
            else:
                path.write_text(change(path.read_text()))
        return folder

    return make


# ---------------------------------------------------------------- what every run keeps


def test_a_run_of_several_seeds_keeps_them_together_as_a_bundle(small_run):
    predictions = pl.read_parquet(small_run / "predictions.parquet")
    bundles = sorted((small_run / "models").glob("*_ensemble"))
    assert len(bundles) == 2 * 2
    for bundle in bundles:
        symbol, fold = bundle.name.split("_")[0], int(bundle.name.split("_")[1][-1])
        bars = small_bars()[symbol]
        rows = _own(predictions, symbol, fold)
        seeds = rows.partition_by("seed")
        mean = np.mean([one.select(P).to_numpy() for one in seeds], axis=0)
        found = seeds[0].join(runtime.predict(bundle, bars), on="timestamp", suffix="_told")
        assert len(found) == len(mean) > 200
        told = [runtime.predict(member.folder, bars) for _, member in read_bundle(bundle).members]
        same = [one.join(found, on="timestamp", how="semi").select(P).to_numpy() for one in told]
        ours = found.select(f"{name}_told" for name in P).to_numpy()
        np.testing.assert_allclose(ours, np.mean(same, axis=0), atol=1e-9, rtol=0)
        # What the networks themselves round in float32, asked alone and in a pack, comes on top.
        rounding = np.abs(np.mean(same, axis=0) - mean).max()
        assert rounding < 1e-6
        assert np.abs(ours - mean).max() <= rounding + 1e-9


def test_a_run_of_one_seed_keeps_no_ensemble(gru_run):
    assert not list((gru_run / "models").glob("*_ensemble"))


@pytest.mark.parametrize("name", ["small_run", "gru_run"])
def test_the_lightgbm_baseline_is_kept_as_a_bundle(name, request):
    run = request.getfixturevalue(name)
    baselines = pl.read_parquet(run / "baseline_predictions.parquet")
    trees = baselines.filter(pl.col("baseline") == "lightgbm")
    for symbol, bars in small_bars().items():
        for fold in (0, 1):
            told = runtime.predict(run / "models" / f"{symbol}_fold{fold}_lightgbm", bars)
            both = _own(trees, symbol, fold).join(told, on="timestamp", suffix="_told")
            assert len(both) == len(_own(trees, symbol, fold)) > 200
            told = both.select(f"{name}_told" for name in P).to_numpy()
            np.testing.assert_allclose(told, both.select(P), atol=1e-12, rtol=0)
    one = runtime.predict(run / "models" / "AAA_fold0_lightgbm", small_bars()["AAA"], last=1)
    assert len(one) == 1


def test_trees_are_plain_text(small_run):
    bundle = small_run / "models" / "AAA_fold0_lightgbm"
    assert sorted(path.name for path in bundle.iterdir()) == [
        "bundle.json", "manifest.json", "reference.json", "trees.txt"
    ]  # fmt: skip
    text = (bundle / "trees.txt").read_text()
    assert text.startswith("tree\nversion=")
    assert text.isascii()


@pytest.mark.parametrize("name", ["small_run", "gru_run", "forecasts_run"])
def test_what_is_said_of_the_calibration_slices_is_kept(name, request):
    run = request.getfixturevalue(name)
    for before in ("", "baseline_"):
        test = pl.read_parquet(run / f"{before}predictions.parquet")
        earlier = pl.read_parquet(run / f"{before}calibration_predictions.parquet")
        assert earlier.schema == test.schema
        n_each = len(test.unique(["seed", *(["baseline"] if before else [])]))
        for fold in _json(run, "folds.json"):
            own = _own(earlier, fold["symbol"], fold["fold"])
            assert len(own) == n_each * fold["rows"]["calibration"]
            decided = own["timestamp"].dt.epoch("ms").to_numpy() + 60_000
            start, end = (parse_utc_ms(text) for text in fold["calibration"])
            assert ((decided >= start) & (decided < end)).all()
            assert (own["resolved_at"] <= _own(test, fold["symbol"], fold["fold"])[0, 0]).all()


# ---------------------------------------------------------------- what an ensemble is


def test_an_ensemble_is_a_whole_run_folder_and_says_what_it_is(joined, small_run):
    folder, verdict = joined
    assert verdict == _json(folder, "verdict.json")
    for name in ("metrics.json", "diagnostics.json", "backtest.json", "trades.parquet",
                 "equity.parquet", "folds.json", "data_info.json", "report.html"):  # fmt: skip
        assert (folder / name).is_file(), name
    facts = _json(folder, "run.json")
    assert (facts["kind"], facts["name"], facts["seeds"]) == ("ensemble", "ensemble-small", [0])
    assert [one["model"] for one in facts["runs"]] == ["mlp", "gru", "bilstm"]
    assert facts["runs"][0]["study_digest"] == _json(small_run, "run.json")["study_digest"]
    plan = study.load(folder / "study.yaml")
    assert plan.judge.n_trials == 2 * 1 + 1 * 5 + 2 * 1
    assert _json(folder, "backtest.json")["pooled"]["n_trials"] == 9
    assert any("train_test_gap was not asked" in note for note in verdict["notes"])
    assert "train_test_gap" not in {gate["name"] for gate in verdict["gates"]}
    page = (folder / "report.html").read_text()
    assert "B: gru" in page
    assert not list(folder.parent.glob(".*"))


def test_predictions_are_the_weighted_mean_of_the_runs_and_the_trees(
    joined, small_run, gru_run, forecasts_run
):
    folder, _ = joined
    found = pl.read_parquet(folder / "predictions.parquet")
    assert found.columns == pl.read_parquet(small_run / "predictions.parquet").columns
    assert found["seed"].unique().to_list() == [0]
    tables = [pl.read_parquet(run / "predictions.parquet")
              for run in (small_run, gru_run, forecasts_run)]  # fmt: skip
    trees = pl.read_parquet(small_run / "baseline_predictions.parquet")
    tables.append(trees.filter(pl.col("baseline") == "lightgbm"))
    folds = _json(folder, "ensemble.json")["folds"]
    assert len(folds) == 4
    for one in folds:
        symbol, fold, own = one["series"], one["fold"], one["weights"]
        assert list(own) == ["A", "B", "C", "lightgbm"]
        assert sum(own.values()) == pytest.approx(1.0, abs=1e-12)
        means = [
            _own(table, symbol, fold).group_by("timestamp").agg(pl.col(P).mean()).sort("timestamp")
            for table in tables
        ]
        each = np.stack([mean.select(P).to_numpy() for mean in means])
        expected = np.tensordot(list(own.values()), each, axes=1)
        rows = _own(found, symbol, fold).sort("timestamp")
        np.testing.assert_allclose(rows.select(P), expected, atol=1e-12)
        np.testing.assert_allclose(np.exp(rows["logit_up"]), rows["p_up"], rtol=1e-12)


def test_fitted_weights_are_best_on_the_calibration_slices(joined):
    for fold in _json(joined[0], "ensemble.json")["folds"]:
        losses = fold["calibration_log_loss"]
        assert losses["ensemble"] <= min(losses.values()) + 1e-6
        assert fold["rows"]["calibration"] > 100
    weights = [tuple(one["weights"].values()) for one in _json(joined[0], "ensemble.json")["folds"]]
    assert len(set(weights)) == 4, "every series and fold has weights of its own"


def test_its_bundles_say_what_its_tables_say(joined):
    folder, _ = joined
    predictions = pl.read_parquet(folder / "predictions.parquet")
    forecasts = pl.read_parquet(folder / "forecasts.parquet")
    assert len(forecasts) == 3 * len(predictions)
    bundle = folder / "models" / "BBB_fold1_ensemble"
    read = read_bundle(bundle)
    assert len(read.members) == 2 + 1 + 2 + 1, "the runs' own ensembles are taken apart"
    assert [member.description["model"]["name"] for _, member in read.members] == [
        "mlp", "mlp", "gru", "bilstm", "bilstm", "lightgbm"
    ]  # fmt: skip
    told = runtime.predict(bundle, small_bars()["BBB"])
    both = _own(predictions, "BBB", 1).join(told, on="timestamp", suffix="_told")
    assert len(both) == len(_own(predictions, "BBB", 1))
    for name in (*P, "logit_down"):
        np.testing.assert_allclose(both[f"{name}_told"], both[name], atol=1e-6)
    first = _own(forecasts, "BBB", 1).filter(pl.col("step") == 2).join(told, on="timestamp")
    for ours, theirs in {"f_close": "close_2", "f_high": "high_2", "q_95": "q_95_2"}.items():
        np.testing.assert_allclose(first[ours], first[theirs], rtol=1e-6)


def test_baselines_and_forecasts_stand_on_the_same_rows(joined):
    folder, _ = joined
    ours = pl.read_parquet(folder / "predictions.parquet").select(KEY).sort(KEY)
    baselines = pl.read_parquet(folder / "baseline_predictions.parquet")
    for one in baselines.partition_by("baseline"):
        assert one.select(KEY).sort(KEY).equals(ours)
    assert set(_json(folder, "metrics.json")["forecast"]["baselines"]) == {
        "persistence", "drift", "historical_volatility", "lightgbm"
    }  # fmt: skip


def test_an_ensemble_is_not_resumed_and_not_joined_again(joined, small_run):
    folder, _ = joined
    with pytest.raises(RunError, match="an ensemble of finished runs; nothing to resume"):
        study.resume(folder)
    with pytest.raises(RunError, match="is an ensemble itself; name the runs"):
        study.ensemble([small_run, folder], bars=small_bars())


def test_an_ensemble_is_compared_judged_and_backtested_like_a_run(joined, small_run, tmp_path):
    data = study.compare([small_run, joined[0]])
    assert data["tests"][0]["predictions"]["comparable"]
    assert data["runs"][1]["kind"] == "ensemble"
    assert any("B (joined): an ensemble of finished runs" in note for note in data["notes"])
    folder = shutil.copytree(joined[0], tmp_path / "copy")
    assert study.judge(folder, "v8")["profile"] == "v8"
    assert study.judge(folder) == joined[1]
    assert study.backtest_again(folder)["pooled"]["n_trials"] == 9


def test_equal_weights_without_lightgbm_are_the_plain_mean_of_the_runs(
    small_run, gru_run, tmp_path
):
    out = tmp_path / "equal"
    out.mkdir()
    folder, _ = study.ensemble(
        [small_run, gru_run], out=out, weights="equal", with_lightgbm=False, bars=small_bars()
    )
    assert folder == out
    for fold in _json(folder, "ensemble.json")["folds"]:
        assert fold["weights"] == {"A": 0.5, "B": 0.5}
    assert not (folder / "forecasts.parquet").exists()
    shares = [weight for weight, _ in read_bundle(folder / "models" / "AAA_fold0_ensemble").members]
    assert shares == [0.25, 0.25, 0.5]


def test_rows_that_a_run_did_not_predict_are_left_out_and_counted(small_run, copy, tmp_path):
    short = copy(predictions=lambda table: table[:-10])
    folder, _ = study.ensemble([small_run, short], out=tmp_path / "out", bars=small_bars())
    rows = _json(folder, "ensemble.json")["rows"]
    assert rows["left_out"] == {"A": 10, "B": 0, "lightgbm": 10}
    assert rows["common"] == len(pl.read_parquet(folder / "predictions.parquet"))
    assert len(pl.read_parquet(folder / "baseline_predictions.parquet")) == 5 * rows["common"]


# ---------------------------------------------------------------- test rows teach nothing


def _noise_from(bars, from_ms):
    """Return bars with wild noise in every bar that is not complete before `from_ms`."""
    random = np.random.default_rng(9)
    late = bars.closes_at >= from_ms
    close = bars.close.copy()
    close[late] = 900.0 * np.exp(np.cumsum(random.normal(0, 0.04, int(late.sum()))))
    open_, high, low = bars.open.copy(), bars.high.copy(), bars.low.copy()
    open_[late] = close[late] * np.exp(random.normal(0, 0.02, int(late.sum())))
    high[late] = np.maximum(open_, close)[late] * 1.05
    low[late] = np.minimum(open_, close)[late] * 0.95
    return dataclasses.replace(bars, open=open_, high=high, low=low, close=close)


def _weights_on(bars, place):
    runs = [
        study.run(small_study(*QUICK, *more), place / name, bars=bars)
        for name, more in {"mlp": (), "gru": GRU}.items()
    ]
    folder, _ = study.ensemble(runs, out=place / "both", bars=bars)
    slices = {one["series"]: one["calibration"] for one in _json(folder, "folds.json")}
    weights = [one["weights"] for one in _json(folder, "ensemble.json")["folds"]]
    return weights, slices, pl.read_parquet(folder / "predictions.parquet")


def test_noise_after_the_calibration_slice_leaves_the_weights_bit_identical(tmp_path):
    bars = small_bars()
    clean, slices, said = _weights_on(bars, tmp_path / "clean")
    edge = parse_utc_ms(slices["AAA"][1])
    noisy_bars = {name: _noise_from(one, edge) for name, one in bars.items()}
    noisy, same_slices, said_of_noise = _weights_on(noisy_bars, tmp_path / "noisy")
    assert (noisy, same_slices) == (clean, slices)
    # Guard of the guard: the noise is there, in labels and in what is said.
    both = said.join(said_of_noise, on=KEY, suffix="_noise")
    assert len(both) > 400
    assert (both["label"] != both["label_noise"]).mean() > 0.3
    assert (both["p_up"] != both["p_up_noise"]).mean() > 0.9


def test_labels_of_the_test_slice_do_not_weigh(
    joined, small_run, gru_run, forecasts_run, copy, tmp_path
):
    def other_labels(table):
        return table.with_columns(label=(pl.col("label") + 1) % 3)

    others = [
        copy(name, source=run, predictions=other_labels, baseline_predictions=other_labels)
        for name, run in {"a": small_run, "b": gru_run, "c": forecasts_run}.items()
    ]
    folder, _ = study.ensemble(others, out=tmp_path / "out", bars=small_bars())
    ours, theirs = (_json(one, "ensemble.json")["folds"] for one in (folder, joined[0]))
    assert [one["weights"] for one in ours] == [one["weights"] for one in theirs]


# ---------------------------------------------------------------- what is not joined


def _fold_moved(piece):
    def change(folds):
        folds[1][piece][0] = "2024-01-01 00:00"
        return folds

    return change


def _label_changed(share):
    def change(table):
        row = pl.int_range(pl.len())
        moved = pl.when(row % 100 < 100 * share).then((pl.col("label") + 1) % 3)
        return table.with_columns(label=moved.otherwise(pl.col("label")).cast(pl.Int8))

    return change


def _with_tick(symbol, tick_size):
    def change(info):
        instrument = info[symbol]["instrument"] | {"tick_size": tick_size}
        return info | {symbol: info[symbol] | {"instrument": instrument}}

    return change


REFUSED = {
    "classes": (
        {"study": lambda text: text.replace("kind: quantile", "kind: direction")},
        r"the list of classes is down, up in B, down, hold, up in A",
    ),
    "kind": (
        {"study": lambda text: text.replace("kind: quantile", "kind: volatility")},
        r"labels\.kind is volatility in B, quantile in A",
    ),
    "horizon": (
        {"study": lambda text: text.replace("horizon_bars: 3", "horizon_bars: 4")},
        r"labels\.horizon_bars is 4 in B, 3 in A",
    ),
    "series": (
        {"folds": lambda folds: [one for one in folds if one["series"] == "AAA"]},
        r"the list of series is AAA in B, AAA, BBB in A",
    ),
    "bars": (
        {"data_info": lambda info: info | {"BBB": info["BBB"] | {"digest": "f" * 64}}},
        r"the digest of the bars of BBB is ffffffffffff in B, ",
    ),
    "ticks": (
        {"data_info": _with_tick("BBB", 0.5)},
        r"the tick size of BBB is 0\.5 in B, ",
    ),
    "folds": (
        {"folds": lambda folds: [one for one in folds if one["fold"] == 1]},
        r"the number of folds is 2 in B, 4 in A",
    ),
    "test": (
        {"folds": _fold_moved("test")},
        r"the test slice of AAA fold 1 is 2024-01-01 00:00 to .* in B, 2024-",
    ),
    "calibration": (
        {"folds": _fold_moved("calibration")},
        r"the calibration slice of AAA fold 1 is 2024-01-01 00:00 to .* in B",
    ),
    "labels": (
        {"predictions": _label_changed(0.06)},
        r"B \(copy\) and A \(small\) cannot be joined: \d+ of \d+ labels differ, at most 5% may",
    ),
    "rows": (
        {"predictions": lambda t: t.with_columns(pl.col("timestamp").dt.offset_by("900d"))},
        r"no decision is common in predictions\.parquet",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_runs_that_do_not_fit_are_refused_and_leave_nothing(case, small_run, copy, tmp_path):
    changes, words = REFUSED[case]
    other, out = copy(**changes), tmp_path / "out"
    with pytest.raises(RunError, match=words):
        study.ensemble([small_run, other], out=out, bars=small_bars())
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))


def test_a_few_labels_may_differ_for_limits_are_learned_from_each_runs_own_rows(
    small_run, copy, tmp_path
):
    other = copy(predictions=_label_changed(0.03))
    folder, _ = study.ensemble([small_run, other], out=tmp_path / "out", bars=small_bars())
    ours = pl.read_parquet(folder / "predictions.parquet").select(*KEY, "label")
    first = pl.read_parquet(small_run / "predictions.parquet").filter(pl.col("seed") == 0)
    assert ours.equals(first.select(*KEY, "label")), "the labels are those of the first run"


def test_what_is_no_finished_run_is_refused_with_the_way_out(small_run, copy, tmp_path):
    with pytest.raises(UsageError, match="1 run to join; name at least two"):
        study.ensemble([small_run])
    with pytest.raises(UsageError, match="named twice"):
        study.ensemble([small_run, small_run / ".." / small_run.name])
    with pytest.raises(RunError, match="no run here"):
        study.ensemble([small_run, tmp_path])
    judged = copy("judged", run=lambda facts: facts | {"kind": "judged"})
    with pytest.raises(RunError, match="made elsewhere; there is no calibration slice"):
        study.ensemble([small_run, judged])
    cut = copy("cut")
    (cut / "predictions.parquet").unlink()
    with pytest.raises(RunError, match=r"unfinished \(predictions\.parquet .*resume .*cut"):
        study.ensemble([small_run, cut])
    old = copy("old")
    (old / "calibration_predictions.parquet").unlink()
    with pytest.raises(RunError, match=r"older version made it, run its study\.yaml again"):
        study.ensemble([small_run, old])


def test_impossible_words_are_refused(small_run, gru_run, copy):
    with pytest.raises(UsageError, match="choose one of fitted, equal"):
        study.ensemble([small_run, gru_run], weights="best")
    bare = copy(study=lambda text: text.replace("  - lightgbm\n", "", 1))
    with pytest.raises(UsageError, match="has no LightGBM baseline; join it --without-lightgbm"):
        study.ensemble([bare, small_run])


def test_a_folder_that_holds_something_and_changed_bars_are_refused(small_run, gru_run, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(RunError, match="not empty"):
        study.ensemble([small_run, gru_run], out=tmp_path, bars=small_bars())
    other = small_bars() | {"AAA": _noise_from(small_bars()["AAA"], 0)}
    with pytest.raises(RunError, match="the bars of AAA have changed"):
        study.ensemble([small_run, gru_run], out=tmp_path / "out", bars=other)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_ensemble_that_is_cut_off_leaves_nothing(
    error, small_run, gru_run, tmp_path, monkeypatch
):
    def broken(path):
        assert (path / "metrics.json").exists()
        raise error

    monkeypatch.setattr(_ensembles, "judge", broken)
    with pytest.raises(error):
        study.ensemble([small_run, gru_run], out=tmp_path / "out", bars=small_bars())
    assert list(tmp_path.iterdir()) == []
