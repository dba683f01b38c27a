"""An exported file computes what its bundle computes, or there is no file."""

import functools
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
import torch

from command import call
from drawn import random_bars
from runtime.bundles import CLASSES, NAMES, SET, tiny_bundle
from walkforge import runtime
from walkforge.base import BundleError, digest_of_file
from walkforge.calibration import (
    KINDS,
    calibrator_from_dict,
    fit_calibrator,
)
from walkforge.features import build, feature_set
from walkforge.market import bars_to_frame, past_volatility
from walkforge.models import MODELS, ForecastRow
from walkforge.registry import read_bundle, write_bundle
from walkforge.runtime import (
    _export,
    _export_check,
    _export_graph,
    _export_reading,
    compare_onnx,
    export_onnx,
)
from walkforge.runtime._export_graph import WholeModel
from walkforge.runtime._export_reading import ClassReading
from walkforge.runtime._network import NetworkModel

PAGE = Path(__file__).resolve().parents[2] / "docs" / "runtime.md"
CLASSIFIERS = {
    "mlp, layer norm, temperature": {},
    "mlp, batch norm, platt": {
        "options": {"widths": [9, 7], "norm": "batch", "n_classes": 3},
        "calibrator": "platt",
    },
    "mlp, one bar, isotonic": {
        "options": {"widths": [8], "norm": "none", "n_classes": 3},
        "window_bars": 1,
        "calibrator": "isotonic",
    },
    "gru, none": {
        "name": "gru",
        "options": {"hidden": 5, "n_classes": 3},
        "window_bars": 3,
        "calibrator": "none",
    },
    "gru, three layers, temperature": {
        "name": "gru",
        "options": {"hidden": 5, "layers": 3, "n_classes": 3},
        "window_bars": 3,
    },
    "cnn_lstm, two layers, platt": {
        "name": "cnn_lstm",
        "options": {"channels": [6, 5], "hidden": 4, "layers": 2, "n_classes": 3},
        "window_bars": 4,
        "calibrator": "platt",
    },
}
_FORECAST = {"horizon_bars": 3, "levels": [0.1, 0.5, 0.9], "encoder": [4, 3], "decoder_hidden": 3}
FORECASTERS = {
    "bilstm, decoder of steps": {
        "name": "bilstm",
        "options": _FORECAST,
        "window_bars": 3,
    },
    "bilstm, dense decoder, one way, learned weights": {
        "name": "bilstm",
        "options": _FORECAST
        | {"decoder": "dense", "bidirectional": False, "learned_weights": True},
        "window_bars": 3,
    },
}
CASES = CLASSIFIERS | FORECASTERS


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Return what gives a case's bundle and file; each is exported once."""

    @functools.cache
    def export(case):
        bundle = tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", **CASES[case])
        return bundle, export_onnx(bundle)

    return export


@pytest.fixture(params=CASES)
def case(request, exports):
    """Return a bundle and the file it was exported to."""
    return exports(request.param)


@pytest.fixture(params=CLASSIFIERS)
def classifier(request, exports):
    """Return a bundle that tells classes, and its file."""
    return exports(request.param)


@pytest.fixture(params=FORECASTERS)
def forecaster(request, exports):
    """Return a bundle that forecasts bars, and its file."""
    return exports(request.param)


@pytest.fixture
def exported(exports):
    """Return one bundle and its file, for what does not depend on the family."""
    return exports("mlp, layer norm, temperature")


@pytest.fixture
def bundle(tmp_path):
    """Return a bundle that a test may change, alone in a folder."""
    return tiny_bundle(tmp_path / "alone" / "tiny")


def _windows(bars, window_bars):
    """Return the windows of all bars that have features, and the bars' numbers."""
    table = build(bars, SET)
    rows = [
        row
        for row in range(window_bars - 1, len(bars))
        if table.valid[row - window_bars + 1 : row + 1].all()
    ]
    return np.stack([table.values[row - window_bars + 1 : row + 1] for row in rows]), rows


def _run(path, windows):
    """Return all outputs in order, logits or forecast first."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"features": windows})


def _metadata(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return json.loads(session.get_modelmeta().custom_metadata_map["walkforge"])


def _some_windows(n_rows, window_bars=2):
    shape = (n_rows, window_bars, len(NAMES))
    return np.random.default_rng(1).normal(0.3, 2.0, shape).astype(np.float32)


def test_every_model_is_among_the_cases():
    assert {case.get("name", "mlp") for case in CASES.values()} == set(MODELS)


def _predicted(bundle, path):
    """Return what predict says of real bars, and a file's outputs for the same bars."""
    bars = random_bars(420, seed=8, symbol="AAA", holes_at=(210,))
    predicted = runtime.predict(bundle, bars)
    windows, rows = _windows(bars, read_bundle(bundle).description["window_bars"])
    assert predicted["timestamp"].dt.epoch("ms").to_list() == bars.timestamp[rows].tolist()
    return predicted, _run(path, windows), bars, rows


