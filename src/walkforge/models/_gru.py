"""Gated recurrent units over a window of bars, packed; gates follow `nn.GRU`.

Shapes: M members, B rows, T bars in the window, F features, H hidden, C classes
"""

from dataclasses import dataclass, field

from torch import Tensor, nn

from ._architecture import StateViews
from ._dropout import MemberDropout
from ._gru_layer import GruWeights, gru_layer
from ._layers import packed_linear
from ._walks import ALL_BATCHED, Recurrence, WalkChoice


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
    walks: WalkChoice = field(default=ALL_BATCHED, compare=False)
    """How it computes, and nothing of what."""

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
            sequence_MTBX, last_MBH = gru_layer(
                sequence_MTBX, self._weights(state, layer), self.walks
            )
        if dropout is not None:
            last_MBH = dropout(last_MBH, 0)
        return packed_linear(state, "head", last_MBH)

    def bars_in_a_row(self) -> int:
        """Return the bars of a window, once for every layer."""
        return self.window_bars * self.layers

    def recurrences(self) -> tuple[Recurrence, ...]:
        """Return the recurrent layers."""
        return (Recurrence("gru", 1, self.window_bars, self.hidden),) * self.layers

    def numbers_per_row(self) -> int:
        """Return about how many numbers a prediction of one row holds at once."""
        return self.window_bars * (2 * self.n_features + 5 * self.hidden)

    def _weights(self, state: StateViews, layer: int) -> GruWeights:
        sizes = [2 * self.hidden, self.hidden]
        (input_gates, input_new), (hidden_gates, hidden_new) = (
            state[f"gru.weight_{kind}_l{layer}"].transpose(1, 2).split(sizes, dim=2)
            for kind in ("ih", "hh")
        )
        (input_gates_bias, new_bias), (hidden_gates_bias, recalled_bias) = (
            state[f"gru.bias_{kind}_l{layer}"][:, None].split(sizes, dim=2) for kind in ("ih", "hh")
        )
        return GruWeights(
            input_gates_MIG=input_gates,
            input_new_MIH=input_new,
            gates_bias_M1G=input_gates_bias + hidden_gates_bias,
            new_bias_M1H=new_bias,
            hidden_gates_MHG=hidden_gates,
            hidden_new_MHH=hidden_new,
            recalled_bias_M1H=recalled_bias,
        )
