"""Which way through time a recurrent layer takes: batched products, or resident on the chip."""

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
        return RESIDENT[kind] if (kind, hidden, dtype) in self.resident else batched


ALL_BATCHED = WalkChoice()
