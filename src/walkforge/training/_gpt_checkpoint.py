"""A MarketGPT's training that was cut off goes on from here, and its best weights lie here.

checkpoint_epoch_3.safetensors   all that training needs; the newest two stay
best_model.safetensors           the weights of the best epoch so far
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from walkforge.base import TrainingError

from ._saved_state import State, read_newest_state, write_state

_KEPT = 2
_NAME = "checkpoint_epoch_"


@dataclass(frozen=True, slots=True)
class GptCheckpoints:
    """The folder of one training's checkpoints; plain data lie as JSON in each file's head."""

    folder: Path

    def write(self, epoch: int, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Write an epoch's state as one file, atomically, then let the oldest go."""
        write_state(self.folder / f"{_NAME}{epoch}.safetensors", tensors, plain)
        for path in self._paths()[:-_KEPT]:
            path.unlink()

    def write_best(self, state: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Write the best weights so far in place of those before."""
        write_state(self.folder / "best_model.safetensors", state, plain)

    def read_newest(self, identity: str, note: Callable[[str], None]) -> State | None:
        """Return tensors and plain data of the newest whole file, None where none is there.

        Raises TrainingError where all are damaged, or the newest belongs to another training.
        """
        return read_newest_state(
            self._paths(),
            note,
            refuse_others=lambda path, plain: _refuse_others(path, plain, identity),
        )

    def _paths(self) -> list[Path]:
        found = self.folder.glob(f"{_NAME}*.safetensors")
        return sorted(found, key=lambda path: int(path.stem.removeprefix(_NAME)))


def _refuse_others(path: Path, plain: dict[str, Any], identity: str) -> None:
    if plain["identity"] != identity:
        raise TrainingError(
            f"{path}: belongs to another model, plan, seed or table of tokens; the study "
            "or its bars have changed. Start a new run."
        )
