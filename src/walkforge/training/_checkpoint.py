"""A training that was cut off goes on from here: tensors as safetensors, the rest as JSON in it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from walkforge.base import TrainingError

from ._saved_state import State, read_newest_state, write_state

_KEPT = 2


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The folder of a training's checkpoints, one file per epoch, of which the last two stay."""

    folder: Path

    def write(self, epoch: int, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Write an epoch's state as one file, atomically, then let the oldest go."""
        write_state(self.folder / f"epoch_{epoch:05d}.safetensors", tensors, plain)
        for path in self._paths()[:-_KEPT]:
            path.unlink()

    def read_newest(self, members: list[str], note: Callable[[str], None]) -> State | None:
        """Return tensors and plain data of the newest file that is whole, None where none is there.

        Raises TrainingError where all are damaged, or are of other members.
        """
        return read_newest_state(
            self._paths(),
            note,
            refuse_others=lambda path, plain: _refuse_others(path, plain, members),
        )

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("epoch_*.safetensors"))


def _refuse_others(path: Path, plain: dict[str, Any], members: list[str]) -> None:
    if sorted(plain["history"]) != sorted(members):
        raise TrainingError(
            f"{path}: holds {len(plain['history'])} other members than this study's "
            f"{len(members)}; the study or its bars have changed. Start a new run."
        )
