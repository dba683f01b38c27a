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
from ._bilstm import Bilstm
from ._boosted_trees import (
    LEAST_PROBABILITY,
    lagged_inputs,
    lags_within,
    spread_over_classes,
    tree_probabilities,
    trees_as_text,
    trees_from_text,
)
from ._catalogue import FORECASTERS, MODELS, build_architecture
from ._cnn_lstm import CnnLstm
from ._dropout import MemberDropout, mix_bits_, step_keys
from ._fast_walks import resident_walks, with_fast_walks
from ._forecast_heads import HEADS
from ._forecast_prices import ForecastPrices, forecast_prices
from ._forecast_row import LEVELS, ForecastRow
from ._forward import PackedForward, pad_rows, predict_outputs, stack_states
from ._gpt_shape import GptShape, gpt_parameters, gpt_parameters_text
from ._gru import Gru
from ._kv_cache import KvCache
from ._lora import add_lora, learned_parameters_text, merge_lora
from ._market_gpt import MarketGpt
from ._mlp import Mlp
from ._own import OwnNetwork
from ._own_check import check_own_model
from ._prompts import PathDraws, Prompts, last_states, sample_paths
from ._sample_tokens import sample_tokens

__all__ = [
    "FORECASTERS",
    "HEADS",
    "LEAST_PROBABILITY",
    "LEVELS",
    "MODELS",
    "Architecture",
    "Bilstm",
    "CnnLstm",
    "ForecastPrices",
    "ForecastRow",
    "GptShape",
    "Gru",
    "KvCache",
    "Layout",
    "MarketGpt",
    "MemberDropout",
    "Mlp",
    "OwnNetwork",
    "PackedForward",
    "PathDraws",
    "Prompts",
    "StateViews",
    "add_lora",
    "build_architecture",
    "check_own_model",
    "compact_",
    "extract_twin",
    "forecast_prices",
    "gpt_parameters",
    "gpt_parameters_text",
    "initial_state",
    "lagged_inputs",
    "lags_within",
    "last_states",
    "learned_parameters_text",
    "merge_lora",
    "mix_bits_",
    "pad_rows",
    "predict_outputs",
    "resident_walks",
    "sample_paths",
    "sample_tokens",
    "spread_over_classes",
    "stack_states",
    "step_keys",
    "tree_probabilities",
    "trees_as_text",
    "trees_from_text",
    "with_fast_walks",
]
