"""Bars to features that look only backwards, in named sets, and the scalers that go with them."""

from ._bar_vectors import BarVectors, bar_vectors
from ._build import FeatureTable, build
from ._build_all import FeatureTables, build_all
from ._cache import CacheState, cache_state
from ._causal import LookAhead, check_causal, settle_bars
from ._column import Column
from ._decision_paths import path_forecasts
from ._own import Make, OwnColumns, build_own, build_own_all, own_columns
from ._paths import BAND_BARS, PathForecast, forecast_paths, token_paths
from ._scaler import CLIP, Scaler, fit_scaler
from ._sets import FeatureSet, describe, feature_set
from ._token_files import read_tokenizer, write_tokenizer
from ._token_report import tokenizer_report
from ._token_rule import VECTOR, TokenizerRule
from ._tokenizer import Tokenizer, fit_tokenizer

__all__ = [
    "BAND_BARS",
    "CLIP",
    "VECTOR",
    "BarVectors",
    "CacheState",
    "Column",
    "FeatureSet",
    "FeatureTable",
    "FeatureTables",
    "LookAhead",
    "Make",
    "OwnColumns",
    "PathForecast",
    "Scaler",
    "Tokenizer",
    "TokenizerRule",
    "bar_vectors",
    "build",
    "build_all",
    "build_own",
    "build_own_all",
    "cache_state",
    "check_causal",
    "describe",
    "feature_set",
    "fit_scaler",
    "fit_tokenizer",
    "forecast_paths",
    "own_columns",
    "path_forecasts",
    "read_tokenizer",
    "settle_bars",
    "token_paths",
    "tokenizer_report",
    "write_tokenizer",
]
