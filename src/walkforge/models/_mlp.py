"""The multi-layer perceptron of the `v8` plan, packed.

Shapes: M members, B rows, T bars in the window, F features, C classes
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ._architecture import StateViews
from ._dropout import MemberDropout
from ._layers import packed_batch_norm, packed_layer_norm_relu, packed_linear

_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": nn.LayerNorm,
    "batch": nn.BatchNorm1d,
    "none": nn.Identity,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mlp:
    """Linear, normalisation, ReLU and dropout per width, then a linear head."""

    n_features: int
    window_bars: int
    n_classes: int
    widths: tuple[int, ...] = (512, 256, 128)
    norm: str = "layer"
    """`layer`, `batch` or `none`; the same layers act in training and in prediction."""
    dropout: float = 0.0

    def twin(self) -> nn.Module:
        """Return `nn.Sequential` from [B, T, F] to logits [B, C]."""
        layers: list[nn.Module] = [nn.Flatten()]
        n_inputs = self.n_features * self.window_bars
        for width in self.widths:
            # Batch normalisation takes the mean away again: a bias before it has no gradient but
            # rounding noise, which Adam would blow up to full steps.
            linear = nn.Linear(n_inputs, width, bias=self.norm != "batch")
            layers += [linear, _NORMS[self.norm](width)]
            layers += [nn.ReLU(), nn.Dropout(self.dropout)]
            n_inputs = width
        return nn.Sequential(*layers, nn.Linear(n_inputs, self.n_classes))

    def forward(
        self, state: StateViews, x_MBTF: Tensor, *, dropout: MemberDropout | None
    ) -> Tensor:
        """Return logits_MBC."""
        hidden = x_MBTF.flatten(2)
        for depth in range(len(self.widths)):
            place = 1 + 4 * depth  # Flatten stands at 0; four modules follow per width
            hidden = packed_linear(state, f"{place}", hidden)
            hidden = self._activate(state, f"{place + 1}", hidden, training=dropout is not None)
            if dropout is not None:
                hidden = dropout(hidden, depth)
        return packed_linear(state, f"{1 + 4 * len(self.widths)}", hidden)

    def bars_in_a_row(self) -> int:
        """Return 1: all bars go at once."""
        return 1

    def numbers_per_row(self) -> int:
        """Return about how many numbers a prediction of one row holds at once."""
        return 4 * max(self.n_features * self.window_bars, *self.widths, self.n_classes)

    def _activate(self, state: StateViews, name: str, x: Tensor, *, training: bool) -> Tensor:
        if self.norm == "layer":
            return packed_layer_norm_relu(state, name, x)
        if self.norm == "batch":
            x = packed_batch_norm(state, name, x, training=training)
        return torch.relu(x)
