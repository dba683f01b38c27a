"""A bundle and bars to probabilities. This room knows no outcome."""

from ._predict import Predictor, predict

__all__ = ["Predictor", "predict"]
