"""Bars to features that look only backwards, in named sets, and the scalers that go with them."""

from ._build import FeatureTable, build
from ._build_all import FeatureTables, build_all
from ._cache import CacheState, cache_state
from ._column import Column
from ._scaler import CLIP, Scaler, fit_scaler
from ._sets import FeatureSet, describe, feature_set

__all__ = [
    "CLIP",
    "CacheState",
    "Column",
    "FeatureSet",
    "FeatureTable",
    "FeatureTables",
    "Scaler",
    "build",
    "build_all",
    "cache_state",
    "describe",
    "feature_set",
    "fit_scaler",
]
