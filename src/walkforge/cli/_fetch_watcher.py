"""How a fetch goes on, told to whoever shows progress."""

import time
from collections.abc import Sequence
from typing import Any

from walkforge.market import WriteReport
from walkforge.sources import Piece, SeriesPlan


class FetchProgress:
    """Counts pieces and bytes, and passes them on as one stage of work."""

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher
        self._done = self._total = self._received_bytes = 0
        self._started_s = time.monotonic()

    def planned(self, plans: Sequence[SeriesPlan]) -> None:
        """Begin the stage, or say that there is nothing to do."""
        self._total = sum(len(plan.pieces) for plan in plans)
        if self._total == 0:
            self._watcher.note(_nothing_to_do(plans))
            return
        n_series = sum(bool(plan.pieces) for plan in plans)
        self._started_s = time.monotonic()
        pieces = "1 piece" if self._total == 1 else f"{self._total} pieces"
        self._watcher.stage(f"fetching {pieces} of {n_series} series")

    def fetched(self, plan: SeriesPlan, piece: Piece, received_bytes: int) -> None:
        """Move the bar."""
        self._received_bytes += received_bytes
        self._move(piece)

    def failed(self, plan: SeriesPlan, piece: Piece, error: Exception) -> None:
        """Say it at once; it is said again at the end."""
        self._watcher.note(f"not fetched: {error}")
        self._move(piece)

    def stored(self, plan: SeriesPlan, report: WriteReport) -> None:
        """Say nothing; the series are summed up at the end."""

    def _move(self, piece: Piece) -> None:
        elapsed_s = max(time.monotonic() - self._started_s, 1e-3)
        size = f", {self._received_bytes / 1e6:.1f} MB" if self._received_bytes else ""
        speed = f" at {self._received_bytes / elapsed_s / 1e6:.1f} MB/s" if size else ""
        self._watcher.item(self._done, self._total, f"{piece.name}{size}{speed}")
        self._done += 1


def _nothing_to_do(plans: Sequence[SeriesPlan]) -> str:
    if any(plan.missing or plan.problem for plan in plans):
        return "the source has nothing of what is missing"
    return "everything that was asked for is stored already"
