"""One layer of long short-term memory, forwards and backwards by hand, for the reasons that
`_gru_layer` gives: products with the inputs, and those for the gradients of weights, are one
batched product over all steps; only what waits for the step before walks through time, in place.

    i, f, o = sigmoid(x W + b + h U)             input, forget and output gate, of own weights each
    g       = tanh(x W_g + b_g + h U_g)          new
    c'      = f c + i g                          cell
    h'      = o tanh(c')

as in `torch.nn.LSTM` (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000). A lane is
whatever walks beside others without meeting them: a member, or one direction of a member.

Shapes: L lanes, T steps, B rows, I inputs, H hidden, G gates (4 H: i, f, g, o), S = T + 1 states
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

# Gates of so many bytes become slopes in one go, before the walk back needs them: little enough to
# stay in a CPU's cache until then. A GPU takes all steps in one go, since launches count there.
_CPU_BLOCK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class LstmWeights:
    """Weights of one layer, gates in the order of `torch.nn.LSTM`."""

    input_LIG: Tensor
    bias_L1G: Tensor
    """Of the input's and the hidden state's products together."""
    hidden_LHG: Tensor

    def tensors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return all of them in one type, in the order of the fields."""
        return self.input_LIG.to(dtype), self.bias_L1G.to(dtype), self.hidden_LHG.to(dtype)


def lstm_walk(gates_LTBG: Tensor, hidden_LHG: Tensor) -> tuple[Tensor, Tensor]:
    """Return states_LSBH and cells_LSBH, the zeros before the first step included.

    On entry `gates_LTBG` holds the products with the inputs and all biases; on return, in place,
    the gates. Cells are float32 where the gates have 16 bits.
    """
    L, T, B, G = gates_LTBG.shape
    H = G // 4
    states = gates_LTBG.new_empty(L, T + 1, B, H)
    # A cell is a sum over all steps, and rounding it to 16 bits loses what a step adds below a
    # 256th of it. With forget gates near one, 200 steps in bfloat16 came out with half the error in
    # states and gradients.
    cells = torch.empty_like(states, dtype=torch.promote_types(states.dtype, torch.float32))
    states[:, 0] = 0.0
    cells[:, 0] = 0.0
    squashed = torch.empty_like(cells[:, 0])
    state, cell = states.unbind(1), cells.unbind(1)
    for t, gates in enumerate(gates_LTBG.unbind(1)):
        gates.baddbmm_(state[t], hidden_LHG)
        i, f, g, o = gates.split(H, dim=-1)
        gates[..., : 2 * H].sigmoid_()
        _tanh(g, out=g)
        o.sigmoid_()
        torch.mul(f, cell[t], out=cell[t + 1]).addcmul_(i, g)
        torch.mul(o, _tanh(cell[t + 1], out=squashed), out=state[t + 1])
    return states, cells


def lstm_walk_back(
    gates_LTBG: Tensor,
    cells_LSBH: Tensor,
    hidden_LHG: Tensor,
    d_states_LTBH: Tensor | None,
    d_last_LBH: Tensor | None,
) -> Tensor:
    """Return d_gates_LTBG, the gradients with regard to the pre-activations.

    A gradient that is None counts as zero.
    """
    T, H = gates_LTBG.shape[1], cells_LSBH.shape[-1]
    hidden_LGH = hidden_LHG.transpose(1, 2)
    d_gates = torch.empty_like(gates_LTBG)
    d_cell = torch.zeros_like(cells_LSBH[:, 0])
    d_state = torch.zeros_like(d_gates[:, 0, :, :H]) if d_last_LBH is None else d_last_LBH.clone()
    d_states = None if d_states_LTBH is None else d_states_LTBH.unbind(1)
    forget = gates_LTBG[..., H : 2 * H].unbind(1)
    d_gate, d_output = d_gates.unbind(1), d_gates[..., 3 * H :].unbind(1)
    d_within = d_gates[..., : 3 * H].unflatten(-1, (3, H)).unbind(1)
    block = _steps_at_once(gates_LTBG)
    for stop in range(T, 0, -block):
        start = max(0, stop - block)
        cells = cells_LSBH[:, start : stop + 1]
        slopes = _slopes(gates_LTBG[:, start:stop], cells, out=d_gates[:, start:stop]).unbind(1)
        for t in reversed(range(start, stop)):
            if d_states is not None:
                d_state += d_states[t]
            d_cell.addcmul_(d_state, slopes[t - start])
            d_within[t].mul_(d_cell[:, :, None])
            d_output[t].mul_(d_state)
            d_cell.mul_(forget[t])
            torch.bmm(d_gate[t], hidden_LGH, out=d_state)
    return d_gates