def test_a_file_says_of_real_windows_what_predict_says(classifier):
    predicted, (logits, probabilities), _, _ = _predicted(*classifier)
    expected = predicted.select([f"logit_{name}" for name in CLASSES]).to_numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)
    expected = predicted.select([f"p_{name}" for name in CLASSES]).to_numpy()
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
    assert np.ptp(probabilities, axis=0).max() > 0.01


def test_a_forecast_in_sigma_gives_the_prices_of_predict_by_the_pages_formula(forecaster):
    predicted, (forecast,), bars, rows = _predicted(*forecaster)
    known = _metadata(forecaster[1])
    sigma = past_volatility(bars, known["forecast"]["volatility_bars"])[rows]
    columns = known["forecast_columns"]
    assert forecast.shape == (len(rows), len(columns))
    shared = [name for name in columns if name in predicted.columns]
    assert {"open_1", "low_3", "band_mid_2", "q_10_1", "q_90_3", "volatility"} <= {*shared}
    for name in shared:
        number = forecast[:, columns.index(name)]
        price = bars.close[rows] * np.exp(sigma * number)
        expected = sigma * np.exp(number) if name == "volatility" else price
        np.testing.assert_allclose(predicted[name], expected, rtol=1e-6, err_msg=name)
    assert np.ptp(forecast, axis=0).max() > 0.01


def test_a_batch_says_of_a_row_what_the_row_alone_says(case):
    bundle, path = case
    windows = _some_windows(9, read_bundle(bundle).description["window_bars"])
    together = _run(path, windows)
    for row in range(9):
        alone = _run(path, windows[row : row + 1])
        for many, one in zip(together, alone, strict=True):
            np.testing.assert_allclose(many[row], one[0], rtol=0, atol=1e-6)


def test_probabilities_are_those_of_the_calibrator_and_sum_to_one(classifier):
    bundle, path = classifier
    described = read_bundle(bundle).description
    logits, probabilities = _run(path, _some_windows(200, described["window_bars"]))
    expected = calibrator_from_dict(described["calibrator"]).apply(logits)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)


def test_the_difference_that_is_found_is_rounding(case):
    bundle, path = case
    found = compare_onnx(path, bundle)
    answers = ["logits", "calibration", "probabilities"]
    assert list(found) in (answers, ["forecast"])
    assert all(0.0 <= value < 1e-5 for value in found.values()), found


def test_every_feature_has_its_own_place(exported):
    _, path = exported
    windows = _some_windows(20)
    before = _run(path, windows)[0]
    for column in range(len(NAMES) - 1):
        swapped = windows.copy()
        swapped[..., [column, column + 1]] = windows[..., [column + 1, column]]
        assert np.abs(_run(path, swapped)[0] - before).max() > 1e-3, NAMES[column]
    assert np.abs(_run(path, windows[:, ::-1].copy())[0] - before).max() > 1e-3


def test_far_beyond_the_clip_nothing_moves_any_more(exported):
    bundle, path = exported
    scaler = read_bundle(bundle).description["scaler"]
    center, scale = np.array(scaler["center"]), np.array(scaler["scale"])
    far = [
        np.broadcast_to(center + way * scale, (1, 2, len(NAMES))).astype(np.float32)
        for way in (9.0, 11.0, 1e9)
    ]
    inside, beyond, further = (_run(path, windows)[0] for windows in far)
    np.testing.assert_array_equal(beyond, further)
    assert np.abs(inside - beyond).max() > 1e-3


def test_a_hole_in_the_features_comes_out_as_nan_and_stays_in_its_row(case):
    bundle, path = case
    windows = _some_windows(3, read_bundle(bundle).description["window_bars"])
    clean = _run(path, windows)
    windows[1, 0, 5] = np.nan
    for broken, whole in zip(_run(path, windows), clean, strict=True):
        assert np.isnan(broken[1]).all()
        np.testing.assert_allclose(broken[[0, 2]], whole[[0, 2]], rtol=0, atol=1e-6)


