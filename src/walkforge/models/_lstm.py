"""A layer of `torch.nn.LSTM`, packed, one way or both ways through time.

Shapes: M members, T steps, B rows, I inputs, H hidden, L lanes, D width out (H, both ways 2 H)
"""

import torch
from torch import Tensor

from ._architecture import StateViews
from ._lstm_layer import LstmWeights, lstm_layer
from ._uncompiled import uncompiled
from ._walks import ALL_BATCHED, WalkChoice

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def packed_lstm(
    state: StateViews,
    name: str,
    x_MTBI: Tensor,
    *,
    layer: int = 0,
    bidirectional: bool = False,
    choice: WalkChoice = ALL_BATCHED,
) -> tuple[Tensor, Tensor]:
    """Return what layer `layer` of the `nn.LSTM` at `name` does: outputs [M, T, B, D] in the order
    of the steps, and the last state of each direction [M, B, D], backwards after forwards."""
    forwards = f"{name}.{{}}_l{layer}"
    places = [forwards, f"{forwards}_reverse"] if bidirectional else [forwards]
    if _fused_on_cpu(x_MTBI):
        return _one_by_one(state, places, x_MTBI)
    if not bidirectional:
        return lstm_layer(x_MTBI, _weights(state, places), choice)
    both_LTBI = torch.stack([x_MTBI, x_MTBI.flip(1)], dim=1).flatten(0, 1)
    states_LTBH, last_LBH = lstm_layer(both_LTBI, _weights(state, places), choice)
    ahead_MTBH, back_MTBH = states_LTBH.unflatten(0, (-1, 2)).unbind(1)
    last_MBD = torch.cat(last_LBH.unflatten(0, (-1, 2)).unbind(1), dim=-1)
    return torch.cat([ahead_MTBH, back_MTBH.flip(1)], dim=-1), last_MBD


def _fused_on_cpu(x_MTBI: Tensor) -> bool:
    """Return whether oneDNN has a kernel for a whole layer of one member.

    It keeps that member's weights in the cache for all steps, where a step of all members would
    read them from memory each time: 1.3 to 2.4 times as fast as the batched walk at the sizes of
    the presets, there and back on one core.
    """
    on_cpu = x_MTBI.device.type == "cpu" and x_MTBI.dtype == torch.float32
    return on_cpu and torch.backends.mkldnn.is_available() and not torch.is_autocast_enabled("cpu")


@uncompiled  # the compiler mistakes the kernel's missing workspace for a tensor
def _one_by_one(state: StateViews, places: list[str], x_MTBI: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `packed_lstm` does, member by member."""
    # Taken apart once: a slice for each member would make a gradient of all members for each.
    weights = [state[place.format(kind)].unbind(0) for place in places for kind in _WEIGHTS]
    hidden = state[places[0].format("weight_hh")].shape[-1]
    zeros = x_MTBI.new_zeros(len(places), x_MTBI.shape[2], hidden)
    outputs, lasts = [], []
    for x_TBI, *own in zip(x_MTBI.unbind(0), *weights, strict=True):
        output_TBD, last_2BH, _ = torch.lstm(
            x_TBI,
            (zeros, zeros),
            own,
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=torch.is_grad_enabled(),
            bidirectional=len(places) == 2,
            batch_first=False,
        )
        outputs.append(output_TBD)
        lasts.append(torch.cat(last_2BH.unbind(0), dim=-1))
    return torch.stack(outputs), torch.stack(lasts)


def _weights(state: StateViews, places: list[str]) -> LstmWeights:
    """Return the weights of all directions, a lane per member and direction."""

    def lanes(kind: str) -> Tensor:
        tensors = [state[place.format(kind)] for place in places]
        return torch.stack(tensors, dim=1).flatten(0, 1) if len(tensors) > 1 else tensors[0]

    return LstmWeights(
        input_LIG=lanes("weight_ih").transpose(1, 2),
        bias_L1G=(lanes("bias_ih") + lanes("bias_hh"))[:, None],
        hidden_LHG=lanes("weight_hh").transpose(1, 2),
    )
