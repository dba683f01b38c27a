"""Rows of the table on the device to outputs: gather, scale, clip, network.

Shapes: M members, N rows of the table, B rows in a batch, T bars in the window, F features,
K outputs of a row (logits of classes, or the numbers of a forecast)
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from walkforge.base import FloatArray, Int8Array, IntArray, Precision

from ._architecture import Architecture, Layout, StateViews, compact_
from ._dropout import MemberDropout

# Bytes that one chunk of a prediction may take. A GPU wants chunks so large that launches do not
# count, and small beside its table; a CPU wants them to stay in its cache.
_CHUNK_BYTES = {"cuda": 256 * 2**20, "cpu": 8 * 2**20}
# With fewer rows calls count and not arithmetic: a row of a BiLSTM took five times as long alone.
_LEAST_CHUNK_ROWS = 16
# Before a prediction takes fewer rows at once, it takes fewer members.
_CHUNK_ROWS = 64


@dataclass(frozen=True, slots=True, eq=False)
class PackedForward:
    """One architecture over one table, with each member's own scaler."""

    architecture: Architecture
    table_NF: Tensor
    window_bars: int
    center_MF: Tensor
    scale_MF: Tensor
    clip: float
    precision: Precision

    @classmethod
    def build(
        cls,
        architecture: Architecture,
        table_NF: Tensor,
        *,
        window_bars: int,
        centers: Sequence[FloatArray],
        scales: Sequence[FloatArray],
        clip: float,
        precision: Precision,
    ) -> "PackedForward":
        """Put every member's scaler on the table's device."""
        center_MF, scale_MF = (
            torch.as_tensor(np.stack(rows), dtype=torch.float32, device=table_NF.device)
            for rows in (centers, scales)
        )
        return cls(architecture, table_NF, window_bars, center_MF, scale_MF, clip, precision)

    def keep(self, members: Tensor) -> None:
        """Move the members named by number to the front, in this order, where they are."""
        compact_(self.center_MF, members)
        compact_(self.scale_MF, members)

    def outputs(
        self,
        state: StateViews,
        rows_MB: Tensor,
        *,
        first: int = 0,
        dropout: MemberDropout | None = None,
    ) -> Tensor:
        """Return float32 outputs_MBK at rows of the table: logits, or forecast rows.

        `state` and `rows_MB` belong to the same members, of which `first` is the first one's
        number.
        """
        with self._autocast():
            x_MBTF = self._windows(rows_MB, first)
            outputs_MBK = self.architecture.forward(state, x_MBTF, dropout=dropout)
        return outputs_MBK.float()

    def _windows(self, rows_MB: Tensor, first: int) -> Tensor:
        n_members, n_rows = rows_MB.shape
        own = slice(first, first + n_members)
        back_T = torch.arange(1 - self.window_bars, 1, device=rows_MB.device, dtype=rows_MB.dtype)
        places = (rows_MB[..., None] + back_T).reshape(-1)
        x_MBTF = self.table_NF.index_select(0, places).view(n_members, n_rows, self.window_bars, -1)
        x_MBTF.sub_(self.center_MF[own, None, None])
        x_MBTF.div_(self.scale_MF[own, None, None])
        return x_MBTF.clamp_(-self.clip, self.clip)

    def _autocast(self) -> AbstractContextManager:
        if not self.precision.autocast:
            return nullcontext()
        # Without the cache of cast weights, which a CUDA graph cannot hold.
        dtype = getattr(torch, self.precision.name)
        return torch.autocast(self.table_NF.device.type, dtype=dtype, cache_enabled=False)

    def rows_per_chunk(self, n_members: int) -> int:
        """Return how many rows of each of so many members a chunk of a prediction may take."""
        per_row = 4 * self.architecture.numbers_per_row() * n_members
        return max(_LEAST_CHUNK_ROWS, _CHUNK_BYTES[self.table_NF.device.type] // per_row)


def stack_states(
    architecture: Architecture, states: Sequence[StateViews], device: torch.device
) -> StateViews:
    """Return the named tensors of all members [M, ...] on a device, ready to predict."""
    layout = Layout.of(architecture)
    return layout.views(layout.flatten([dict(state) for state in states]).to(device))


def predict_outputs(
    forward: PackedForward, state: StateViews, rows: Sequence[IntArray]
) -> list[FloatArray]:
    """Return float64 outputs (n, K) of each member at its own `rows` (n,) of the table."""
    n_members = max(1, min(len(rows), forward.rows_per_chunk(1) // _CHUNK_ROWS))
    found: list[FloatArray] = []
    for first in range(0, len(rows), n_members):
        own = slice(first, first + n_members)
        part = {name: tensor[own] for name, tensor in state.items()}
        found += _outputs_of_group(forward, part, rows[own], first)
    return found


@torch.no_grad()
def _outputs_of_group(
    forward: PackedForward, state: StateViews, rows: Sequence[IntArray], first: int
) -> list[FloatArray]:
    rows_MR = pad_rows(rows).to(forward.table_NF.device)
    chunks = [
        forward.outputs(state, chunk_MB, first=first).cpu()
        for chunk_MB in rows_MR.split(forward.rows_per_chunk(len(rows)), dim=1)
    ]
    outputs_MRK = torch.cat(chunks, dim=1).double().numpy()
    return [outputs_MRK[m, : len(own)] for m, own in enumerate(rows)]


def pad_rows(rows: Sequence[IntArray | Int8Array]) -> Tensor:
    """Return what each member has per row as one int32 tensor [M, R].

    Shorter members repeat their first number.
    """
    longest = max(len(own) for own in rows)
    padded = np.zeros((len(rows), longest), dtype=np.int32)
    for m, own in enumerate(rows):
        padded[m, : len(own)] = own
        padded[m, len(own) :] = own[0] if len(own) else 0
    return torch.from_numpy(padded)