def test_the_metadata_holds_what_a_graph_cannot_say(exported):
    bundle, path = exported
    described, found = read_bundle(bundle).description, _metadata(path)
    assert found["features"] == NAMES
    assert list(found["formulas"]) == NAMES
    for key in ("feature_set", "window_bars", "classes", "symbols", "timeframe", "calendar",
                "label", "trained", "model"):  # fmt: skip
        assert found[key] == described[key]
    assert (found["scaler"], found["calibrator"]) == ("robust", "temperature")
    assert found["look_back_bars"] == feature_set(SET).look_back_bars + 2
    assert found["manifest_sha256"] == digest_of_file(bundle / "manifest.json")
    assert found["exported_by"] == "0.1.0"


def test_the_file_is_one_sound_graph_with_a_free_number_of_rows(case):
    bundle, path = case
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert [entry.domain for entry in proto.opset_import] == [""]
    rows, *fixed = proto.graph.input[0].type.tensor_type.shape.dim
    assert rows.dim_param == "rows"
    assert [axis.dim_value for axis in fixed] == [
        read_bundle(bundle).description["window_bars"],
        len(NAMES),
    ]
    outputs = [output.name for output in proto.graph.output]
    assert outputs in (["logits", "probabilities"], ["forecast"])
    assert [entry.name for entry in path.parent.iterdir() if entry != bundle] == [path.name]


def test_nothing_of_the_machine_stands_in_the_file(exported):
    _, path = exported
    content = path.read_bytes()
    for place in (b"site-packages", os.fsencode(Path.cwd()), os.fsencode(path.parent)):
        assert place not in content


def _logits(n_classes, n_rows=400, seed=4):
    return 3.0 * np.random.default_rng(seed).normal(size=(n_rows, n_classes))


def _fitted(kind, n_classes, missing=None):
    logits = _logits(n_classes)
    labels = (logits + np.random.default_rng(5).gumbel(size=logits.shape)).argmax(axis=1)
    if missing is not None:
        labels[labels == missing] = (missing + 1) % n_classes
    return fit_calibrator(kind, logits, labels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_classes", "missing"), [(2, None), (3, None), (3, 1), (5, 4)])
def test_every_calibrator_is_the_same_in_the_graph(kind, n_classes, missing):
    fitted = _fitted(kind, n_classes, missing)
    logits = np.concatenate([
        _logits(n_classes, seed=6), 100.0 * _logits(n_classes, seed=7), np.zeros((1, n_classes)),
        _logits(n_classes),  # the very points of an isotonic curve
    ])  # fmt: skip
    logits[3, 0], logits[4, 1], logits[5, 0] = np.nan, np.inf, -np.inf
    with torch.no_grad():
        same, found = ClassReading(fitted.as_dict())(torch.from_numpy(logits))
    np.testing.assert_array_equal(same, logits)
    found = found.numpy()
    np.testing.assert_allclose(found, fitted.apply(logits), rtol=0, atol=2e-7)
    assert np.isnan(found[3:6]).all()
    assert np.isfinite(np.delete(found, [3, 4, 5], axis=0)).all()


@pytest.mark.parametrize(
    "curve",
    [
        {"log_odds": [0.5], "share": [0.3]},
        {"log_odds": [-1.0, 0.0, 2.0], "share": [0.1, 0.3, 0.8]},
    ],
    ids=["one point", "steep to its ends"],
)
def test_an_isotonic_curve_is_flat_outside_its_points_in_the_graph_too(curve):
    described = {"kind": "isotonic", "n_classes": 2, "n_rows": 200, "note": "", "floor": 0.005,
                 "curves": [curve, None]}  # fmt: skip
    logits = _logits(2)
    _, found = ClassReading(described)(torch.from_numpy(logits))
    expected = calibrator_from_dict(described).apply(logits)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7)
    assert np.ptp(logits[:, 0] - logits[:, 1]) > 10.0


def test_a_forecasts_quantiles_come_with_the_spread_that_calibration_found(forecaster):
    bundle, path = forecaster
    described = read_bundle(bundle).description
    network = NetworkModel(read_bundle(bundle))
    windows = _some_windows(20, window_bars=3)
    raw = network.outputs(windows.reshape(-1, len(NAMES)), np.arange(2, 60, 3))
    found, known = ForecastRow(3, (0.1, 0.5, 0.9)).split(_run(path, windows)[0]), _metadata(path)
    raw = ForecastRow(3, (0.1, 0.5, 0.9)).split(raw)
    for name in ("ohlc", "band", "volatility"):
        np.testing.assert_allclose(found[name], raw[name], rtol=1e-5, atol=1e-5)
    middle = raw["quantiles"][..., 1:2]
    factors = np.array([0.7, 1.3, 1.9])[:, None]
    expected = middle + factors * (raw["quantiles"] - middle)
    np.testing.assert_allclose(found["quantiles"], expected, rtol=1e-5, atol=1e-5)
    # What needs the volatility stays outside, whole.
    assert known["forecast"] == described["forecast"]
    assert known["calibrator"] == described["calibrator"]


