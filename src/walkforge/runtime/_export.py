"""A bundle as one ONNX file, for programs that know nothing of Walkforge."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from walkforge import __version__
from walkforge.base import BundleError, atomic_path, digest_of_file, json_text
from walkforge.features import CLIP, feature_set
from walkforge.registry import read_bundle

from ._export_check import LIMIT, largest_differences
from ._network import NetworkModel

if TYPE_CHECKING:
    from ._export_reading import ClassReading, ForecastReading

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_METADATA_KEY = "walkforge"
_INPUT_WORDS = "raw features, not scaled: rows, bars with the oldest first, columns as in metadata"


def export_onnx(bundle: Path, out: Path | None = None) -> Path:
    """Write a bundle as one ONNX file and return its path; BUNDLE.onnx beside it if not named.

    Input `features` float32 [rows, window_bars, features], raw and not scaled; outputs `logits`
    and calibrated `probabilities` float32 [rows, classes], or `forecast` of a forecaster. Scaler,
    clip and calibrator are in the graph; what a graph cannot say stands as JSON in its metadata
    under `walkforge`. A window with a NaN comes out as NaN.

    The file is compared with the bundle in ONNX Runtime before it takes its name. Raises
    BundleError for a difference above 1e-5, a bundle that `predict` would refuse or that is not
    one network (trees, an ensemble), a place that cannot be written and packages that are
    missing; then there is no file, or the older one.
    """
    _refuse_missing_packages()
    predictor = _network_in(bundle)
    target = out or _beside(bundle)
    _refuse_place(target)
    proto = _proto_of(predictor)
    try:
        with atomic_path(target) as temporary:
            temporary.write_bytes(proto.SerializeToString(deterministic=True))
            _refuse_differences(temporary, predictor)
    except OSError as error:
        raise BundleError(f"{target}: cannot be written ({error.strerror})") from None
    return target


def compare_onnx(onnx: Path, bundle: Path) -> dict[str, float]:
    """Return the largest differences of an exported file from its bundle, on the probing rows.

    Keys `logits`, `calibration` and `probabilities`, or `forecast`; see `docs/runtime.md`.
    Raises BundleError where file or bundle cannot be read or do not belong together.
    """
    _refuse_missing_packages()
    if not onnx.is_file():
        raise BundleError(f"{onnx}: no such file; write it with walkforge export {bundle} --onnx")
    return largest_differences(onnx, _network_in(bundle))


def _network_in(folder: Path) -> NetworkModel:
    from walkforge.models import MODELS

    bundle = read_bundle(folder)
    name = bundle.description["model"]["name"]
    if name == "marketgpt":
        raise BundleError(
            f"{folder}: its model is marketgpt, which reads the tokens of bars, not features, and "
            "is asked many times for one answer where it samples paths: no single ONNX graph; use "
            "walkforge predict"
        )
    if name not in MODELS and name != "own":
        raise BundleError(
            f"{folder}: its model is {name}; ONNX files are made of one network, "
            f"of {', '.join(MODELS)} or one's own"
        )
    return NetworkModel(bundle)


def _proto_of(predictor: NetworkModel) -> Any:
    from walkforge.models import extract_twin

    from ._export_graph import WholeModel, build_graph

    network = extract_twin(predictor.architecture, predictor.bundle.weights)
    model = WholeModel(network, predictor.scaler, _reading_of(predictor))
    proto = build_graph(model, window_bars=predictor.window_bars)
    proto.producer_name, proto.producer_version = "walkforge", __version__
    proto.graph.name = predictor.bundle.description["model"]["name"]
    proto.graph.input[0].doc_string = _INPUT_WORDS
    proto.metadata_props.add(key=_METADATA_KEY, value=json_text(_metadata(predictor)))
    return proto


def _reading_of(predictor: NetworkModel) -> "ClassReading | ForecastReading":
    from ._export_reading import ClassReading, ForecastReading

    reader = predictor.forecast_reader
    if reader is None:
        return ClassReading(predictor.calibrator.as_dict())
    return ForecastReading(reader.row, reader.classes)


def _metadata(predictor: NetworkModel) -> dict[str, Any]:
    """Return bundle.json, less the numbers that are in the graph, and what makes the features."""
    described, reader = predictor.bundle.description, predictor.forecast_reader
    own = described.get("own", {}).get("features")
    columns = () if own is not None else feature_set(described["feature_set"]).columns
    facts = {
        **described,
        "scaler": described["scaler"]["kind"],
        "clip": CLIP,
        "look_back_bars": predictor.look_back_bars,
        "formulas": {column.name: column.formula for column in columns},
        "exported_by": __version__,
        "bundle": predictor.bundle.folder.resolve().name,
        "manifest_sha256": digest_of_file(predictor.bundle.folder / "manifest.json"),
    }
    if reader is None:
        return facts | {"calibrator": described["calibrator"]["kind"]}
    # A forecaster's classes need the volatility, which is no feature: their rule stays in words.
    return facts | {"forecast_columns": list(reader.row.names)}


def _refuse_differences(path: Path, predictor: NetworkModel) -> None:
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        why = str(error).strip().split("\n", 1)[0]
        raise BundleError(f"{predictor.bundle.folder}: its graph is not sound ({why})") from None
    differences = largest_differences(path, predictor)
    # Between two points that lie close together an isotonic curve is as steep as a step. There
    # the last digit of a logit moves a probability, in the bundle as in the file.
    if predictor.calibrator.as_dict()["kind"] == "isotonic":
        differences.pop("probabilities", None)
    worst = max(differences, key=lambda name: differences[name])
    if differences[worst] > LIMIT:
        raise BundleError(
            f"{predictor.bundle.folder}: in ONNX Runtime its {worst} differ by up to "
            f"{differences[worst]:.1e}, at most {LIMIT:.0e} is rounding; no file was written"
        )


def _beside(bundle: Path) -> Path:
    named = bundle if bundle.name not in ("", "..") else bundle.resolve()
    return named.with_name(f"{named.name}.onnx")


def _refuse_place(target: Path) -> None:
    """Say so before the work where a file cannot be written."""
    if target.is_dir():
        raise BundleError(f"{target}: is a folder; name a file with --out")
    there = next(folder for folder in target.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "cannot be written" if there.is_dir() else "is no folder"
        raise BundleError(f"{target}: {there} {why}; name another place with --out")


def _refuse_missing_packages() -> None:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise BundleError(
            f"ONNX needs {', '.join(missing)}, not installed here; "
            f"pip install {' '.join(_PACKAGES)}"
        )
