"""Convolutions that find shapes of a few bars, and an LSTM that reads them in order.

Shapes: M members, B rows, T bars in the window, F features, X channels or hidden, C classes
"""

import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from walkforge.base import TrainingError

from ._architecture import StateViews
from ._convolution import packed_convolution
from ._dropout import MemberDropout
from ._layers import packed_linear
from ._lstm import packed_lstm
from ._walks import ALL_BATCHED, Recurrence, WalkChoice


@dataclass(frozen=True, kw_only=True, slots=True)
class CnnLstm:
    """Convolution and ReLU per entry of `channels`, LSTM layers, a linear head on the last state.

    Dropout follows the convolutions, stands between LSTM layers and before the head.
    """

    n_features: int
    window_bars: int
    n_classes: int
    channels: tuple[int, ...] = (32, 64)
    kernel_bars: int = 3
    """Bars that a convolution sees, an odd number; beyond the window stand zeros."""
    hidden: int = 64
    layers: int = 1
    dropout: float = 0.0
    walks: WalkChoice = field(default=ALL_BATCHED, compare=False)
    """How it computes, and nothing of what."""

    def __post_init__(self) -> None:
        if self.kernel_bars < 1 or self.kernel_bars % 2 == 0:
            raise TrainingError(
                f"kernel_bars is {self.kernel_bars}; expected an odd number, so that a bar stands "
                "in the middle"
            )
        if self.kernel_bars > 2 * self.window_bars:
            raise TrainingError(
                f"kernel_bars is {self.kernel_bars}, and at most {2 * self.window_bars - 1} reach "
                f"into a window of {self.window_bars} bars; choose a smaller kernel"
            )

    def twin(self) -> nn.Module:
        """Return a module with `convolutions` (of nn.Conv1d), `lstm` (an nn.LSTM) and `head`."""
        return _CnnLstmTwin(self)

    def forward(
        self, state: StateViews, x_MBTF: Tensor, *, dropout: MemberDropout | None
    ) -> Tensor:
        """Return logits_MBC."""
        sequence_MTBX = x_MBTF.transpose(1, 2)
        for depth in range(len(self.channels)):
            sequence_MTBX = packed_convolution(state, f"convolutions.{depth}", sequence_MTBX).relu()
        for layer in range(self.layers):
            if dropout is not None:
                sequence_MTBX = dropout(sequence_MTBX, layer)
            sequence_MTBX, last_MBX = packed_lstm(
                state, "lstm", sequence_MTBX, layer=layer, choice=self.walks
            )
        if dropout is not None:
            last_MBX = dropout(last_MBX, self.layers)
        return packed_linear(state, "head", last_MBX)

    def bars_in_a_row(self) -> int:
        """Return the bars of a window, once for every LSTM layer; convolutions see all at once."""
        return self.window_bars * self.layers

    def recurrences(self) -> tuple[Recurrence, ...]:
        """Return the recurrent layers."""
        return (Recurrence("lstm", 1, self.window_bars, self.hidden),) * self.layers

    def numbers_per_row(self) -> int:
        """Return about how many numbers a prediction of one row holds at once."""
        sizes = (self.n_features, *self.channels)
        # What comes in, padded and once per bar of the kernel, and what goes out, twice for ReLU.
        convolutions = [
            before * (2 + self.kernel_bars) + 2 * after
            for before, after in itertools.pairwise(sizes)
        ]
        # What comes in, four gates, a state and a cell.
        recurrent = max(sizes[-1], self.hidden) + 6 * self.hidden
        return self.window_bars * (self.n_features + max([*convolutions, recurrent]))


class _CnnLstmTwin(nn.Module):
    def __init__(self, shape: CnnLstm) -> None:
        super().__init__()
        sizes = (shape.n_features, *shape.channels)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, shape.kernel_bars, padding=shape.kernel_bars // 2)
            for before, after in itertools.pairwise(sizes)
        )
        between = shape.dropout if shape.layers > 1 else 0.0
        self.lstm = nn.LSTM(
            sizes[-1], shape.hidden, shape.layers, batch_first=True, dropout=between
        )
        self.dropout = nn.Dropout(shape.dropout)
        self.head = nn.Linear(shape.hidden, shape.n_classes)

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Return logits_BC."""
        sequence_BXT = x_BTF.transpose(1, 2)
        for convolution in self.convolutions:
            sequence_BXT = torch.relu(convolution(sequence_BXT))
        states_BTX, _ = self.lstm(self.dropout(sequence_BXT.transpose(1, 2)))
        return self.head(self.dropout(states_BTX[:, -1]))
