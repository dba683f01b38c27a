"""Tokens of all assets, one after the other, cut into runs that nothing may cross.

Shapes: N rows, B windows, T inputs of a window
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from walkforge.base import BoolArray, Int8Array, IntArray, TrainingError, digest_of_arrays
from walkforge.folds import SLICES

UNCOUNTED = -100
"""Stands in targets where the loss counts nothing; what `cross_entropy` leaves out by default."""
_DTYPES = {
    "tokens": np.uint16, "asset": np.int16, "category": np.int16,
    "run_first": np.int64, "piece": np.int8,
}  # fmt: skip


def piece_number(name: str) -> int:
    """Return the number of a slice's name in `TokenTable.piece`."""
    if name not in SLICES:
        raise TrainingError(f"piece is {name!r}; choose {', '.join(SLICES)}")
    return SLICES.index(name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AssetTokens:
    """One asset's rows in time order, all (n,)."""

    asset: int
    category: int
    tokens: NDArray[np.uint16]
    valid: BoolArray
    """False where a row has no token; its entry in `tokens` is not read."""
    segment: IntArray
    """Number of the stretch of bars without a hole that each row belongs to."""
    piece: Int8Array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TokenTable:
    """All (n,): `tokens` uint16, `asset` and `category` int16, `run_first` int64, `piece` int8.

    `run_first` is the first row of the unbroken run of one asset's tokens that a row belongs to,
    -1 for a row without a token. `piece` numbers the slices in time order (`folds.SLICES`), -1
    for rows of none. A row is a target of its piece unless it is the first of its run.
    Raises TrainingError where the columns contradict each other.
    """

    tokens: NDArray[np.uint16]
    asset: NDArray[np.int16]
    category: NDArray[np.int16]
    run_first: IntArray
    piece: Int8Array

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            found = getattr(self, name)
            if found.dtype != dtype or found.shape != self.tokens.shape:
                raise TrainingError(
                    f"token table: {name} is {found.dtype} {found.shape}; expected "
                    f"{np.dtype(dtype)} {self.tokens.shape}"
                )
        self._require(~((self.piece < -1) | (self.piece >= len(SLICES))), "has no known piece")
        row = np.arange(len(self.tokens))
        first = self.run_first
        self._require((first >= -1) & (first <= row), "belongs to a run that begins after it")
        goes_on = (first >= 0) & (first < row)
        before = np.maximum(row - 1, 0)
        for name in ("run_first", "asset", "category"):
            column = getattr(self, name)
            self._require(~goes_on | (column == column[before]), f"breaks its run in {name}")

    @classmethod
    def of(cls, assets: Sequence[AssetTokens]) -> "TokenTable":
        """Put assets one after the other; runs end at holes and at rows without a token."""
        runs, start = [], 0
        for one in assets:
            runs.append(_run_first(one, start))
            start += len(one.tokens)
        lengths = [len(one.tokens) for one in assets]
        return cls(
            tokens=_joined([one.tokens for one in assets], np.uint16),
            asset=np.repeat(np.array([one.asset for one in assets], np.int16), lengths),
            category=np.repeat(np.array([one.category for one in assets], np.int16), lengths),
            run_first=_joined(runs, np.int64),
            piece=_joined([one.piece for one in assets], np.int8),
        )

    @property
    def digest(self) -> str:
        """Return a digest of everything in it."""
        return digest_of_arrays(*(getattr(self, field.name) for field in fields(self)))

    def target_rows(self, piece: str) -> IntArray:
        """Return the rows that are targets of a slice, rising."""
        row = np.arange(len(self.tokens))
        follows = (self.run_first >= 0) & (self.run_first < row)
        return np.flatnonzero(follows & (self.piece == piece_number(piece)))

    def _require(self, holds: BoolArray, problem: str) -> None:
        if not holds.all():
            row = int(np.argmin(holds))
            raise TrainingError(f"token table: row {row} {problem}; expected unbroken runs")


@dataclass(frozen=True, slots=True, eq=False)
class ResidentTokens:
    """What gathering needs of a table, on the device: 3 bytes a row.

    Tokens lie there as the bits of uint16 in int16, as PyTorch indexes few unsigned types; they
    are widened after they have been gathered.
    """

    bits_N: Tensor
    piece_N: Tensor

    @classmethod
    def of(cls, table: TokenTable, device: torch.device) -> "ResidentTokens":
        """Copy a table's tokens and pieces to the device."""
        bits_N = torch.from_numpy(np.ascontiguousarray(table.tokens).view(np.int16))
        piece_N = torch.from_numpy(np.ascontiguousarray(table.piece))
        return cls(bits_N.to(device), piece_N.to(device))

    def gather(self, places_B5: Tensor, context: int, piece: int) -> tuple[Tensor, Tensor]:
        """Return inputs_BT and targets_BT int64 of windows, as `Windows` places them.

        Where a window is shorter than `context`, its end is filled with token 0. Targets that do
        not count are UNCOUNTED. No row after a window's last target is read.
        """
        first_B1, begin_B1, last_B1 = places_B5[:, :3].unsqueeze(2).unbind(1)
        row_BS = first_B1 + torch.arange(context + 1, device=places_B5.device)
        read_BS = torch.minimum(row_BS, last_B1)
        token_BS = self.bits_N[read_BS].long().bitwise_and_(0xFFFF)
        row_BT, target_BT = row_BS[:, 1:], token_BS[:, 1:]
        counted_BT = (row_BT >= begin_B1) & (row_BT <= last_B1)
        counted_BT &= self.piece_N[read_BS[:, 1:]] == piece
        inputs_BT = token_BS[:, :-1].masked_fill(row_BS[:, :-1] >= last_B1, 0)
        return inputs_BT, target_BT.masked_fill(~counted_BT, UNCOUNTED)


def _run_first(one: AssetTokens, start: int) -> IntArray:
    """Return the first row of each row's run; `start` is where the asset's rows begin."""
    row = np.arange(len(one.tokens)) + start
    begins = one.valid.copy()
    begins[1:] &= ~one.valid[:-1] | (np.diff(one.segment) != 0)
    newest = np.maximum.accumulate(np.where(begins, row, -1)) if len(row) else row
    return np.where(one.valid, newest, -1)


def _joined(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([*parts, np.zeros(0, dtype)]).astype(dtype, copy=False)
