"""The gated recurrent unit over a window of bars, packed.

The products of all time steps with the input weights are one batched product; only the recurrent
part walks through time. Gates follow `nn.GRU` (reset, update, new).

Shapes: M members, B rows, T bars in the window, F features, H hidden, G gates (3 H), C classes
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ._architecture import StateViews
from ._dropout import MemberDropout
from ._layers import packed_linear


class _GruTwin(nn.Module):
    """`nn.GRU` and a linear head on the last hidden state."""

    def __init__(self, n_features: int, hidden: int, layers: int, n_classes: int, dropout: float):
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.gru = nn.GRU(n_features, hidden, layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, n_classes)

    def forward(self, x_BTF: Tensor) -> Tensor:
        hidden_BTH, _ = self.gru(x_BTF)
        return self.head(self.dropout(hidden_BTH[:, -1]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Gru:
    """GRU layers over the window, dropout after each, a linear head on the last state."""

    n_features: int
    window_bars: int
    n_classes: int
    hidden: int = 64
    layers: int = 1
    dropout: float = 0.0

    def twin(self) -> nn.Module:
        """Return a module with `gru` (an nn.GRU) and `head` (an nn.Linear)."""
        return _GruTwin(self.n_features, self.hidden, self.layers, self.n_classes, self.dropout)

    def forward(
        self, state: StateViews, x_MBTF: Tensor, *, dropout: MemberDropout | None
    ) -> Tensor:
        """Return logits_MBC."""
        sequence_MTBX = x_MBTF.transpose(1, 2)
        for layer in range(self.layers):
            sequence_MTBX = self._layer(state, layer, sequence_MTBX)
            if dropout is not None:
                sequence_MTBX = dropout(sequence_MTBX, layer)
        return packed_linear(state, "head", sequence_MTBX[:, -1])

    def _layer(self, state: StateViews, layer: int, x_MTBF: Tensor) -> Tensor:
        """Return the hidden states of all steps: [M, T, B, H]."""
        n_members, n_steps, n_rows, _ = x_MTBF.shape
        input_MGF, input_bias_MG = (state[f"gru.{kind}_ih_l{layer}"] for kind in ("weight", "bias"))
        inner_MGH, inner_bias_MG = (state[f"gru.{kind}_hh_l{layer}"] for kind in ("weight", "bias"))
        flat = x_MTBF.reshape(n_members, n_steps * n_rows, -1)
        gates = torch.baddbmm(input_bias_MG[:, None], flat, input_MGF.transpose(1, 2))
        gates_MTBG = gates.view(n_members, n_steps, n_rows, -1)
        inner_MHG = inner_MGH.transpose(1, 2)
        hidden_MBH = gates.new_zeros(n_members, n_rows, self.hidden)
        states = []
        for gates_MBG in gates_MTBG.unbind(1):
            inner_MBG = torch.baddbmm(inner_bias_MG[:, None], hidden_MBH, inner_MHG)
            hidden_MBH = _cell(gates_MBG, inner_MBG, hidden_MBH)
            states.append(hidden_MBH)
        return torch.stack(states, dim=1)


def _cell(gates_MBG: Tensor, inner_MBG: Tensor, hidden_MBH: Tensor) -> Tensor:
    """Return the next hidden state from the input's and the hidden state's gate products."""
    width = 2 * hidden_MBH.shape[-1]
    both = torch.sigmoid(gates_MBG[..., :width] + inner_MBG[..., :width])
    reset, update = both.chunk(2, dim=-1)
    new = torch.tanh(torch.addcmul(gates_MBG[..., width:], reset, inner_MBG[..., width:]))
    return torch.lerp(new, hidden_MBH.to(new.dtype), update)
