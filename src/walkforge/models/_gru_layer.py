"""One layer of gated recurrent units, forwards and backwards by hand.

Autograd would keep a node and several temporaries per time step, and multiply for the weights'
gradients once per step. Here the products with the inputs, and all products for gradients of
weights, are one batched product over all steps; only what really waits for the step before is
walked through in time, in place.

    r, z = sigmoid(x W_i + b_i + h W_h)          reset and update
    q    = h W_q + b_q                           recalled
    n    = tanh(x W_n + b_n + r q)               new
    h'   = n + z (h - n)

as in `torch.nn.GRU` (Cho et al. 2014, with the reset gate applied after the product).

Shapes: M members, T steps, B rows, I inputs, H hidden, G gates (2 H: reset, then update), L lanes
of a walk (members here), S = T + 1 states
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._resident import Walks
from ._uncompiled import uncompiled
from ._walks import ALL_BATCHED, WalkChoice

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


@dataclass(frozen=True, slots=True)
class GruWeights:
    """Weights of one layer, split once: a slice taken in every step would cost a whole tensor."""

    input_gates_MIG: Tensor
    input_new_MIH: Tensor
    gates_bias_M1G: Tensor
    """Of the input's and the hidden state's products together."""
    new_bias_M1H: Tensor
    hidden_gates_MHG: Tensor
    hidden_new_MHH: Tensor
    recalled_bias_M1H: Tensor

    def tensors(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Return all of them in one type, in the order of the fields."""
        return tuple(getattr(self, name).to(dtype) for name in self.__dataclass_fields__)


