"""The loss of a pack's members on their validation rows.

Shapes: M members, R rows, B rows of a chunk, K outputs of a row
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from walkforge.base import Precision
from walkforge.models import pad_rows

from ._body import Body
from ._plan import Member


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Validation rows and classes of a group, on the device; shorter members are filled up."""

    rows_MR: Tensor
    labels_MR: Tensor
    n_rows_M: Tensor


class Validation:
    """Measures in evaluation mode, in chunks."""

    def __init__(self, body: Body) -> None:
        self.body = body
        # In float32 whatever training takes: so test rows are predicted, and bundles predict.
        precision = Precision("float32", autocast=False, tf32=False)
        self.forward = replace(body.forward, precision=precision)
        self.pieces = 1
        """A chunk is computed in so many pieces; more than one only when memory is short."""
        self._kept: dict[tuple[int, int], _Rows] = {}

    @torch.no_grad()
    def losses(self, own: slice, members: Sequence[Member]) -> Tensor:
        """Return the mean loss [M] of the members `own`."""
        rows = self._rows(own, members)
        body = self.body
        state = body.pack.layout.views(body.pack.weights_MP[own])
        total_M = torch.zeros_like(body.total_M[own])
        chunk = self._chunk(rows.rows_MR)
        for start in range(0, rows.rows_MR.shape[1], chunk):
            part = slice(start, start + chunk)
            rows_MB, labels_MB = rows.rows_MR[:, part], rows.labels_MR[:, part]
            outputs_MBK = self.forward.outputs(state, rows_MB, first=own.start)
            loss_MB = body.objective.row_losses(
                outputs_MBK, state=state, rows_MB=rows_MB, labels_MB=labels_MB, first=own.start
            )
            place = torch.arange(start, start + loss_MB.shape[1], device=loss_MB.device)
            total_M += torch.where(place < rows.n_rows_M[:, None], loss_MB, 0.0).sum(dim=1)
        return total_M / rows.n_rows_M

    def can_be_smaller(self, own: slice, members: Sequence[Member]) -> bool:
        """Return whether chunks have more than one row."""
        return self._chunk(self._rows(own, members).rows_MR) > 1

    def forget(self) -> None:
        """Drop the rows on the device; members have left."""
        self._kept.clear()

    def _chunk(self, rows_MR: Tensor) -> int:
        n_members, n_rows = rows_MR.shape
        return max(1, min(self.body.forward.rows_per_chunk(n_members), n_rows) // self.pieces)

    def _rows(self, own: slice, members: Sequence[Member]) -> _Rows:
        key = (own.start, own.stop)
        if key not in self._kept:
            device = self.body.device
            self._kept[key] = _Rows(
                pad_rows([m.validation_rows for m in members]).to(device),
                pad_rows([m.validation_labels for m in members]).to(device, torch.int8),
                torch.tensor([len(m.validation_rows) for m in members], device=device),
            )
        return self._kept[key]
