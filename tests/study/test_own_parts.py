"""A study with the user's own features, labels and model: guarded, kept, and predicted alike."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from own_parts import CHEATING, EXAMPLES, FEATURES, LABELS, MODEL, written
from study_runs import small_bars, small_study
from walkforge import runtime, study
from walkforge.base import (
    BundleError,
    FeatureError,
    LabelError,
    RunError,
    Silent,
    StudyError,
    TrainingError,
    UsageError,
    digest_of_file,
)
from walkforge.market import noise_after
from walkforge.study._ensemble_runs import JoinedRun, _label_rule, _own_labels
from walkforge.study._folder import RunFolder
from walkforge.study._own import own_facts
from walkforge.study._prepare import prepare

SMALL = ["judge.baselines=[prior, lightgbm]", "training.epochs=2", "features.window_bars=2"]


class Notes(Silent):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


def _own_study(folder, *more):
    return small_study(
        f"features.own={written(folder, 'my_features.py', FEATURES)}",
        f"labels.own={written(folder, 'my_labels.py', LABELS)}",
        "model.name=own",
        f"model.own={written(folder, 'my_model.py', MODEL)}",
        *SMALL,
        *more,
    )


@pytest.fixture(scope="module")
def own_run(tmp_path_factory):
    """Return the folder of the files, the run, and what it said."""
    folder, watcher = tmp_path_factory.mktemp("own"), Notes()
    made = study.run(_own_study(folder), folder / "run", bars=small_bars(), watcher=watcher)
    return folder, made, watcher.said


def test_a_run_says_that_its_parts_were_guarded(own_run):
    _, _, said = own_run
    text = "\n".join(said)
    assert "features of my_features.py:make: none of 2 columns looks ahead at 5 random" in text
    assert "cuts of AAA, BBB; their values settle after 2 bars" in text
    assert "labels of my_labels.py:make: known when they say so at 5 random cuts of" in text
    assert "model of my_model.py:make: rows and members do not see each other" in text


def test_a_run_keeps_the_digests_and_copies_of_its_parts(own_run):
    folder, made, _ = own_run
    own = json.loads((made / "run.json").read_text())["own"]
    assert own.keys() == {"features", "labels", "model"}
    for name, one in own.items():
        path = folder / f"my_{name}.py"
        assert one["own"] == f"{path}:make"
        assert one["sha256"] == digest_of_file(path)
        assert (made / "own" / name / path.name).read_bytes() == path.read_bytes()
    assert own["features"]["look_back_bars"] == 2
    bundle = json.loads((made / "models" / "AAA_fold0_seed0" / "bundle.json").read_text())
    assert bundle["own"] == own
    assert bundle["features"] == ["change", "body"]


@pytest.mark.parametrize("kind", ["seed0", "ensemble", "lightgbm"])
def test_bundles_predict_what_the_run_predicted(own_run, kind):
    _, made, _ = own_run
    found = runtime.predict(made / "models" / f"AAA_fold0_{kind}", small_bars()["AAA"])
    assert len(found) > 2000
    assert np.isfinite(found["p_up"].to_numpy()).all()
    if kind == "seed0":
        said = pl.read_parquet(made / "predictions.parquet").filter(symbol="AAA", fold=0, seed=0)
        both = said.join(found, on="timestamp")
        assert len(both) == len(said)
        np.testing.assert_allclose(both["p_up"], both["p_up_right"], rtol=0, atol=1e-6)


def test_the_newest_prediction_is_the_same_asked_alone(own_run):
    _, made, _ = own_run
    bundle, bars = made / "models" / "AAA_fold0_seed0", small_bars()["AAA"]
    whole, last = runtime.predict(bundle, bars), runtime.predict(bundle, bars, last=1)
    assert last.row(0)[:2] == whole.row(-1)[:2]
    np.testing.assert_allclose(last.row(0)[2:], whole.row(-1)[2:], rtol=0, atol=1e-6)


def test_a_model_of_ones_own_goes_into_an_onnx_file(own_run, tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    _, made, _ = own_run
    bundle = made / "models" / "AAA_fold0_seed0"
    path = runtime.export_onnx(bundle, tmp_path / "own.onnx")
    assert max(runtime.compare_onnx(path, bundle).values()) < 1e-5


def test_a_prediction_with_a_changed_or_missing_file_is_refused(own_run, tmp_path, monkeypatch):
    folder, made, _ = own_run
    bundle, bars = made / "models" / "AAA_fold0_seed0", small_bars()["AAA"]
    path = folder / "my_features.py"
    source = path.read_bytes()
    try:
        path.write_bytes(source + b"\n# looked harmless\n")
        with pytest.raises(BundleError, match=r"my_features.py: has changed since .* was trained"):
            runtime.predict(bundle, bars)
        path.unlink()
        with pytest.raises(BundleError, match=r"needs my_features.py:make, and .* is not there"):
            runtime.predict(bundle, bars)
        shutil.copy(made / "own" / "features" / "my_features.py", tmp_path)
        monkeypatch.chdir(tmp_path)
        assert len(runtime.predict(bundle, bars, last=2)) == 2
    finally:
        path.write_bytes(source)


def test_a_resumed_run_with_a_changed_file_is_refused_in_one_line(own_run, tmp_path):
    folder, made, _ = own_run
    shutil.copytree(made, tmp_path / "run")
    path = folder / "my_labels.py"
    source = path.read_bytes()
    try:
        path.write_bytes(source + b"\n")
        with pytest.raises(RunError, match=r"my_labels.py has changed since the run began \(SHA-"):
            study.resume(tmp_path / "run")
    finally:
        path.write_bytes(source)


@pytest.mark.parametrize("cheat", CHEATING, ids=lambda make: make.__name__)
def test_features_that_look_ahead_are_refused_before_anything_is_learned(cheat, tmp_path):
    own = written(tmp_path, "cheat.py", f"from own_parts import {cheat.__name__} as make\n")
    expected = r"cheat.py:make: \w+ looks ahead: for the bar of 2024-01-0\d .* of drawn/[AB]+/1m "
    with pytest.raises(FeatureError, match=expected + "it is .*, and .* when the bars after"):
        prepare(small_bars(), small_study(f"features.own={own}"))


def test_a_refused_run_leaves_nothing_behind(tmp_path):
    own = written(tmp_path, "cheat.py", "from own_parts import shifted as make\n")
    with pytest.raises(FeatureError, match="looks ahead"):
        study.run(small_study(f"features.own={own}"), tmp_path / "run", bars=small_bars())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("cheat", ["early_move", "rank_of_move", "only_winners"])
def test_labels_known_too_early_are_refused(cheat, tmp_path):
    own = written(tmp_path, "cheat.py", f"from own_parts import {cheat} as make\n")
    with pytest.raises(LabelError, match=r"cheat.py:make: a label claims to be known too early"):
        prepare(small_bars(), small_study(f"labels.own={own}"))


def test_a_model_whose_rows_see_each_other_is_refused(tmp_path):
    source = MODEL.replace("nn.Tanh()", "nn.Tanh(), Centred()") + (
        "class Centred(nn.Module):\n    def forward(self, x):\n        return x - x.mean(dim=0)\n"
    )
    own = written(tmp_path, "model.py", source)
    with pytest.raises(TrainingError, match=r"model.py:make: .* no row may see another"):
        prepare(small_bars(), small_study("model.name=own", f"model.own={own}"))


def test_targets_are_known_as_targets_and_never_flagged(tmp_path):
    """Labels look ahead, that is what they are for; the same numbers as features are refused."""
    source = LABELS + "def feature(bars):\n    return {'target': make(bars)[0]}\n"
    own = written(tmp_path, "both.py", source)
    prepared = prepare(small_bars(), small_study(f"labels.own={own}"))
    assert prepared.own.keys() == {"labels"}
    with pytest.raises(FeatureError, match="target looks ahead"):
        prepare(small_bars(), small_study(f"features.own={own.replace(':make', ':feature')}"))


def test_noise_after_the_training_slice_changes_nothing_that_is_learned_on_it(tmp_path):
    plan, bars = _own_study(tmp_path), small_bars()
    clean = prepare(bars, plan)
    edge = clean.parts[0].fold.train.to_ms
    dirty = prepare(
        {
            name: noise_after(one, int((one.closes_at < edge).sum()), seed=1)
            for name, one in bars.items()
        },
        plan,
    )
    for before, after in zip(clean.parts, dirty.parts, strict=True):
        if before.fold.index == 0:
            assert before.limits == after.limits
            assert before.scaler.as_dict() == after.scaler.as_dict()
            np.testing.assert_array_equal(before.rows.train, after.rows.train)
            train = before.rows.train
            np.testing.assert_array_equal(before.labels[train], after.labels[train])
            values = [one.series[before.series].values[train] for one in (clean, dirty)]
            np.testing.assert_array_equal(*values)


def test_own_parts_that_do_what_the_built_in_ones_do_give_their_rows(tmp_path):
    own = written(
        tmp_path,
        "same.py",
        "import numpy as np\nfrom walkforge import features, labels\n"
        "def make(bars):\n    table = features.build(bars, 'gru')\n"
        "    values = np.where(table.valid[:, None], table.values, np.nan)\n"
        "    return dict(zip(table.columns, values.T))\n"
        "def outcomes(bars):\n"
        "    rule = labels.LabelRule(kind='quantile', horizon_bars=3)\n"
        "    return labels.outcomes(bars, rule)\n",
    )
    built = prepare(small_bars(), small_study())
    labels = own.replace(":make", ":outcomes")
    made = prepare(small_bars(), small_study(f"features.own={own}", f"labels.own={labels}"))
    assert made.columns == built.columns
    np.testing.assert_array_equal(made.table, built.table)
    for one, other in zip(made.parts, built.parts, strict=True):
        assert one.limits == other.limits
        for piece in ("train", "validation", "calibration", "test"):
            np.testing.assert_array_equal(getattr(one.rows, piece), getattr(other.rows, piece))
        np.testing.assert_array_equal(one.labels, other.labels)


def test_the_examples_of_the_documentation_pass_the_guard():
    plan = small_study(
        f"features.own={EXAMPLES / 'my_features.py'}:make",
        f"labels.own={EXAMPLES / 'my_labels.py'}:make",
        "labels.kind=threshold",
        "model.name=own",
        f"model.own={EXAMPLES / 'my_model.py'}:make",
    )
    prepared = prepare(small_bars(), plan)
    assert prepared.columns == ("change_1", "trend_50", "place_20", "unrest", "hour_sin")
    assert 150 < prepared.own["features"]["look_back_bars"] < 250
    assert len(np.unique(prepared.parts[0].labels)) >= 3


def test_columns_that_never_settle_are_said(tmp_path):
    own = written(tmp_path, "sums.py", "from own_parts import expanding as make\n")
    said = []
    prepared = prepare(small_bars(), small_study(f"features.own={own}"), note=said.append)
    assert prepared.own["features"]["unsettled"] == ["mean_so_far"]
    assert any("warning: mean_so_far of sums.py:make did not settle" in line for line in said)


def test_paths_are_relative_to_the_study_file_and_those_of_overrides_to_where_one_is(
    tmp_path, monkeypatch
):
    (tmp_path / "study").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "study" / "mine.yaml").write_text("features: {own: parts/mine.py:make}\n")
    plan = study.load(tmp_path / "study" / "mine.yaml", ["labels.own=mine.py:labels"])
    assert plan.features.own == f"{tmp_path}/study/parts/mine.py:make"
    assert plan.labels.own == f"{tmp_path}/here/mine.py:labels"
    (tmp_path / "again.yaml").write_text(study.as_yaml(plan))
    assert study.load(tmp_path / "again.yaml") == plan


def test_nothing_is_run_until_a_run_needs_it(tmp_path):
    own = written(tmp_path, "loud.py", "raise RuntimeError('was run')\n")
    plan = small_study(f"features.own={own}")
    with pytest.raises(FeatureError, match=r"loud.py:1: loud.py cannot be loaded: .*was run"):
        study.run(plan, tmp_path / "run", bars=small_bars())
    assert not (tmp_path / "run").exists()


def test_a_part_that_is_not_there_is_refused_before_the_run_begins(tmp_path):
    plan = small_study(f"model.own={tmp_path}/gone.py:make", "model.name=own")
    with pytest.raises(UsageError, match=r"model.own: .*gone.py: No such file"):
        study.run(plan, tmp_path / "run", bars=small_bars())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["features.own=make"], r"features.own is 'make'; expected a Python file and a function"),
        (["labels.own=a.py:b", "labels.kind=volatility"], "labels.kind is volatility, which makes"),
        (["model.name=own"], "model.name is own and model.own is None; a user's model needs"),
        (["model.own=a.py:b"], r"model.name is mlp and model.own is .*a.py:b; a user's model"),
        (["model.name=bilstm", "labels.own=a.py:b"], "labels.own tells classes of its own"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_study(overrides, expected):
    with pytest.raises(StudyError, match=expected):
        small_study(*overrides)


def test_a_search_takes_own_parts_and_refuses_changed_ones(tmp_path):
    space = "tune.space={training.learning_rate: {low: 1.0e-4, high: 1.0e-2}}"
    plan = _own_study(tmp_path, "training.epochs=1", "tune.trials=2", space)
    folder = study.tune(plan, tmp_path / "search", bars=small_bars())
    assert [one.state for one in study.read_trials(folder)] == ["complete"] * 2
    Path(tmp_path / "my_model.py").write_text(MODEL.replace("Tanh", "ReLU"))
    with pytest.raises(RunError, match=r"my_model.py has changed since the run began"):
        study.resume_tuning(folder, trials=4)


def test_labels_of_other_files_cannot_be_joined_and_of_the_same_file_elsewhere_can(tmp_path):
    runs = []
    for name, source in (("a", LABELS), ("b", LABELS), ("c", LABELS + "# other\n")):
        (tmp_path / name).mkdir()
        plan = small_study(f"labels.own={written(tmp_path / name, 'my_labels.py', source)}")
        folder = RunFolder.create(tmp_path / name / "run", study.as_yaml(plan), own_facts(plan))
        runs.append(JoinedRun(name, name, folder, plan, {}))
    first, moved, other = runs
    assert _label_rule(moved.study) == _label_rule(first.study)
    assert _own_labels(moved) == _own_labels(first)
    assert _own_labels(other) != _own_labels(first)
