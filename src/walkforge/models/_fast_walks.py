"""Measures, once before a training, whether recurrent layers are faster resident or batched."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from ._architecture import Architecture
from ._gru_layer import BATCHED_GRU
from ._lstm_layer import BATCHED_LSTM
from ._resident import Walks, resident_supports
from ._walk_race import faster_walk
from ._walks import ALL_BATCHED, Recurrence, WalkChoice

_BATCHED: dict[str, Walks] = {"lstm": BATCHED_LSTM, "gru": BATCHED_GRU}


def with_fast_walks(
    architecture: Architecture,
    *,
    n_members: int,
    rows: int,
    dtype: torch.dtype,
    device: torch.device,
    earlier: Sequence[str] | None = None,
) -> tuple[Architecture, list[str]]:
    """Return the architecture with the faster walk of every layer, and the reasons.

    `n_members` take steps of `rows` rows each together, in `dtype`. On a CPU nothing is measured
    and nothing said. A layer walks resident as the training that this one continues did, where
    `earlier` names its choice and the layer fits: the numbers would differ by rounding otherwise.
    Must not be called while a CUDA graph is captured.
    """
    layers: tuple[Recurrence, ...] = getattr(architecture, "recurrences", tuple)()
    if device.type != "cuda" or not layers:
        return architecture, []
    resident, reasons = set(), []
    for layer in dict.fromkeys(layers):
        place: dict[str, Any] = {"hidden": layer.hidden, "dtype": dtype, "device": device}
        fits, reason = resident_supports(layer.kind, **place)
        if fits and earlier is not None:
            fits = WalkChoice.named(earlier).has(layer.kind, layer.hidden, dtype)
            reason = f"{'resident' if fits else 'batched'} {layer.kind.upper()} walk, as before"
        elif fits:
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


def resident_walks(architecture: Architecture) -> list[str]:
    """Return the names of the layers that walk resident, for `with_fast_walks` to take up."""
    choice: WalkChoice = getattr(architecture, "walks", ALL_BATCHED)
    return choice.names()
