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
    FetchError,
    FoldError,
    IntentionsError,
    LabelError,
    PredictionsError,
    RunError,
    SourceUnreachableError,
    StudyError,
    TrainingError,
    UsageError,
    WalkforgeError,
)
from ._files import atomic_path, json_text, read_json, write_json, write_text
from ._kernels import compile_kernel
from ._machine import (
    disk_bytes,
    give_back_freed,
    memory_bytes,
    peak_resident_bytes,
    processor_name,
    resident_bytes,
    usable_cores,
)
from ._measure import Measure
from ._names import counted, listed, nearest, one_of
from ._nvidia import nvidia_machine, nvml_handle, open_nvml
from ._own import OwnPart, absolute_own, load_own, split_own
from ._seeds import derive_seed
from ._silent import Silent
from ._time import TIMEFRAMES_MS, parse_utc_ms, parse_when_ms, timeframe_ms, utc_text
from ._turns import taking_turns

__all__ = [
    "TIMEFRAMES_MS",
    "BarsError",
    "BoolArray",
    "BundleError",
    "CalibrationError",
    "EvaluationError",
    "FeatureError",
    "FetchError",
    "FloatArray",
    "FoldError",
    "Int8Array",
    "IntArray",
    "IntentionsError",
    "LabelError",
    "Measure",
    "OwnPart",
    "Precision",
    "PredictionsError",
    "RunError",
    "Silent",
    "SourceUnreachableError",
    "StudyError",
    "TrainingError",
    "UsageError",
    "WalkforgeError",
    "absolute_own",
    "atomic_path",
    "choose_device",
    "choose_precision",
    "compile_kernel",
    "concatenate_ranges",
    "counted",
    "derive_seed",
    "digest_of_arrays",
    "digest_of_file",
    "digest_of_json",
    "disk_bytes",
    "give_back_freed",
    "json_text",
    "listed",
    "load_own",
    "memory_bytes",
    "nearest",
    "nvidia_machine",
    "nvml_handle",
    "one_of",
    "open_nvml",
    "parse_utc_ms",
    "parse_when_ms",
    "peak_resident_bytes",
    "processor_name",
    "read_json",
    "resident_bytes",
    "split_own",
    "taking_turns",
    "timeframe_ms",
    "usable_cores",
    "utc_text",
    "whole_windows",
    "write_json",
    "write_text",
]