def _slopes(gates: Tensor, cells: Tensor, out: Tensor) -> Tensor:
    """Write to `out` how the cell follows i, f, g and the state follows o, before activation;
    return how the state follows the cell."""
    H = cells.shape[-1]
    (i, f, g, o), (out_i, out_f, out_g, out_o) = gates.split(H, dim=-1), out.split(H, dim=-1)
    squashed = _tanh(cells[:, 1:], out=torch.empty_like(cells[:, 1:]))
    _sigmoid_backward(g, i, grad_input=out_i)
    _sigmoid_backward(cells[:, :-1], f, grad_input=out_f)
    _tanh_backward(i, g, grad_input=out_g)
    _sigmoid_backward(squashed, o, grad_input=out_o)
    return torch.ops.aten.tanh_backward(o, squashed)


def _tanh(x: Tensor, out: Tensor) -> Tensor:
    """Write tanh to `out`, which may be `x`: on a CPU as 2 sigmoid(2 x) - 1, which is off by 1e-7
    in float32 and several times faster there; 16 bits have no digits to spare for that."""
    if x.device.type == "cpu" and x.element_size() > 2:
        return torch.mul(x, 2.0, out=out).sigmoid_().mul_(2.0).sub_(1.0)
    return torch.tanh(x, out=out)


def _steps_at_once(gates_LTBG: Tensor) -> int:
    steps = gates_LTBG.shape[1]
    if gates_LTBG.device.type != "cpu":
        return steps
    step_bytes = gates_LTBG[:, 0].numel() * gates_LTBG.element_size()
    return max(1, min(steps, _CPU_BLOCK_BYTES // step_bytes))


BATCHED_LSTM: Walks = (lstm_walk, lstm_walk_back)


@uncompiled  # as `gru_layer`: a compiler would first have to undo what is in place
def lstm_layer(
    x_LTBI: Tensor, weights: LstmWeights, choice: WalkChoice = ALL_BATCHED
) -> tuple[Tensor, Tensor]:
    """Return the hidden states of all steps [L, T, B, H] and of the last one [L, B, H].

    Starts from zeros. Computed in the type of autocast where it is on, else in that of `x_LTBI`.
    """
    device = x_LTBI.device.type
    enabled = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if enabled else x_LTBI.dtype
    walks = choice.of("lstm", weights.hidden_LHG.shape[1], dtype, batched=BATCHED_LSTM)
    return _LstmLayer.apply(walks, x_LTBI.to(dtype), *weights.tensors(dtype))


class _LstmLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        walks: Walks,
        x_LTBI: Tensor,
        input_LIG: Tensor,
        bias_L1G: Tensor,
        hidden_LHG: Tensor,
    ) -> tuple[Tensor, Tensor]:
        L, T, B, I = x_LTBI.shape  # noqa: E741
        x_LRI = x_LTBI.reshape(L, T * B, I)
        gates = torch.baddbmm(bias_L1G, x_LRI, input_LIG).view(L, T, B, -1)
        walk, ctx.walk_back = walks
        states, cells = walk(gates, hidden_LHG)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x_LRI, gates, states, cells, input_LIG, hidden_LHG)
        return states[:, 1:], states[:, T].clone()

    @staticmethod
    def backward(ctx: Any, d_states: Tensor | None, d_last: Tensor | None) -> tuple:
        x_LRI, gates, states, cells, input_LIG, hidden_LHG = ctx.saved_tensors
        L, T, B, G = gates.shape
        d_gates = ctx.walk_back(gates, cells, hidden_LHG, d_states, d_last).view(L, T * B, G)
        before_LHR = states[:, :-1].reshape(L, T * B, G // 4).transpose(1, 2)
        d_x = None
        if ctx.needs_input_grad[1]:
            d_x = torch.bmm(d_gates, input_LIG.transpose(1, 2)).view(L, T, B, -1)
        return (
            None,
            d_x,
            torch.bmm(x_LRI.transpose(1, 2), d_gates),
            d_gates.sum(1, keepdim=True),
            torch.bmm(before_LHR, d_gates),
        )
