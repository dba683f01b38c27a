"""A forecaster of the next bars: LSTM layers read the window both ways, a decoder walks ahead.

Reading a window backwards looks at no future: all of its bars lie before the decision.

Shapes: M members, B rows, T bars in the window, F features, X width, E encoding, H steps ahead,
D decoder's width, K numbers of a forecast row
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from walkforge.base import TrainingError, one_of

from ._architecture import StateViews
from ._dropout import MemberDropout
from ._forecast_heads import head_widths, possible_forecast
from ._forecast_row import LEVELS, ForecastRow
from ._layers import packed_linear
from ._lstm import packed_lstm
from ._walks import ALL_BATCHED, Recurrence, WalkChoice

_DECODERS = ("lstm", "dense")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bilstm:
    """An encoder of LSTM layers, a decoder of `horizon_bars` steps, and a linear head per part.

    Dropout stands between encoder layers and before the heads.
    """

    n_features: int
    window_bars: int
    horizon_bars: int = 5
    levels: tuple[float, ...] = LEVELS
    encoder: tuple[int, ...] = (128, 64, 32)
    """Width of each layer, per direction."""
    bidirectional: bool = True
    decoder: str = "lstm"
    """`lstm` walks from step to step; `dense` says all steps at once."""
    decoder_hidden: int = 32
    dropout: float = 0.0
    learned_weights: bool = False
    """Whether a member owns `task_log_variances` [4], which its loss reads and learns."""
    walks: WalkChoice = field(default=ALL_BATCHED, compare=False)
    """How it computes, and nothing of what."""

    def __post_init__(self) -> None:
        one_of("decoder", self.decoder, _DECODERS)
        if not self.encoder or min((*self.encoder, self.decoder_hidden)) < 1:
            raise TrainingError(
                f"encoder is {list(self.encoder)}, decoder_hidden {self.decoder_hidden}; expected "
                "at least one layer, and widths of at least 1"
            )
        ForecastRow(self.horizon_bars, self.levels)  # refuses what cannot be

    @property
    def row(self) -> ForecastRow:
        """Return what the K numbers of an output are."""
        return ForecastRow(self.horizon_bars, self.levels)

    @property
    def widths(self) -> tuple[int, ...]:
        """Return how much each encoder layer reads of a bar, then the width of the encoding."""
        return (self.n_features, *((1 + self.bidirectional) * width for width in self.encoder))

    def twin(self) -> nn.Module:
        """Return a module with `encoder` (a list of nn.LSTM), `decoder` and `heads`."""
        return _BilstmTwin(self)

    def forward(
        self, state: StateViews, x_MBTF: Tensor, *, dropout: MemberDropout | None
    ) -> Tensor:
        """Return forecast rows [M, B, K]."""
        encoding_MBE = self._encode(state, x_MBTF.transpose(1, 2), dropout)
        steps_MHBD = self._decode(state, encoding_MBE)
        if dropout is not None:
            depth = len(self.encoder)
            steps_MHBD, encoding_MBE = dropout(steps_MHBD, depth), dropout(encoding_MBE, depth + 1)
        raw = {"volatility": packed_linear(state, "heads.volatility", encoding_MBE)}
        for name in ("ohlc", "band", "quantiles"):
            flat = packed_linear(state, f"heads.{name}", steps_MHBD.flatten(1, 2))
            raw[name] = flat.unflatten(1, (self.horizon_bars, -1)).transpose(1, 2)
        return possible_forecast(self.row, raw)

    def bars_in_a_row(self) -> int:
        """Return the bars of a window, once for every layer, and the steps of the decoder."""
        return self.window_bars * len(self.encoder) + self.horizon_bars * (self.decoder == "lstm")

    def recurrences(self) -> tuple[Recurrence, ...]:
        """Return the recurrent layers."""
        directions = 1 + self.bidirectional
        encoder = (Recurrence("lstm", directions, self.window_bars, h) for h in self.encoder)
        decoder = Recurrence("lstm", 1, self.horizon_bars, self.decoder_hidden)
        return (*encoder, *((decoder,) if self.decoder == "lstm" else ()))

    def numbers_per_row(self) -> int:
        """Return about how many numbers a prediction of one row holds at once."""
        *inputs, encoding = self.widths
        # Of a direction: what comes in, four gates, a state, a cell, and what goes out.
        layers = [
            (1 + self.bidirectional) * (width + 7 * own)
            for width, own in zip(inputs, self.encoder, strict=True)
        ]
        decoder = self.horizon_bars * (encoding + 7 * self.decoder_hidden)
        return self.window_bars * (self.n_features + max(layers)) + decoder + 4 * self.row.n_numbers

    def _encode(
        self, state: StateViews, sequence_MTBX: Tensor, dropout: MemberDropout | None
    ) -> Tensor:
        for layer in range(len(self.encoder)):
            if dropout is not None and layer > 0:
                sequence_MTBX = dropout(sequence_MTBX, layer)
            sequence_MTBX, last_MBX = packed_lstm(
                state,
                f"encoder.{layer}",
                sequence_MTBX,
                bidirectional=self.bidirectional,
                choice=self.walks,
            )
        return last_MBX

    def _decode(self, state: StateViews, encoding_MBE: Tensor) -> Tensor:
        if self.decoder == "dense":
            steps_MBX = packed_linear(state, "decoder", encoding_MBE).relu()
            return steps_MBX.unflatten(-1, (self.horizon_bars, -1)).transpose(1, 2)
        repeated_MHBE = encoding_MBE[:, None].expand(-1, self.horizon_bars, -1, -1)
        return packed_lstm(state, "decoder", repeated_MHBE, choice=self.walks)[0]


class _BilstmTwin(nn.Module):
    def __init__(self, shape: Bilstm) -> None:
        super().__init__()
        self.row, hidden = shape.row, shape.decoder_hidden
        *inputs, encoding = shape.widths
        self.encoder = nn.ModuleList(
            nn.LSTM(width, own, batch_first=True, bidirectional=shape.bidirectional)
            for width, own in zip(inputs, shape.encoder, strict=True)
        )
        self.decoder: nn.Module = (
            nn.LSTM(encoding, hidden, batch_first=True)
            if shape.decoder == "lstm"
            else nn.Linear(encoding, shape.horizon_bars * hidden)
        )
        self.heads = nn.ModuleDict(
            {
                name: nn.Linear(encoding if name == "volatility" else hidden, width)
                for name, width in head_widths(self.row).items()
            }
        )
        self.dropout = nn.Dropout(shape.dropout)
        if shape.learned_weights:
            self.task_log_variances = nn.Parameter(torch.zeros(len(self.heads)))

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Return forecast rows [B, K]."""
        sequence_BTX = x_BTF
        for depth, layer in enumerate(self.encoder):
            sequence_BTX, (last_2BX, _) = layer(self.dropout(sequence_BTX) if depth else x_BTF)
        encoding_BE = last_2BX.transpose(0, 1).flatten(1)
        steps_BHD = self.dropout(self._decode(encoding_BE))
        raw = {
            name: head(self.dropout(encoding_BE) if name == "volatility" else steps_BHD)
            for name, head in self.heads.items()
        }
        return possible_forecast(self.row, raw)

    def _decode(self, encoding_BE: Tensor) -> Tensor:
        if isinstance(self.decoder, nn.Linear):
            steps_BX = self.decoder(encoding_BE).relu()
            return steps_BX.unflatten(-1, (self.row.horizon_bars, -1))
        return self.decoder(encoding_BE[:, None].repeat(1, self.row.horizon_bars, 1))[0]
