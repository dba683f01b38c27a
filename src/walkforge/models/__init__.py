"""Tensor programs with a leading member axis, and their ordinary `nn.Module` twins.

This room needs torch alone, so that its benchmarks run on any machine that has a GPU.
"""

from ._architecture import (
    Architecture,
    Layout,
    StateViews,
    compact_,
    extract_twin,
    initial_state,
)
from ._catalogue import MODELS, build_architecture
from ._dropout import MemberDropout, mix_bits_, step_keys
from ._forecast_prices import ForecastPrices, forecast_prices
from ._forecast_row import LEVELS, ForecastRow
from ._forward import PackedForward, pad_rows, predict_outputs, stack_states
from ._gru import Gru
from ._mlp import Mlp

__all__ = [
    "LEVELS",
    "MODELS",
    "Architecture",
    "ForecastPrices",
    "ForecastRow",
    "Gru",
    "Layout",
    "MemberDropout",
    "Mlp",
    "PackedForward",
    "StateViews",
    "build_architecture",
    "compact_",
    "extract_twin",
    "forecast_prices",
    "initial_state",
    "mix_bits_",
    "pad_rows",
    "predict_outputs",
    "stack_states",
    "step_keys",
]
