"""Measures, once before a training, whether recurrent layers are faster resident or batched."""

import dataclasses
from typing import Any

import torch

from ._architecture import Architecture
from ._gru_layer import BATCHED_GRU
from ._lstm_layer import BATCHED_LSTM
from ._resident import Walks, faster_walk, resident_supports
from ._walks import Recurrence, WalkChoice

_BATCHED: dict[str, Walks] = {"lstm": BATCHED_LSTM, "gru": BATCHED_GRU}


def with_fast_walks(
    architecture: Architecture,
    *,
    n_members: int,
    rows: int,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Architecture, list[str]]:
    """Return the architecture with the faster walk of every layer, and the reasons.

    `n_members` take steps of `rows` rows each together, in `dtype`. On a CPU nothing is measured
    and nothing said. Must not be called while a CUDA graph is captured.
    """
    layers: tuple[Recurrence, ...] = getattr(architecture, "recurrences", tuple)()
    if device.type != "cuda" or not layers:
        return architecture, []
    resident, reasons = set(), []
    for layer in dict.fromkeys(layers):
        place: dict[str, Any] = {"hidden": layer.hidden, "dtype": dtype, "device": device}
        fits, reason = resident_supports(layer.kind, **place)
        if fits:
            lanes = n_members * layer.directions
            fits, reason = faster_walk(
                layer.kind,
                lanes=lanes,
                steps=layer.steps,
                rows=rows,
                batched=_BATCHED[layer.kind],
                **place,
            )
        if fits:
            resident.add((layer.kind, layer.hidden, dtype))
        reasons.append(reason)
    choice = WalkChoice(frozenset(resident))
    return dataclasses.replace(architecture, walks=choice), reasons  # type: ignore[type-var]
