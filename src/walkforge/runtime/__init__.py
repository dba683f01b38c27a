"""A bundle and bars to probabilities, here or in an exported file. This room knows no outcome."""

from ._export import compare_onnx, export_onnx
from ._known import bars_for
from ._predict import Predictor, predict

__all__ = ["Predictor", "bars_for", "compare_onnx", "export_onnx", "predict"]
