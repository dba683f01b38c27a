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

Shapes: M members, T steps, B rows, I inputs, H hidden, G gates (2 H: reset, then update)
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

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


# The walk through time works in place, which a compiler would first have to undo: compiled on a CPU
# it took 80 s to become half as fast.
@torch.compiler.disable
def gru_layer(x_MTBI: Tensor, weights: GruWeights) -> tuple[Tensor, Tensor]:
    """Return the hidden states of all steps [M, T, B, H] and of the last one [M, B, H].

    Computed in the type of autocast where it is on, else in the type of `x_MTBI`.
    """
    device = x_MTBI.device.type
    enabled = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if enabled else x_MTBI.dtype
    return _GruLayer.apply(x_MTBI.to(dtype), *weights.tensors(dtype))


class _GruLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
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
        H = hidden_new_MHH.shape[-1]
        x_MRI = x_MTBI.reshape(M, T * B, -1)
        gates = torch.baddbmm(gates_bias_M1G, x_MRI, input_gates_MIG).view(M, T, B, 2 * H)
        news = torch.baddbmm(new_bias_M1H, x_MRI, input_new_MIH).view(M, T, B, H)
        recalled = torch.empty_like(news)
        states = news.new_empty(M, T + 1, B, H)
        states[:, 0] = 0.0
        for t in range(T):
            before, gate, new = states[:, t], gates[:, t], news[:, t]
            gate.baddbmm_(before, hidden_gates_MHG).sigmoid_()
            torch.baddbmm(recalled_bias_M1H, before, hidden_new_MHH, out=recalled[:, t])
            new.addcmul_(gate[..., :H], recalled[:, t]).tanh_()
            torch.lerp(new, before, gate[..., H:], out=states[:, t + 1])
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
        d_gates, d_news, d_recalled = map(torch.empty_like, (gates, news, recalled))
        carried = torch.zeros_like(news[:, 0]) if d_last is None else d_last.clone()
        for t in reversed(range(T)):
            if d_states is not None:
                carried += d_states[:, t]
            reset, update = gates[:, t].split(H, dim=-1)
            d_reset, d_update = d_gates[:, t].split(H, dim=-1)
            drift = (states[:, t] - news[:, t]).mul_(carried)
            _sigmoid_backward(drift, update, grad_input=d_update)
            kept = carried * update
            _tanh_backward(carried - kept, news[:, t], grad_input=d_news[:, t])
            torch.mul(d_news[:, t], reset, out=d_recalled[:, t])
            _sigmoid_backward(d_news[:, t] * recalled[:, t], reset, grad_input=d_reset)
            kept.baddbmm_(d_gates[:, t], hidden_gates_MHG.transpose(1, 2))
            carried = kept.baddbmm_(d_recalled[:, t], hidden_new_MHH.transpose(1, 2))
        d_gates, d_news, d_recalled = (d.view(M, T * B, -1) for d in (d_gates, d_news, d_recalled))
        x_MIR = x_MRI.transpose(1, 2)
        before_MHR = states[:, :-1].reshape(M, T * B, H).transpose(1, 2)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = torch.bmm(d_gates, input_gates_MIG.transpose(1, 2))
            d_x = d_x.baddbmm_(d_news, input_new_MIH.transpose(1, 2)).view(M, T, B, -1)
        return (
            d_x,
            torch.bmm(x_MIR, d_gates),
            torch.bmm(x_MIR, d_news),
            d_gates.sum(1, keepdim=True),
            d_news.sum(1, keepdim=True),
            torch.bmm(before_MHR, d_gates),
            torch.bmm(before_MHR, d_recalled),
            d_recalled.sum(1, keepdim=True),
        )
