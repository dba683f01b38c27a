"""The gated recurrent unit over a window of bars, packed.

The products of all time steps with the input weights are one batched product; only the recurrent
part walks through time. Gates follow `nn.GRU` (reset, update, new).

Shapes: M members, B rows, T bars in the window, F features, I inputs, H hidden,
G gates (2 H: reset and update), C classes
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
    """GRU layers over the window, dropout between them, a linear head on the last state."""

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
            if dropout is not None and layer > 0:
                sequence_MTBX = dropout(sequence_MTBX, layer)
            sequence_MTBX = self._layer(state, layer, sequence_MTBX)
        last_MBH = sequence_MTBX[:, -1]
        if dropout is not None:
            last_MBH = dropout(last_MBH, 0)
        return packed_linear(state, "head", last_MBH)

    def numbers_per_row(self) -> int:
        """Return about how many numbers a prediction of one row holds at once."""
        return self.window_bars * (2 * self.n_features + 5 * self.hidden)

    def _layer(self, state: StateViews, layer: int, x_MTBF: Tensor) -> Tensor:
        """Return the hidden states of all steps: [M, T, B, H]."""
        n_members, n_steps, n_rows, _ = x_MTBF.shape
        flat = x_MTBF.reshape(n_members, n_steps * n_rows, -1)
        outer, inner = (self._split_gates(state, f"{kind}_l{layer}") for kind in ("ih", "hh"))
        gates_MTBG, news_MTBH = (
            torch.baddbmm(bias, flat, weight).view(n_members, n_steps, n_rows, -1)
            for weight, bias in outer
        )
        hidden_MBH = gates_MTBG.new_zeros(n_members, n_rows, self.hidden)
        states = []
        for gates_MBG, new_MBH in zip(gates_MTBG.unbind(1), news_MTBH.unbind(1), strict=True):
            hidden_MBH = _cell(gates_MBG, new_MBH, hidden_MBH, inner)
            states.append(hidden_MBH)
        return torch.stack(states, dim=1)

    def _split_gates(self, state: StateViews, name: str) -> tuple[tuple[Tensor, Tensor], ...]:
        """Return weight [M, I, G] and bias [M, 1, G] of reset and update, then those of new.

        Split here, once: slicing the products at every step would fill a whole tensor with zeros
        for each slice in the backward pass.
        """
        sizes = [2 * self.hidden, self.hidden]
        weights = state[f"gru.weight_{name}"].transpose(1, 2).split(sizes, dim=2)
        biases = state[f"gru.bias_{name}"][:, None].split(sizes, dim=2)
        return tuple(zip(weights, biases, strict=True))


def _cell(
    gates_MBG: Tensor,
    new_MBH: Tensor,
    hidden_MBH: Tensor,
    inner: tuple[tuple[Tensor, Tensor], ...],
) -> Tensor:
    """Return the next hidden state from the input's gate products and the last hidden state."""
    (gate_weight, gate_bias), (new_weight, new_bias) = inner
    gates = torch.baddbmm(gate_bias, hidden_MBH, gate_weight)
    reset, update = torch.sigmoid(gates_MBG + gates).chunk(2, dim=-1)
    recalled = torch.baddbmm(new_bias, hidden_MBH, new_weight)
    new = torch.tanh(torch.addcmul(new_MBH, reset, recalled))
    return torch.lerp(new, hidden_MBH.to(new.dtype), update)
