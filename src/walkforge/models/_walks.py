"""Which way through time a recurrent layer takes: batched products, or resident on the chip."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ._resident import RESIDENT, Walks


@dataclass(frozen=True, slots=True)
class Recurrence:
    """One recurrent layer of an architecture."""

    kind: str
    """`lstm` or `gru`."""
    directions: int
    steps: int
    hidden: int


@dataclass(frozen=True, slots=True)
class WalkChoice:
    """The layers that walk resident, by kind, width and type; all others walk batched."""

    resident: frozenset[tuple[str, int, torch.dtype]] = frozenset()

    def of(self, kind: str, hidden: int, dtype: torch.dtype, *, batched: Walks) -> Walks:
        """Return the walks, forwards and back, of a layer."""
        return RESIDENT[kind] if self.has(kind, hidden, dtype) else batched

    def has(self, kind: str, hidden: int, dtype: torch.dtype) -> bool:
        """Return whether such a layer walks resident."""
        return (kind, hidden, dtype) in self.resident

    def names(self) -> list[str]:
        """Return the resident layers as text, `lstm 64 bfloat16` say."""
        return sorted(
            f"{kind} {hidden} {str(dtype).removeprefix('torch.')}"
            for kind, hidden, dtype in self.resident
        )

    @classmethod
    def named(cls, names: Iterable[str]) -> "WalkChoice":
        """Return the choice that has these `names`."""
        parts = (name.split() for name in names)
        return cls(
            frozenset((kind, int(hidden), getattr(torch, dtype)) for kind, hidden, dtype in parts)
        )


ALL_BATCHED = WalkChoice()
