"""Tensor programs with a leading member axis, and their ordinary `nn.Module` twins.

This room needs torch alone, so that its benchmarks run on any machine that has a GPU.
"""

from ._architecture import Architecture, Layout, StateViews, extract_twin, initial_state
from ._catalogue import MODELS, build_architecture
from ._dropout import MemberDropout, step_keys
from ._forward import PackedForward, pad_rows, predict_logits
from ._gru import Gru
from ._mlp import Mlp

__all__ = [
    "MODELS",
    "Architecture",
    "Gru",
    "Layout",
    "MemberDropout",
    "Mlp",
    "PackedForward",
    "StateViews",
    "build_architecture",
    "extract_twin",
    "initial_state",
    "pad_rows",
    "predict_logits",
    "step_keys",
]
