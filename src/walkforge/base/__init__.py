"""What every room may use: errors, time and units, seeds, digests, files, measures, devices."""

from ._arrays import BoolArray, FloatArray, Int8Array, IntArray, concatenate_ranges, whole_windows
from ._device import Precision, choose_device, choose_precision
from ._digests import digest_of_arrays, digest_of_file, digest_of_json
from ._errors import (
    BarsError,
    BundleError,
    CalibrationError,
    EvaluationError,
    FeatureError,
    FoldError,
    IntentionsError,
    LabelError,
    PredictionsError,
    RunError,
    StudyError,
    TrainingError,
    UsageError,
    WalkforgeError,
)
from ._files import atomic_path, json_text, read_json, write_json, write_text
from ._measure import Measure
from ._names import nearest, one_of
from ._seeds import derive_seed
from ._time import TIMEFRAMES_MS, parse_utc_ms, timeframe_ms, utc_text

__all__ = [
    "TIMEFRAMES_MS",
    "BarsError",
    "BoolArray",
    "BundleError",
    "CalibrationError",
    "EvaluationError",
    "FeatureError",
    "FloatArray",
    "FoldError",
    "Int8Array",
    "IntArray",
    "IntentionsError",
    "LabelError",
    "Measure",
    "Precision",
    "PredictionsError",
    "RunError",
    "StudyError",
    "TrainingError",
    "UsageError",
    "WalkforgeError",
    "atomic_path",
    "choose_device",
    "choose_precision",
    "concatenate_ranges",
    "derive_seed",
    "digest_of_arrays",
    "digest_of_file",
    "digest_of_json",
    "json_text",
    "nearest",
    "one_of",
    "parse_utc_ms",
    "read_json",
    "timeframe_ms",
    "utc_text",
    "whole_windows",
    "write_json",
    "write_text",
]