def _without_the_clip(monkeypatch):
    monkeypatch.setattr(_export_graph, "CLIP", 1e9)


def _with_the_first_two_columns_swapped(monkeypatch):
    def changed(self, features):
        order = [1, 0, *range(2, features.shape[2])]
        return forward(self, features[..., order])

    forward = WholeModel.forward
    monkeypatch.setattr(WholeModel, "forward", changed)


def _with_zeros_for_holes(monkeypatch):
    def changed(self, features):
        return forward(self, features.nan_to_num())

    forward = WholeModel.forward
    monkeypatch.setattr(WholeModel, "forward", changed)


def _with_another_temperature(monkeypatch):
    def changed(described):
        return softmax(1.001 * described["temperature"])

    softmax = _export_reading._Softmax
    monkeypatch.setitem(_export_reading._MODULES, "temperature", changed)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_without_the_clip, "logits"),
        (_with_the_first_two_columns_swapped, "logits"),
        (_with_zeros_for_holes, "logits"),
        (_with_another_temperature, "probabilities|calibration"),
    ],
)
def test_a_graph_that_computes_something_else_is_refused_and_leaves_no_file(
    bundle, monkeypatch, change, word
):
    change(monkeypatch)
    with pytest.raises(BundleError, match=rf"({word}) differ by up to ([\d.e+-]+|inf), .* no file"):
        export_onnx(bundle)
    assert list(bundle.parent.iterdir()) == [bundle]


def test_an_interrupted_export_leaves_the_older_file_as_it_was(bundle, monkeypatch):
    target = bundle.parent / "mine.onnx"
    target.write_bytes(b"older")

    def interrupted(path, predictor):
        assert path.stat().st_size > 1000, "the new file is there, under another name"
        raise KeyboardInterrupt

    monkeypatch.setattr(_export, "largest_differences", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_onnx(bundle, target)
    assert target.read_bytes() == b"older"
    assert sorted(bundle.parent.iterdir()) == [target, bundle]


def test_a_killed_export_leaves_nothing_under_the_files_name(bundle):
    lines = [
        "import os, signal, sys, pathlib",
        "from walkforge.runtime import _export",
        "_export.largest_differences = lambda *_: os.kill(os.getpid(), signal.SIGKILL)",
        "_export.export_onnx(pathlib.Path(sys.argv[1]))",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines), bundle], check=False)
    assert done.returncode == -9
    assert not bundle.with_name("tiny.onnx").exists()
    assert [path.suffix for path in bundle.parent.iterdir() if path != bundle] == [".part"]


def test_a_damaged_bundle_is_refused_and_leaves_no_file(bundle):
    weights = bundle / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(BundleError, match="was changed or cut off"):
        export_onnx(bundle)
    assert list(bundle.parent.iterdir()) == [bundle]


@pytest.mark.parametrize("names", [NAMES[::-1], NAMES[:-1]], ids=["order", "count"])
def test_a_bundle_of_other_features_is_refused_with_both_lists(bundle, names):
    read = read_bundle(bundle)
    write_bundle(bundle, {**read.description, "features": names}, read.weights)
    with pytest.raises(BundleError) as refused:
        export_onnx(bundle)
    assert ", ".join(names) in str(refused.value)
    assert ", ".join(NAMES) in str(refused.value)


def test_a_bundle_that_is_not_one_network_is_refused_with_those_that_are(bundle):
    read = read_bundle(bundle)
    write_bundle(bundle, {**read.description, "model": {"name": "forest"}}, read.weights)
    with pytest.raises(BundleError, match=r"its model is forest; .* mlp, gru, cnn_lstm, bilstm"):
        export_onnx(bundle)


