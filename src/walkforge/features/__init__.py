"""Bars to features that look only backwards, in named sets, and the scalers that go with them."""

from ._build import FeatureTable, build
from ._column import Column
from ._scaler import CLIP, Scaler, fit_scaler
from ._sets import FeatureSet, describe, feature_set

__all__ = [
    "CLIP",
    "Column",
    "FeatureSet",
    "FeatureTable",
    "Scaler",
    "build",
    "describe",
    "feature_set",
    "fit_scaler",
]
