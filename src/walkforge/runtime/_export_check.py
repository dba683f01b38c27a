"""Whether an exported file computes what its bundle computes.

Shapes: R rows, T bars in the window, F features, K numbers of an answer, H steps ahead,
Q quantiles
"""

from pathlib import Path
from typing import Any

import numpy as np

from walkforge.base import BundleError, FloatArray
from walkforge.features import Scaler

from ._network import NetworkModel

LIMIT = 1e-5
"""Larger differences are no rounding; such a file is not written."""

_ROWS_AT_ONCE = (1, 7)  # beside all of them, so that no number of rows is built in
_FAR = np.float32(1e30)


def largest_differences(path: Path, predictor: NetworkModel) -> dict[str, float]:
    """Return the largest difference per output between a file and the bundle it was made from.

    `logits` (or `forecast`) relative to the row's largest value, where that is above 1: what is
    left over when large numbers cancel is rounding. `calibration`: the file's probabilities from
    those that the calibrator makes of the file's own logits. `probabilities`: from the bundle's,
    the whole way. Infinite where one is NaN and the other is not.
    Raises BundleError where ONNX Runtime cannot run the file on such rows.
    """
    rows_RTF = probing_rows(predictor.scaler, predictor.window_bars)
    expected_RK = _answers(predictor, rows_RTF)
    largest: dict[str, float] = {}
    session = _session(path)
    for n_rows in (*_ROWS_AT_ONCE, len(rows_RTF)):
        found = _run(path, session, rows_RTF[:n_rows])
        _refuse_other_shapes(path, found, expected_RK[:n_rows])
        for name, difference in _differences(found, expected_RK[:n_rows], predictor).items():
            largest[name] = max(difference, largest.get(name, 0.0))
    return largest


def probing_rows(scaler: Scaler, window_bars: int) -> np.ndarray:
    """Return raw windows (R, T, F) float32: ordinary ones, every extreme, and one with a hole.

    The extremes: every feature alone far from its middle, all features beyond the clip, zeros,
    constants, numbers near the end of float32.
    """
    random = np.random.default_rng(0)
    n_features = len(scaler.center_)
    shape = (window_bars, n_features)
    one_by_one_RTF = np.broadcast_to(5.0 * np.eye(n_features)[:, None], (n_features, *shape))
    scaled_RTF = np.concatenate([
        random.normal(size=(200, *shape)),
        30.0 * random.normal(size=(50, *shape)),
        one_by_one_RTF,
        -one_by_one_RTF,
        np.zeros((1, *shape)),
    ])  # fmt: skip
    raw_RTF = (scaled_RTF * scaler.scale_ + scaler.center_).astype(np.float32)
    constants = np.array([0.0, -8.0, -1.0, 1.0, 8.0, _FAR, -_FAR, np.nan], dtype=np.float32)
    flat_RTF = np.broadcast_to(constants[:, None, None], (len(constants), *shape)).copy()
    flat_RTF[-1] = raw_RTF[0]
    flat_RTF[-1, 0, -1] = np.nan  # one number is missing, and that in the oldest bar
    return np.concatenate([raw_RTF, flat_RTF])


def _answers(predictor: NetworkModel, rows_RTF: np.ndarray) -> FloatArray:
    """Return the logits or the calibrated forecast of the bundle's own prediction (R, K)."""
    n_rows, window_bars, n_features = rows_RTF.shape
    last_bars = np.arange(window_bars - 1, n_rows * window_bars, window_bars)
    answers_RK = predictor.outputs(rows_RTF.reshape(-1, n_features), last_bars)
    reader = predictor.forecast_reader
    if reader is not None:
        quantiles_RHQ = reader.classes.quantiles(reader.row.split(answers_RK)["quantiles"])
        n_others = answers_RK.shape[1] - quantiles_RHQ[0].size
        answers_RK[:, n_others:] = quantiles_RHQ.reshape(n_rows, -1)
    answers_RK[np.isnan(rows_RTF).any(axis=(1, 2))] = np.nan
    return answers_RK


def _differences(
    found: dict[str, np.ndarray], expected_RK: FloatArray, predictor: NetworkModel
) -> dict[str, float]:
    name = next(iter(found))
    largest_R1 = np.abs(np.nan_to_num(expected_RK)).max(axis=1, keepdims=True)
    size_R1 = np.maximum(1.0, largest_R1)
    differences = {name: _largest(found[name] / size_R1, expected_RK / size_R1)}
    if "probabilities" in found:
        apply, probabilities_RK = predictor.calibrator.apply, found["probabilities"]
        differences["calibration"] = _largest(probabilities_RK, apply(found[name]))
        differences["probabilities"] = _largest(probabilities_RK, apply(expected_RK))
    return differences


def _largest(found: np.ndarray, expected: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        apart = np.abs(found - expected)
    apart[np.isnan(found) & np.isnan(expected)] = 0.0
    return float(np.nan_to_num(apart, nan=np.inf).max())


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what is wrong arrives as an exception
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no common base
        raise _cannot_run(path, error) from None


def _run(path: Path, session: Any, rows_RTF: np.ndarray) -> dict[str, np.ndarray]:
    names = [output.name for output in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, {"features": rows_RTF}), strict=True))
    except Exception as error:
        raise _cannot_run(path, error) from None


def _refuse_other_shapes(path: Path, found: dict[str, np.ndarray], expected_RK: FloatArray) -> None:
    for name, answers in found.items():
        if answers.shape != expected_RK.shape:
            raise BundleError(
                f"{path}: {name} of shape {answers.shape}, expected {expected_RK.shape}; "
                "it was exported from another bundle"
            )


def _cannot_run(path: Path, error: Exception) -> BundleError:
    why = str(error).strip().split("\n", 1)[0]
    return BundleError(f"{path}: ONNX Runtime cannot run it as this bundle's model ({why})")