def test_a_package_that_is_missing_is_named_with_the_way_to_install_it(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(BundleError, match=r"needs onnxscript.*pip install onnx onnxscript onnxru"):
        export_onnx(bundle)


def test_a_place_that_cannot_be_written_is_refused_before_the_work(bundle, monkeypatch):
    monkeypatch.setattr(_export, "_proto_of", lambda _: pytest.fail("the work was begun"))
    with pytest.raises(BundleError, match="is a folder; name a file"):
        export_onnx(bundle, bundle)
    below_a_file = bundle / "bundle.json" / "sub" / "x.onnx"
    with pytest.raises(BundleError, match=r"bundle\.json is no folder"):
        export_onnx(bundle, below_a_file)


def test_a_disk_that_is_full_is_one_line(bundle, monkeypatch):
    def full(path, predictor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_export, "_refuse_differences", full)
    with pytest.raises(BundleError, match=r"tiny\.onnx: cannot be written \(No space left"):
        export_onnx(bundle)
    assert list(bundle.parent.iterdir()) == [bundle]


def test_without_a_name_the_file_lies_beside_the_bundle(bundle, monkeypatch):
    monkeypatch.chdir(bundle)
    for named in (Path(), bundle, Path("..") / bundle.name, bundle / "x" / ".."):
        assert _export._beside(named).resolve() == bundle.with_name("tiny.onnx")
    dotted = bundle.with_name("BTC.P_fold0")
    assert _export._beside(dotted) == bundle.with_name("BTC.P_fold0.onnx")


def test_a_difference_where_one_says_nan_and_the_other_does_not_is_no_rounding():
    nan, one = np.array([[np.nan]]), np.array([[1.0]])
    assert _export_check._largest(nan, nan) == 0.0
    assert math.isinf(_export_check._largest(nan, one))
    assert math.isinf(_export_check._largest(one, nan))


def test_a_file_is_not_compared_with_a_bundle_it_was_not_made_from(exported, tmp_path):
    _, path = exported
    other = tiny_bundle(tmp_path / "other", window_bars=1)
    with pytest.raises(BundleError, match=r"tiny\.onnx: ONNX Runtime cannot run it"):
        compare_onnx(path, other)
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"no\.onnx: ONNX Runtime cannot run it"):
        compare_onnx(tmp_path / "no.onnx", other)
    with pytest.raises(BundleError, match="no such file"):
        compare_onnx(tmp_path / "none.onnx", other)


def test_the_command_prints_the_differences_and_last_the_path(exported, tmp_path):
    bundle, path = exported
    target = tmp_path / "new" / "mine.onnx"
    status, out, err = call("export", str(bundle), "--onnx", "--out", str(target))
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == str(target)
    assert re.search(r"logits \d\.\de-\d\d, calibration \d\.\de-\d\d, probabilities \d\.\d", out)
    assert target.read_bytes() == path.read_bytes(), "the same bundle gives the same file"


def test_the_command_prints_data_for_programs(bundle):
    status, out, err = call("export", str(bundle), "--onnx", "--json")
    assert (status, err) == (0, "")
    data = json.loads(out)
    assert data["onnx"] == str(bundle.with_name("tiny.onnx"))
    assert Path(data["onnx"]).is_file()
    assert data["differences"].keys() == {"logits", "calibration", "probabilities"}
    assert max(data["differences"].values()) < 1e-5


def test_the_command_names_the_formats_when_none_is_named(bundle):
    status, out, err = call("export", str(bundle))
    assert (status, out) == (2, "")
    assert "choose one of --onnx" in err
    status, out, err = call("export", str(bundle), "--onxx")
    assert (status, out) == (2, "")
    assert "--onxx" in err


def test_the_command_answers_a_missing_bundle_with_one_line(tmp_path):
    status, out, err = call("export", str(tmp_path / "none"), "--onnx")
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "no bundle here" in err


def test_the_example_of_the_page_runs_and_says_what_predict_says(exported, tmp_path, monkeypatch):
    bundle, path = exported
    bars = random_bars(300, seed=9, symbol="AAA")
    monkeypatch.chdir(tmp_path)
    Path("model.onnx").write_bytes(path.read_bytes())
    folder = tmp_path / "bars" / "AAA"
    folder.mkdir(parents=True)
    bars_to_frame(bars).write_parquet(folder / "1m.parquet")
    example = re.search(r"```python\n(import .+?)```", PAGE.read_text(), flags=re.DOTALL)
    names: dict = {}
    exec(compile(example[1], PAGE.name, "exec"), names)
    expected = runtime.predict(bundle, bars)
    assert len(names["probabilities"]) == len(expected) > 50
    columns = pl.DataFrame(names["probabilities"], schema=[f"p_{name}" for name in CLASSES])
    np.testing.assert_allclose(
        columns.to_numpy(), expected.select(columns.columns).to_numpy(), rtol=0, atol=1e-5
    )