def gru_walk(
    gates_LTBG: Tensor,
    news_LTBH: Tensor,
    hidden_gates_LHG: Tensor,
    hidden_new_LHH: Tensor,
    recalled_bias_L1H: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return states_LSBH, the zeros before the first step included, and recalled_LTBH.

    On entry gates and news hold the products with the inputs and their biases; on return, in
    place, what came of them.
    """
    L, T, B, H = news_LTBH.shape
    recalled = torch.empty_like(news_LTBH)
    states = news_LTBH.new_empty(L, T + 1, B, H)
    states[:, 0] = 0.0
    for t in range(T):
        before, gate, new = states[:, t], gates_LTBG[:, t], news_LTBH[:, t]
        gate.baddbmm_(before, hidden_gates_LHG).sigmoid_()
        torch.baddbmm(recalled_bias_L1H, before, hidden_new_LHH, out=recalled[:, t])
        new.addcmul_(gate[..., :H], recalled[:, t]).tanh_()
        torch.lerp(new, before, gate[..., H:], out=states[:, t + 1])
    return states, recalled


def gru_walk_back(
    gates_LTBG: Tensor,
    news_LTBH: Tensor,
    recalled_LTBH: Tensor,
    states_LSBH: Tensor,
    hidden_gates_LHG: Tensor,
    hidden_new_LHH: Tensor,
    d_states_LTBH: Tensor | None,
    d_last_LBH: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return d_gates_LTBG and d_news_LTBH, with regard to pre-activations, and d_recalled_LTBH.

    A gradient that is None counts as zero.
    """
    T, H = news_LTBH.shape[1], news_LTBH.shape[-1]
    d_gates, d_news, d_recalled = map(torch.empty_like, (gates_LTBG, news_LTBH, recalled_LTBH))
    carried = torch.zeros_like(news_LTBH[:, 0]) if d_last_LBH is None else d_last_LBH.clone()
    for t in reversed(range(T)):
        if d_states_LTBH is not None:
            carried += d_states_LTBH[:, t]
        reset, update = gates_LTBG[:, t].split(H, dim=-1)
        d_reset, d_update = d_gates[:, t].split(H, dim=-1)
        drift = (states_LSBH[:, t] - news_LTBH[:, t]).mul_(carried)
        _sigmoid_backward(drift, update, grad_input=d_update)
        kept = carried * update
        _tanh_backward(carried - kept, news_LTBH[:, t], grad_input=d_news[:, t])
        torch.mul(d_news[:, t], reset, out=d_recalled[:, t])
        _sigmoid_backward(d_news[:, t] * recalled_LTBH[:, t], reset, grad_input=d_reset)
        kept.baddbmm_(d_gates[:, t], hidden_gates_LHG.transpose(1, 2))
        carried = kept.baddbmm_(d_recalled[:, t], hidden_new_LHH.transpose(1, 2))
    return d_gates, d_news, d_recalled


BATCHED_GRU: Walks = (gru_walk, gru_walk_back)


# The walk through time works in place, which a compiler would first have to undo: compiled on a CPU
# it took 80 s to become half as fast.
@uncompiled
def gru_layer(
    x_MTBI: Tensor, weights: GruWeights, choice: WalkChoice = ALL_BATCHED
) -> tuple[Tensor, Tensor]:
    """Return the hidden states of all steps [M, T, B, H] and of the last one [M, B, H].

    Computed in the type of autocast where it is on, else in the type of `x_MTBI`.
    """
    device = x_MTBI.device.type
    enabled = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if enabled else x_MTBI.dtype
    walks = choice.of("gru", weights.hidden_new_MHH.shape[1], dtype, batched=BATCHED_GRU)
    return _GruLayer.apply(walks, x_MTBI.to(dtype), *weights.tensors(dtype))


class _GruLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        walks: Walks,
        x_MTBI: Tensor,
        input_gates_MIG: Tensor,
        input_new_MIH: Tensor,
        gates_bias_M1G: Tensor,
        new_bias_M1H: Tensor,
        hidden_gates_MHG: Tensor,
        hidden_new_MHH: Tensor,
        recalled_bias_M1H: Tensor,
    ) -> tuple[Tensor, Tensor]:
        M, T, B, _ = x_MTBI.shape
        x_MRI = x_MTBI.reshape(M, T * B, -1)
        gates = torch.baddbmm(gates_bias_M1G, x_MRI, input_gates_MIG).view(M, T, B, -1)
        news = torch.baddbmm(new_bias_M1H, x_MRI, input_new_MIH).view(M, T, B, -1)
        walk, ctx.walk_back = walks
        states, recalled = walk(gates, news, hidden_gates_MHG, hidden_new_MHH, recalled_bias_M1H)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(
            x_MRI, gates, news, recalled, states,
            input_gates_MIG, input_new_MIH, hidden_gates_MHG, hidden_new_MHH,
        )  # fmt: skip
        return states[:, 1:], states[:, T].clone()

    @staticmethod
    def backward(ctx: Any, d_states: Tensor | None, d_last: Tensor | None) -> tuple:
        x_MRI, gates, news, recalled, states, *weights = ctx.saved_tensors
        input_gates_MIG, input_new_MIH, hidden_gates_MHG, hidden_new_MHH = weights
        M, T, B, H = news.shape
        kept = (gates, news, recalled, states, hidden_gates_MHG, hidden_new_MHH)
        d_gates, d_news, d_recalled = ctx.walk_back(*kept, d_states, d_last)
        d_gates, d_news, d_recalled = (d.view(M, T * B, -1) for d in (d_gates, d_news, d_recalled))
        x_MIR = x_MRI.transpose(1, 2)
        before_MHR = states[:, :-1].reshape(M, T * B, H).transpose(1, 2)
        d_x = None
        if ctx.needs_input_grad[1]:
            d_x = torch.bmm(d_gates, input_gates_MIG.transpose(1, 2))
            d_x = d_x.baddbmm_(d_news, input_new_MIH.transpose(1, 2)).view(M, T, B, -1)
        return (
            None,
            d_x,
            torch.bmm(x_MIR, d_gates),
            torch.bmm(x_MIR, d_news),
            d_gates.sum(1, keepdim=True),
            d_news.sum(1, keepdim=True),
            torch.bmm(before_MHR, d_gates),
            torch.bmm(before_MHR, d_recalled),
            d_recalled.sum(1, keepdim=True),
        )
